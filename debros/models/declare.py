"""The metaclass of models and the `@model` decorator: magic happens once, when a class is made.

The metaclass collects what a class body declares, its parents' included, and resolves field types. `@model` turns that into a
`Schema` and the machinery records run on (`Shape`), and registers the class. Without `@model` a class is abstract: what it
declares is inherited and nothing is stored.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, Never, ParamSpec, TypeVar, cast, dataclass_transform

from debros.errors import ModelError
from debros.models import hooks, registry
from debros.models.annotations import place_of, place_of_mixin
from debros.models.body import Declared, own_declarations
from debros.models.fields import Declaration, field
from debros.models.habits import instead_of_model
from debros.models.options import Index, Options, Publish
from debros.models.relations import belongs_to, has_many, has_one, many_to_many
from debros.models.sharding import Sharding, Strategy

if TYPE_CHECKING:
    from debros.models.record import Model
    from debros.models.shape import Shape
    from debros.models.subject import ModelSubject
    from debros.pinning.rules import Rule
    from debros.schema import Schema, Scope, Store, Write

P = ParamSpec("P")
R = TypeVar("R")
ModelClass = TypeVar("ModelClass", bound="type[Model]")


@dataclass_transform(kw_only_default=True, field_specifiers=(field, belongs_to, has_one, has_many, many_to_many))
class ModelMeta(type):
    """The class of model classes."""

    __own__: dict[str, Declared]
    __declared__: dict[str, Declared]  # with those of parents
    __hooks__: Mapping[hooks.HookEvent, tuple[hooks.Hook, ...]]
    __options__: Options  # of `@model` classes
    __schema__: Schema  # of `@model` classes; abstract ones have None
    __shape__: Shape
    __subject__: ModelSubject

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> ModelMeta:
        """Make a model class; raises `ModelError` for what is wrong in its body."""
        is_root = not any(isinstance(base, ModelMeta) for base in bases)
        frame = sys._getframe(1)  # it runs the `class` statement: its locals are what annotations may name
        place = place_of(name, namespace, frame)
        own = {} if is_root else own_declarations(namespace, place)
        cls = super().__new__(mcs, name, bases, namespace | {key: d.declaration for key, d in own.items()})
        collected: dict[str, Declared] = {}
        for base in reversed(cls.__mro__[1:]):
            if isinstance(base, ModelMeta):
                collected |= base.__own__
            elif not is_root and base not in (object, Generic):
                collected |= own_declarations(vars(base), place_of_mixin(base, place))
        collected |= own
        for attribute, declared in list(collected.items()):
            found = inspect.getattr_static(cls, attribute, None)
            if found is None and attribute not in vars(cls):  # a mixin's field without `= field()`
                type.__setattr__(cls, attribute, declared.declaration)
                declared.declaration.__set_name__(cls, attribute)
            elif not isinstance(found, Declaration):
                del collected[attribute]  # overridden by something else: not a field any more
        cls.__own__ = own
        cls.__declared__ = collected
        cls.__hooks__ = hooks.collect(cls.__mro__)
        for made_by_model in ("__schema__", "__shape__", "__subject__"):  # never inherited
            setattr(cls, made_by_model, None)
        return cls

    @property
    def create(cls: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
        """`await Post.create(...)`: the arguments of the constructor; the record, saved.

        Raises:
            ValidationError: as the constructor.
            UniqueError, PermissionDeniedError: as `save`.
        """
        found: Callable[P, Coroutine[Any, Any, R]] | None = vars(cls).get("__create__")
        if found is None:
            found = _creator(cls)
            type.__setattr__(cast(Any, cls), "__create__", found)
        return found

    if not TYPE_CHECKING:  # checkers know the names

        def __getattr__(cls, name):
            if name.startswith("_"):
                raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")
            raise AttributeError(f"{cls.__name__} has no {name!r}{instead_of_model(cls, name)}")


def _creator(cls: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    from debros.models import record, saving  # they need the query room, which declarations do not

    save, unseen = saving.create, record.is_plain(cls)

    async def create(*args: P.args, **kwargs: P.kwargs) -> R:
        made: R = await save(cls(*args, **kwargs), False, unseen)
        return made

    return create


def model(
    *given: Never,
    scope: Scope = "global",
    store: Store = "documents",
    name: str | None = None,
    indexes: Iterable[Index | tuple[str, ...]] = (),
    version: str = "1.0.0",
    strict: bool = True,
    extra: Literal["forbid", "keep"] = "forbid",
    write: Write | None = None,
    sharding: Sharding | Strategy | None = None,
    pinning: Rule | None = None,
    pubsub: Publish | None = None,
) -> Callable[[ModelClass], ModelClass]:
    """Make a `Model` subclass a model of its own: stored, queried, opened.

    Args:
        given: nothing; it catches `@model` without parentheses.
        scope: `"global"`, one log that all users share, or `"user"`, one log for each user.
        store: `"documents"`; `"keyvalue"`, the last save wins whole; `"events"`, append-only; `"feed"`, append-only
            but deletable; `"counter"`, every field a counter.
        name: as stored in the log, fixed at first use; the class's name if not given.
        indexes: `Index(...)` or tuples of field names, `"-name"` for descending.
        version: `major.minor.patch`, each below 1,000.
        strict: whether values must have the declared type; else pydantic coerces them.
        extra: what becomes of undeclared constructor arguments: `"forbid"` refuses them, `"keep"` stores them.
        write: who may write a record of a global model: `"anyone"` (the default), `"owner"`, `"admins"`.
        sharding: how records of a global model are spread over logs: `hash_shards(key, n)`, `range_shards(key, bounds)`,
            `user_shards(n)`, or a strategy of your own.
        pubsub: which operations are announced to peers, as topics `model.<name>.<operation>`: `publish("create", "update")`.
        pinning: which of its file content this node keeps: `popularity(factor=2, max_pins=500)`; all it has if not given.

    Raises:
        ModelError: the declaration is wrong; the text names the model, the field and the cure.
    """
    if given:
        raise ModelError('write `@model()` with parentheses, or with options: `@model(scope="user")`')

    def declare(cls: ModelClass) -> ModelClass:
        if not isinstance(cls, ModelMeta):
            raise ModelError(f"{cls!r} is no subclass of Model: `class {getattr(cls, '__name__', 'Post')}(Model):`")
        from debros.models.build import build  # pydantic and the query room load with the first model

        options = Options.checked(
            cls.__name__, scope, store, name, indexes, version, strict, extra, write, sharding, pinning, pubsub
        )
        build(cls, options)
        registry.register(cls)
        return cls

    return declare


def schema_of(model: type) -> Schema:
    """Return everything a model declares, as plain data.

    Raises:
        ModelError: this is no `@model` class.
    """
    schema: Schema | None = getattr(model, "__schema__", None)
    if schema is None:
        raise ModelError(f"{model!r} is not a model: put `@model(...)` above a subclass of Model")
    return schema
