"""Which shards may hold what a query asks for: a pure function of its conditions on the key.

A `Span` is an interval of key values as they stand in the view's sort column; `Keys` is a union of them, `None`: any.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

from debros.log.layout import Layout, place, sort_key
from debros.schema import Codec, ShardSpec


class Span(NamedTuple):
    """Key values from `low` to `high`; `None` is an open end. `below`: `high` itself is not meant."""

    low: Any
    high: Any
    below: bool = False

    @property
    def is_point(self) -> bool:
        """Whether it is one value."""
        return self.low is not None and self.low == self.high and not self.below


Keys: TypeAlias = "tuple[Span, ...] | None"


class Reach(NamedTuple):
    """What a query reads of a model: shards by number, their logs on this node, and what is not here."""

    shards: tuple[int, ...]
    logs: tuple[int, ...] | None  # numbers; `None`: all that the model's table shows
    missing: tuple[str, ...] = ()  # addresses of logs that this node does not hold
    why: str = ""  # if the store of one of them is away


def shards_of(layout: Layout, spec: ShardSpec, codec: Codec, keys: Keys) -> Iterable[int]:
    """Return the shards, 0..n-1, of a layout that may hold any of these keys."""
    if keys is None:
        return range(layout.n)
    if layout.kind == "range":
        order = sort_key(codec)
        bounds = [order(bound) for bound in layout.bounds]
        return sorted({shard for span in keys for shard in _within(bounds, span)})
    if not all(span.is_point for span in keys):
        return range(layout.n)
    find = place(layout, spec, codec)
    found = (_of_point(find, spec, codec, span.low) for span in keys)
    return sorted({shard for shard in found if shard is not None})


def _within(bounds: list[Any], span: Span) -> range:
    first = 0 if span.low is None else bisect_right(bounds, span.low)
    if span.high is None:
        last = len(bounds)
    else:
        last = bisect_left(bounds, span.high) if span.below else bisect_right(bounds, span.high)
    return range(first, last + 1)


def _of_point(find: Any, spec: ShardSpec, codec: Codec, value: Any) -> int | None:
    if spec.kind == "user":
        found: int | None = find(f"~{value}", None)
    elif spec.key == "id":
        found = find(value, None)
    else:
        python = value if codec.from_column is None else codec.from_column(value)
        found = find("", python if codec.to_wire is None else codec.to_wire(python))
    return found
