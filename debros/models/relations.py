"""Relations between models: declared in the class body, followed from a record.

`One[T]` and `Many[T]` are descriptors like fields: the class gives a query's relation, a record what is loaded
of it. Attribute access never does I/O: `await post.author` loads once and remembers, `post.author.value` is what
was loaded. The declarations have `init=False` for type checkers, which keeps relations out of constructors.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypeVar, cast, overload

from debros.errors import ModelError, NotFoundError, NotLoadedError, RelationError
from debros.models.fields import Declaration
from debros.schema import OnDelete, RelationSpec

if TYPE_CHECKING:
    from debros.models.record import Model
    from debros.query.query import Query
    from debros.query.relations import Relation

R = TypeVar("R")
A = TypeVar("A")
RelationKind = Literal["belongs_to", "has_one", "has_many", "many_to_many"]


class RelationDeclaration(Declaration):
    """A relation as the class body declares it; its target is found when first needed."""

    __slots__ = ("ids", "key", "kind", "limit", "local", "method", "on_delete", "order_by", "remote", "through")

    def __init__(
        self,
        kind: RelationKind,
        *,
        key: str = "",
        on_delete: OnDelete = "keep",
        order_by: str | None = None,
        limit: int | None = None,
        through: Any = None,
        local: str = "",
        remote: str = "",
        ids: str = "",
    ) -> None:
        super().__init__()
        self.kind: RelationKind = kind
        self.key = key
        self.on_delete: OnDelete = on_delete
        self.order_by = order_by
        self.limit = limit
        self.through = through
        self.local = local
        self.remote = remote
        self.ids = ids
        self.method: Callable[[Any], Any] | None = None  # of the decorator spelling; its return type is the target

    def __call__(self, method: Callable[[Any], Any], /) -> Any:
        self.method = method
        return self


class One(RelationDeclaration, Generic[R]):
    """A relation to one record; `One[User | None]` gives `None` where the target is missing."""

    __slots__ = ()

    @overload
    def __get__(self, obj: None, owner: type) -> Relation[R]: ...
    @overload
    def __get__(self, obj: object, owner: type) -> Related[R]: ...
    def __get__(self, obj: object | None, owner: type) -> Any:
        if obj is None:
            return _relation(owner, self.name)
        return Related(cast("Model", obj), self.name)

    if TYPE_CHECKING:

        def __call__(self, method: Callable[[Any], A], /) -> One[A]: ...


class Many(RelationDeclaration, Generic[R]):
    """A relation to any number of records."""

    __slots__ = ()

    @overload
    def __get__(self, obj: None, owner: type) -> Relation[R]: ...
    @overload
    def __get__(self, obj: object, owner: type) -> RelatedMany[R]: ...
    def __get__(self, obj: object | None, owner: type) -> Any:
        if obj is None:
            return _relation(owner, self.name)
        return RelatedMany(cast("Model", obj), self.name)

    if TYPE_CHECKING:

        def __call__(self, method: Callable[[Any], list[A]], /) -> Many[A]: ...


def _relation(owner: type, name: str) -> Any:
    subject = getattr(owner, "__subject__", None)
    if subject is None:
        raise ModelError(f"{owner.__name__} has no `@model`, so {name!r} cannot be queried")
    return subject.relation(name)


def belongs_to(key: str, *, on_delete: OnDelete = "keep", init: Literal[False] = False) -> One[Any]:
    """Declare that this model's field `key` holds the id of the one record meant.

    Args:
        key: a field of this model.
        on_delete: what a deleted target does to this record, as readers see it: nothing, hide it (`"cascade"`),
            show `key` as null (`"set_null"`), or refuse to be deleted while this one shows (`"restrict"`).
        init: for type checkers only: relations are no constructor arguments.
    """
    return One("belongs_to", key=key, on_delete=on_delete)


def has_one(key: str, *, init: Literal[False] = False) -> One[Any]:
    """Declare that one record of the target model holds this record's id in its field `key`."""
    return One("has_one", key=key)


def has_many(
    key: str,
    *,
    through: str | None = None,
    order_by: str | None = None,
    limit: int | None = None,
    init: Literal[False] = False,
) -> Many[Any]:
    """Declare that records of the target model hold this record's id in their field `key`.

    Args:
        key: a field of the target model.
        through: a relation of this model; then `key` holds the id of one of *its* records.
        order_by: a field of the target, `"-name"` for descending.
        limit: how many to load for each record.
        init: for type checkers only.
    """
    return Many("has_many", key=key, through=through, order_by=order_by, limit=limit)


def many_to_many(
    *,
    through: type[Model] | str | None = None,
    local: str = "",
    remote: str = "",
    ids: str = "",
    order_by: str | None = None,
    init: Literal[False] = False,
) -> Many[Any]:
    """Declare a relation over a junction model, or over a field of this model that holds ids.

    Args:
        through: the junction model, or its name.
        local: the junction's field that holds this record's id.
        remote: the junction's field that holds the other's id.
        ids: instead of a junction: a list or set of ids in this model.
        order_by: a field of the target, `"-name"` for descending.
        init: for type checkers only.
    """
    return Many("many_to_many", through=through, local=local, remote=remote, ids=ids, order_by=order_by)


_INSTEAD = {  # names that lists and other libraries have, of a relation to many
    "all": "`await record.relation` gives all of them",
    "append": "set the key of the other record and save it, or `await relation.add(record)` of a many_to_many",
    "create": "create the other record, with this one's id as its key",
    "extend": "set the key of the other records and save them, or `await relation.add(*records)` of a many_to_many",
    "filter": "narrow it by `relation.query().where(...)`",
    "first": "`await relation.query().first()`",
    "order_by": "order it by `relation.query().order_by(...)`",
    "where": "narrow it by `relation.query().where(...)`",
}


class Related(Generic[R]):
    """A relation to one record, on an instance: `await post.author`, `post.author.value`."""

    __slots__ = ("_name", "_record")

    def __init__(self, record: Model, name: str) -> None:
        self._record = record
        self._name = name

    @property
    def _spec(self) -> RelationSpec:
        return type(self._record).__shape__.relations[self._name].spec

    def __await__(self) -> Generator[Any, None, R]:
        return self._load().__await__()

    async def _load(self) -> R:
        from debros.models.loading import load  # it needs the query room, which declarations do not

        if not self.is_loaded:
            await load(self._record, self._name)
        return self.value

    @property
    def is_loaded(self) -> bool:
        """Whether `.value` is there."""
        return self._name in self._record.__dict__.get("_loaded", ())

    @property
    def value(self) -> R:
        """What was loaded; for `Many` a sequence.

        Raises:
            NotLoadedError: nothing was; `.include(...)` it in the query, or await the relation.
            NotFoundError: the target is missing and the relation is `One[T]`, not `One[T | None]`.
        """
        loaded = self._record.__dict__.get("_loaded", {})
        spec = self._spec
        if self._name not in loaded:
            raise NotLoadedError(f"{type(self._record).__name__}.{self._name}")
        value = loaded[self._name]
        if value is None and not spec.nullable:
            key = getattr(self._record, spec.key) if spec.kind == "belongs_to" else None
            raise NotFoundError(spec.target, (key,) if key is not None else ())
        return cast(R, value)

    def __bool__(self) -> NoReturn:
        """Raise `RelationError`: a relation is there, whether or not anything is related."""
        key = self._spec.key if self._spec.kind == "belongs_to" else ""
        raise self._no_value("no truth value", f"; `record.{key}` says whether there is one" if key else "")

    def __eq__(self, other: object) -> bool:
        """Relations are the same by record and name; with records, lists and `None` they are not comparable.

        Raises:
            RelationError: the other one is no relation.
        """
        if isinstance(other, Related):
            return self._record is other._record and self._name == other._name
        raise self._no_value(f"no value to compare with {type(other).__name__}", "")

    def __hash__(self) -> int:
        return hash((id(self._record), self._name))

    def _no_value(self, what: str, more: str) -> RelationError:
        return RelationError(
            f"{type(self._record).__name__}.{self._name} has {what}: it is a relation, `await record.{self._name}` loads what it "
            f"leads to, and `record.{self._name}.value` is what was loaded{more}"
        )

    if not TYPE_CHECKING:  # checkers know the names

        def __getattr__(self, name):
            if name.startswith("_"):
                raise AttributeError(name)
            where = f"{type(self._record).__name__}.{self._name}"
            cure = _INSTEAD.get(name) if isinstance(self, RelatedMany) else None
            of = "`.value[...]`" if isinstance(self, RelatedMany) else f"`.value.{name}`"
            cure = cure or f"what it leads to is loaded by `await record.{self._name}`, and {of} is it then"
            raise AttributeError(f"the relation {where} has no {name}: {cure}")

    def __repr__(self) -> str:
        state = repr(self.value) if self.is_loaded else "not loaded"
        return f"<{type(self._record).__name__}.{self._name}: {state}>"


class RelatedMany(Related[Sequence[R]]):
    """A relation to any number of records, on an instance."""

    __slots__ = ()

    if not TYPE_CHECKING:

        def __iter__(self):
            raise self._no_value("no records to iterate over before they are loaded", "")

        def __len__(self):
            raise self._no_value("no length", f"; `await record.{self._name}.query().count()` counts")

    @property
    def count(self) -> int:
        """How many there are, once they are loaded, or counted by `with_count`.

        Raises:
            NotLoadedError: they are neither.
        """
        counted: int | None = self._record.__dict__.get("_counts", {}).get(self._name)
        return len(self.value) if counted is None or self.is_loaded else counted

    def query(self) -> Query[R]:
        """Return a query for the related records, to narrow and order further."""
        from debros.models.loading import related_query

        return cast("Query[R]", related_query(self._record, self._name))

    async def add(self, *records: R) -> None:
        """Relate these saved records too; those that are already related stay so.

        Raises:
            RelationError: the relation is no `many_to_many`, or a record is not saved.
        """
        from debros.models.loading import add

        await add(self._record, self._name, cast("Sequence[Model]", records))

    async def remove(self, *records: R) -> None:
        """Relate these records no longer; those that are not related are passed over.

        Raises:
            RelationError: the relation is no `many_to_many`.
        """
        from debros.models.loading import remove

        await remove(self._record, self._name, cast("Sequence[Model]", records))
