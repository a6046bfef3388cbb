"""What a model declares, as plain data. Knows no other room.

A `Schema` is made once per model class (`debros.models`), and is all that the view, the shard map and the query
engine ever see of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Scope = Literal["global", "user"]
Store = Literal["documents", "keyvalue", "events", "feed", "counter"]
Write = Literal["anyone", "owner", "admins"]
Merge = Literal["lww", "counter", "set", "keep"]
OnDelete = Literal["keep", "cascade", "set_null", "restrict"]
Kind = Literal[
    "text", "int", "float", "bool", "bytes", "instant", "duration", "date", "time", "decimal", "uuid", "choice",
    "list", "set", "tuple", "map", "record", "file", "any",
]  # fmt: skip

NAME: Final = r"[A-Za-z_][A-Za-z0-9_]{0,62}"  # of models and fields, on the wire too


@dataclass(frozen=True, slots=True, eq=False)
class Codec:
    """How values of one type travel: Python value <-> wire value (in the log) <-> column value (in the view).

    `None` is never passed to any of these functions; a nullable field keeps it as it is everywhere.
    Where a function is `None`, the value passes unchanged.
    """

    kind: Kind
    affinity: Literal["TEXT", "INTEGER", "REAL", "BLOB"]
    name: str  # the type as a person reads it, and part of the schema's fingerprint: "set[str]"
    accepts: Callable[[Any], bool]  # is this wire value one of this type?
    is_operand: Callable[[Any], bool]  # is this Python value one of this type? (operands of queries)
    to_wire: Callable[[Any], Any] | None = None  # Python value, already validated -> wire value
    from_wire: Callable[[Any], Any] | None = None
    to_column: Callable[[Any], Any] | None = None  # wire value -> column value
    from_column: Callable[[Any], Any] | None = None  # column value -> Python value, in one step
    to_key: Callable[[Any], Any] | None = None  # wire value -> what sorts and compares, in a second column (decimal)
    mutable: bool = False  # may change in place: list, set, dict, nested models
    item: Codec | None = None  # element of list, set and homogeneous tuple; value of a map
    holds_links: bool = False  # of a nested record or a tuple of several types: files are somewhere in it
    version: str = ""  # changes with what a nested class takes, so that the view is projected anew


@dataclass(frozen=True, slots=True)
class Bounds:
    """Declared limits of a value. They guard local writes; a foreign value beyond them shows and is flagged."""

    ge: Any = None
    gt: Any = None
    le: Any = None
    lt: Any = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A stored field.

    `default` is the wire value that a missing cell reads as when `has_default`; an empty list for the factories
    `list`, `set`, `dict` (`{}` for the last). A field with neither default nor `nullable` hides its record
    while its cell is missing.
    """

    name: str  # the attribute
    wire: str  # the name in the log, fixed at first use
    codec: Codec
    nullable: bool = False
    merge: Merge = "lww"
    index: bool | Literal["global"] = False
    unique: bool | Literal["derived"] = False
    expose: bool = True
    has_default: bool = False
    default: Any = None
    bounds: Bounds | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ComputedSpec:
    """A value derived from the record's own fields. Indexed ones are columns of the view, null where it raises."""

    name: str
    codec: Codec
    index: bool
    expose: bool
    function: Callable[[Mapping[str, Any]], Any]  # wire values of the fields, by attribute -> wire value; may raise
    version: str = ""  # changes with the function's body, so that the view is projected anew


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """An index over fields or indexed computed fields, in order; `True` beside a name means descending.

    A name with dots is a path into a nested value. Of a collection, alone, each element is indexed.
    """

    fields: tuple[tuple[str, bool], ...]
    unique: bool = False


@dataclass(frozen=True, slots=True)
class RelationSpec:
    """A relation, never stored. `key` is an attribute: of this model for belongs_to, of the target otherwise.

    many_to_many goes through the junction model `through` (its fields `local` and `remote`), or through `ids`, a
    field of this model that holds ids. For has_many, `through` names a relation of this model whose targets'
    records are meant.
    """

    name: str
    kind: Literal["belongs_to", "has_one", "has_many", "many_to_many"]
    target: str  # model name
    nullable: bool = False  # One[T | None]
    key: str = ""
    on_delete: OnDelete = "keep"
    order_by: tuple[str, bool] | None = None
    limit: int | None = None
    through: str = ""
    local: str = ""
    remote: str = ""
    ids: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ShardSpec:
    """How a model's records are spread over logs: the strategy, and the layout the model declares.

    `custom` strategies are called with the key's wire value and the number of shards.
    """

    kind: Literal["hash", "range", "user", "custom"]
    key: str  # an attribute, or "id"; empty for `user`, which goes by the owner in the id
    n: int
    bounds: tuple[Any, ...] = ()  # of `range`: wire values, ascending; n - 1 of them
    name: str = ""  # of a custom strategy, part of its logs' names
    choose: Callable[[Any, int], int] | None = field(default=None, repr=False)  # a custom strategy


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """Everything a model declares."""

    name: str  # as stored
    version: int  # major * 10**6 + minor * 10**3 + patch
    scope: Scope
    store: Store
    write: Write
    fields: tuple[FieldSpec, ...]
    computed: tuple[ComputedSpec, ...] = ()
    indexes: tuple[IndexSpec, ...] = ()  # those of fields (`index=`, `unique=`) come first, then declared ones
    relations: tuple[RelationSpec, ...] = ()
    sharding: ShardSpec | None = None  # `None`: one log for the whole scope
    pubsub: tuple[str, ...] = ()  # operations that are announced to peers
    pinning: object = None  # the rule of `debros.pinning.rules` that its content is kept by
    by_name: Mapping[str, FieldSpec] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {spec.name: spec for spec in self.fields})

    @property
    def is_internal(self) -> bool:
        """Whether this is a model of debros's own: its name begins with `_`."""
        return self.name.startswith("_")

    def fingerprint(self) -> str:
        """A text that changes whenever rows have to be projected anew."""
        fields = [
            (
                s.wire if s.name == s.wire else (s.name, s.wire),  # what is unique or computed is declared by names
                s.codec.name + s.codec.version, s.nullable, s.merge, s.has_default, repr(s.default), repr(s.bounds),
            )
            for s in self.fields
        ]  # fmt: skip
        computed = [(s.name, s.codec.name + s.codec.version, s.version) for s in self.computed if s.index]
        effects = self.effect_keys()
        unique = [index.fields for index in self.indexes if index.unique]  # others are made without projecting again
        made = (5, self.name, self.scope, self.store, self.write, fields, computed, unique, effects)
        if (spec := self.sharding) is not None:
            return repr((*made, (spec.kind, spec.key, spec.n, spec.bounds, spec.name)))
        return repr(made)

    def effect_keys(self) -> tuple[str, ...]:
        """Fields by which deleted records of other models hide records of this one, or null the field."""
        effects = ("cascade", "set_null")
        return tuple(sorted({r.key for r in self.relations if r.kind == "belongs_to" and r.on_delete in effects}))


def key_text(schema: Schema) -> str:
    """Return what a model is sharded by, as text; empty for one that is not."""
    return "" if schema.sharding is None else schema.sharding.key or "owner"
