"""Strategies of `@model(sharding=...)`: how a model's records are spread over logs of their own.

Each shard is replicated, held or not held by itself. A record's shard follows from the value of its key, which is
fixed by the first save.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal, Protocol, cast

from debros.errors import ModelError, did_you_mean
from debros.log.layout import MAX_SHARDS, RANGED, wire_bounds
from debros.schema import Codec, FieldSpec, Scope, ShardSpec
from debros.values.scalars import TEXT

_HASHED: Final = frozenset(
    {"text", "int", "float", "bool", "bytes", "instant", "duration", "date", "time", "uuid", "choice"}
)
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")


class Strategy(Protocol):
    """A strategy of your own: an object with these attributes, given to `@model(sharding=...)`.

    `shard_of` is a pure function: every node must give the same answer, for ever. A new strategy is a new `name`.
    """

    name: str
    """Stands in the names of the shards' logs: a-z, 0-9, `_` and `-`."""

    key: str
    """The field whose value decides, or `"id"`."""

    n: int
    """How many shards, at first; `db.shards[Model].resize` changes it."""

    def shard_of(self, value: Any, n: int) -> int:
        """Return the shard, 0..n-1, of a key's value."""
        ...


class Sharding:
    """A strategy that debros knows, as `hash_shards`, `range_shards` and `user_shards` make it."""

    shard_of: Callable[[Any, int], int]

    def __init__(self, kind: Literal["hash", "range", "user"], key: str, n: int, bounds: Sequence[Any] = ()) -> None:
        self.kind: Literal["hash", "range", "user"] = kind
        self.name: str = kind
        self.key = key
        self.n = n
        self.bounds = bounds

    def __repr__(self) -> str:
        last = repr(list(self.bounds)) if self.kind == "range" else str(self.n)
        return f"{self.kind}_shards({'' if self.kind == 'user' else f'{self.key!r}, '}{last})"


def layout_of(strategy: Sharding | Strategy) -> int | tuple[Any, ...]:
    """Return the layout that a strategy declares: its number of shards, or the bounds of ranges."""
    if isinstance(strategy, Sharding) and strategy.kind == "range":
        return tuple(strategy.bounds)
    return strategy.n


class _Laid:
    """A strategy of the program's own, with another number of shards."""

    def __init__(self, strategy: Strategy, n: int) -> None:
        self.name, self.key, self.shard_of = strategy.name, strategy.key, strategy.shard_of
        self.n = n


def with_layout(strategy: Sharding | Strategy, layout: int | Sequence[Any]) -> Sharding | Strategy:
    """Return a strategy with another number of shards, or one of ranges with other bounds."""
    if not isinstance(layout, int):
        return range_shards(strategy.key, layout)
    if isinstance(strategy, Sharding):
        return Sharding(strategy.kind, strategy.key, layout)
    return _Laid(strategy, layout)


def hash_shards(key: str, n: int = 4) -> Sharding:
    """Spread records evenly over `n` shards, by the hash of a field's value (or of `"id"`).

    Queries that say what the key is, by `==` or `in_`, read only the shards that can hold it.
    """
    return Sharding("hash", key, n)


def range_shards(key: str, bounds: Iterable[Any]) -> Sharding:
    """Spread records by where a field's value lies: shard i holds `bounds[i-1] <= key < bounds[i]`; the ends are open.

    n bounds make n + 1 shards. The key is a number, a date, a time, or text. Queries over a range of the key read
    only its shards.
    """
    return Sharding("range", key, 0, list(bounds) if isinstance(bounds, Iterable) else [bounds])


def user_shards(n: int = 4) -> Sharding:
    """Spread records by who owns them, as the id says; the model is `write="owner"`.

    Queries that say whose records are meant, by `meta.owner`, read only that user's shard.
    """
    return Sharding("user", "", n)


def shard_spec(model: str, given: object, scope: Scope, fields: Sequence[FieldSpec]) -> ShardSpec:
    """Check the sharding of one model.

    Raises:
        ModelError: naming the model, what is wrong, and the cure.
    """
    if scope == "user":
        raise ModelError(
            f"{model}: a user-scoped model has a log for each user already; sharding= is for scope='global'"
        )
    if not isinstance(given, Sharding):
        return _custom(model, given, fields)
    if given.kind == "user":
        return ShardSpec("user", "", _count(model, given.n))
    codec = _key_codec(model, given.key, fields)
    if given.kind == "range":
        try:
            bounds = wire_bounds(given.bounds, codec)
        except ValueError as error:
            raise ModelError(f"{model}: range_shards by {given.key!r}: {error}") from None
        return ShardSpec("range", given.key, len(bounds) + 1, bounds)
    if codec.kind not in _HASHED:
        raise ModelError(
            f"{model}: hash_shards goes by a value that has one form; {given.key!r} is {codec.name}"
            + ("; use range_shards" if codec.kind == "decimal" else "")
        )
    return ShardSpec("hash", given.key, _count(model, given.n))


def _custom(model: str, given: object, fields: Sequence[FieldSpec]) -> ShardSpec:
    name, key, n = (getattr(given, part, None) for part in ("name", "key", "n"))
    choose: Any = getattr(given, "shard_of", None)
    if not callable(choose) or not isinstance(key, str) or name is None or n is None:
        raise ModelError(
            f"{model}: sharding={given!r} is no strategy; use hash_shards, range_shards, user_shards, or an object"
            " with name, key, n and shard_of(value, n)"
        )
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in ("hash", "range", "user"):
        raise ModelError(f"{model}: the strategy name {name!r} is not of a-z, 0-9, _ and -, or is one that debros uses")
    codec = _key_codec(model, key, fields)
    if codec.kind not in _HASHED | RANGED:
        raise ModelError(f"{model}: {key!r} is {codec.name}; a shard's key is one plain value")
    decode = codec.from_wire

    def from_wire(value: Any, n: int) -> int:
        return cast(int, choose(value if decode is None else decode(value), n))

    return ShardSpec("custom", key, _count(model, n), name=name, choose=from_wire)


def _count(model: str, n: object) -> int:
    if type(n) is not int or not 1 <= n <= MAX_SHARDS:
        raise ModelError(f"{model}: the number of shards is 1 to {MAX_SHARDS}, not {n!r}")
    return n


def _key_codec(model: str, key: object, fields: Sequence[FieldSpec]) -> Codec:
    if key == "id":
        return TEXT
    derived = next((spec.name for spec in fields if spec.unique == "derived"), None)
    if derived is not None and key != derived:
        raise ModelError(
            f"{model}.{derived} is unique='derived', so it is the id: shard by {derived!r}, for nobody could be sure"
            " of the id elsewhere"
        )
    spec = next((spec for spec in fields if spec.name == key), None)
    if spec is None:
        names = [spec.name for spec in fields]
        raise ModelError(f"{model}: the shard key {key!r} is no stored field{did_you_mean(str(key), names)}")
    if spec.nullable:
        raise ModelError(f"{model}.{spec.name} is the shard key, which is never null: `Field[{spec.codec.name}]`")
    if spec.merge != "lww":
        raise ModelError(f"{model}.{spec.name} is the shard key, which never changes; leave merge= out")
    return spec.codec
