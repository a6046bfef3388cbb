"""Fields: what stands in a model's class body, and what a class attribute gives.

`Field[T]` is a descriptor without `__set__` at run time: a record's values lie in its `__dict__`, where Python finds
them first. The descriptor is asked for the class attribute, which is the query's column, and at the first look at a
record that was read: then it takes its values from its row, and each that costs something to decode when that one is
looked at. To type checkers it is a data descriptor, so `post.likes` is an `int` and `Post.likes` a `Column[int]`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Never, TypeAlias, TypeVar, cast, overload

from debros.errors import ArgumentError, ModelError
from debros.models.habits import instead_of_option
from debros.schema import Merge

if TYPE_CHECKING:
    from debros.query.columns import Column

T = TypeVar("T")
Unique: TypeAlias = bool | Literal["derived"]
Indexed: TypeAlias = bool | Literal["global"]


class _Missing:
    def __repr__(self) -> str:
        return "no default"


MISSING: Final = _Missing()


class Declaration:
    """What a class body declares under a name: a field, a computed field or a relation."""

    __slots__ = ("name",)

    def __init__(self) -> None:
        self.name = ""  # the attribute

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name


class Field(Declaration, Generic[T]):
    """A stored field of a model: `title: Field[str] = field(min_length=1)`, or without `= field()`."""

    __slots__ = (
        "bounds", "convert", "default", "default_factory", "expose", "index", "merge", "unique", "validate", "wire",
    )  # fmt: skip

    def __init__(self, *given: Never, **options: Never) -> None:
        if given or options:
            raise ModelError("`Field` says what a field holds, `field` how: `title: Field[str] = field(default='')`")
        super().__init__()
        self.wire: str | None = None
        self.default: Any = MISSING
        self.default_factory: Callable[[], Any] | None = None
        self.index: Indexed = False
        self.unique: Unique = False
        self.merge: Merge | None = None
        self.expose = True
        self.validate: Callable[[Any], object] | None = None
        self.convert: Callable[[Any], Any] | None = None
        self.bounds: dict[str, Any] = {}

    @overload
    def __get__(self, obj: None, owner: type) -> Column[T]: ...
    @overload
    def __get__(self, obj: object, owner: type) -> T: ...
    def __get__(self, obj: object | None, owner: type) -> Any:
        if obj is None:
            subject = getattr(owner, "__subject__", None)
            return subject.columns[self.name] if subject is not None else _column(owner, self.name)
        own = obj.__dict__
        if own.get("_row") is not None:
            shape: Any = owner.__shape__  # type: ignore[attr-defined]  # what has a row is of a model
            return shape.look(own, self.name)
        raise AttributeError(f"{owner.__name__}.{self.name} has no value: the record is not constructed yet")

    if TYPE_CHECKING:  # at run time `Model.__setattr__` takes assignments; a `__set__` here would slow every read

        def __set__(self, obj: object, value: T) -> None: ...


class Computed(Declaration, Generic[T]):
    """A value derived from the record's own fields; read-only, never stored in the log."""

    __slots__ = ("expose", "index", "method")

    def __init__(self, method: Callable[[Any], T], index: bool, expose: bool) -> None:
        super().__init__()
        if isinstance(method, (property, staticmethod, classmethod)):
            raise ModelError(f"a computed field is a plain method: leave `@{type(method).__name__}` out")
        self.method = method
        self.index = index
        self.expose = expose

    @overload
    def __get__(self, obj: None, owner: type) -> Column[T]: ...
    @overload
    def __get__(self, obj: object, owner: type) -> T: ...
    def __get__(self, obj: object | None, owner: type) -> Any:
        return _column(owner, self.name) if obj is None else self.method(obj)


def _column(owner: type, name: str) -> Any:
    subject = getattr(owner, "__subject__", None)
    if subject is None:
        raise ModelError(f"{owner.__name__} has no `@model`, so {name!r} cannot be queried")
    return subject.column(name)


_BOUNDS: Final = ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern")
_OPTIONS: Final = (
    "default",
    "default_factory",
    "index",
    "unique",
    "merge",
    "expose",
    "name",
    "validate",
    "convert",
    *_BOUNDS,
)


@overload
def field(method: Callable[[Any], T], /) -> Computed[T]: ...
@overload
def field(
    *,
    default: T,
    index: Indexed = False,
    unique: Unique = False,
    merge: Merge | None = None,
    expose: bool = True,
    name: str | None = None,
    validate: Callable[[Any], object] | None = None,
    convert: Callable[[Any], Any] | None = None,
    ge: Any = None,
    gt: Any = None,
    le: Any = None,
    lt: Any = None,
    min_length: int | None = None,
    max_length: int | None = None,
    pattern: str | None = None,
) -> Field[T]: ...
@overload
def field(
    *,
    default_factory: Callable[[], T],
    index: Indexed = False,
    unique: Unique = False,
    merge: Merge | None = None,
    expose: bool = True,
    name: str | None = None,
    validate: Callable[[Any], object] | None = None,
    convert: Callable[[Any], Any] | None = None,
    ge: Any = None,
    gt: Any = None,
    le: Any = None,
    lt: Any = None,
    min_length: int | None = None,
    max_length: int | None = None,
    pattern: str | None = None,
) -> Field[T]: ...
@overload
def field(
    *,
    index: Indexed = False,
    unique: Unique = False,
    merge: Merge | None = None,
    expose: bool = True,
    name: str | None = None,
    validate: Callable[[Any], object] | None = None,
    convert: Callable[[Any], Any] | None = None,
    ge: Any = None,
    gt: Any = None,
    le: Any = None,
    lt: Any = None,
    min_length: int | None = None,
    max_length: int | None = None,
    pattern: str | None = None,
) -> Any: ...
def field(
    method: Callable[[Any], Any] | None = None,
    /,
    *,
    default: Any = MISSING,
    default_factory: Callable[[], Any] | None = None,
    index: Indexed = False,
    unique: Unique = False,
    merge: Merge | None = None,
    expose: bool = True,
    name: str | None = None,
    validate: Callable[[Any], object] | None = None,
    convert: Callable[[Any], Any] | None = None,
    **bounds: Any,
) -> Any:
    """Describe a stored field, or mark a method as computed (`@field` alone is `@computed`).

    Args:
        method: a method that derives a value; then no option may be given.
        default: what the field is when it is not given; without any default it is required.
        default_factory: called for each new record, e.g. `list`, `set`, `debros.now`.
        index: fast to filter and order by; `"global"` across all owners in user scope.
        unique: no other visible record may hold the value; `"derived"` makes the value the id.
        merge: how concurrent writes meet: `"lww"`, `"counter"` (int), `"set"` (set[...]), `"keep"`.
        expose: whether `to_dict` and `to_json` show it.
        name: as stored in the log, fixed at first use; the attribute's name if not given.
        validate: called with a good value; `False`, a message or a raise refuses it.
        convert: called with a given value before its type is checked.
        **bounds: `ge gt le lt min_length max_length pattern`, as pydantic means them.
    """
    if method is not None:
        return Computed(method, index=False, expose=True)
    made: Field[Any] = Field()
    made.default, made.default_factory = default, default_factory
    made.index, made.unique, made.merge = index, unique, merge
    made.expose, made.wire = expose, name
    made.validate, made.convert = validate, convert
    made.bounds = {name: value for name, value in bounds.items() if value is not None}
    for unknown in bounds.keys() - _BOUNDS:
        raise ArgumentError(f"field has no option {unknown!r}{instead_of_option(unknown, _OPTIONS)}")
    return made


@overload
def computed(method: Callable[[Any], T], /) -> Computed[T]: ...
@overload
def computed(*, index: bool = False, expose: bool = True) -> Callable[[Callable[[Any], T]], Computed[T]]: ...
def computed(method: Callable[[Any], Any] | None = None, /, *, index: bool = False, expose: bool = True) -> Any:
    """Mark a method as a computed field: a pure function of the record's own fields.

    Args:
        method: the method, when there are no parentheses.
        index: keep the value in the view, so it filters and orders fast; null there where it raises.
        expose: whether `to_dict` and `to_json` show it.
    """
    if method is not None:
        return Computed(method, index, expose)
    return cast(Callable[[Callable[[Any], Any]], Computed[Any]], lambda made: Computed(made, index, expose))
