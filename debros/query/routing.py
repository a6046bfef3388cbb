"""Which shards a question concerns: what its condition says about the shard key, read off its structure.

Conditions are texts with bindings (`debros.query.expressions`), so a comparison with the key is known by its text. What
is not understood means any key: more shards may be read than need be, never fewer.
"""

from __future__ import annotations

import json
from typing import Any, Final, TypeAlias

from debros.errors import PartialResultError
from debros.identity.did import TAG_SIZE
from debros.query.catalog import Columns
from debros.query.expressions import Expr, Joined, Leaf
from debros.query.ports import Source, Users
from debros.shards.spans import Keys, Span

Logs: TypeAlias = "tuple[int, ...] | None"

_MOST: Final = 10_000  # pairs of spans that are compared; beyond it one side alone is taken, which says enough


def keys_of(columns: Columns, condition: Expr | None) -> Keys:
    """Return the shard keys for which a condition can be true; `None`: any."""
    if condition is None or columns.schema.sharding is None:
        return None
    return _Reading(columns).keys(condition)


def logs_of(source: Source, users: Users, columns: Columns, condition: Expr | None, partial: bool) -> Logs:
    """Return the numbers of the logs that may be read; `None`: all that the model's table shows.

    Raises:
        PartialResultError: shards that the condition concerns are not held here, and `partial` does not allow that.
    """
    if not source.is_partial:
        return source.logs(users)
    reach = source.reach(keys_of(columns, condition))
    if reach.missing and not partial:
        raise PartialResultError(columns.name, reach.missing, reach.why)
    return reach.logs


class _Reading:
    """Reads conditions for what they say about one model's shard key."""

    def __init__(self, columns: Columns) -> None:
        spec = columns.schema.sharding
        assert spec is not None, "only sharded models have a key"
        self._id = columns.id.sql
        self._is_owner = spec.kind == "user"
        self._key = columns.named("meta.owner").sql if self._is_owner else columns.named(spec.key).sql
        derived = next((one.name for one in columns.schema.fields if one.unique == "derived"), None)
        self._id_is_key = self._is_owner or spec.key in ("id", derived)

    def keys(self, condition: Expr) -> Keys:
        """Return the keys for which a condition can be true."""
        if type(condition) is Leaf:
            return self._of_leaf(condition)
        if not isinstance(condition, Joined):
            return None
        found: Keys = None
        for n, part in enumerate(condition.parts):
            keys = self.keys(part)
            if condition.operator == " AND ":
                found = _both(found, keys)
            elif keys is None:
                return None
            else:
                found = keys if n == 0 or found is None else found + keys
        return found

    def _of_leaf(self, leaf: Leaf) -> Keys:
        if leaf.text == "0":  # `in_` of nothing
            return ()
        if leaf.text.startswith(self._key):
            return _spans(leaf.text[len(self._key) :], leaf.bindings)
        if self._id_is_key and leaf.text.startswith(self._id):
            keys = _spans(leaf.text[len(self._id) :], leaf.bindings)
            if not self._is_owner or keys is None or not all(span.is_point for span in keys):
                return None if self._is_owner else keys
            owners = (str(span.low).rpartition("~")[2] for span in keys)
            return tuple(Span(owner, owner) for owner in owners if len(owner) == TAG_SIZE)
        return None


def _spans(comparison: str, bound: tuple[object, ...]) -> Keys:
    """Return the values that a comparison with bound values lets through."""
    if comparison == " = ?":
        return (Span(bound[0], bound[0]),)
    if comparison == " <= ?":
        return (Span(None, bound[0]),)
    if comparison == " < ?":
        return (Span(None, bound[0], below=True),)
    if comparison in (" >= ?", " > ?"):
        return (Span(bound[0], None),)
    if comparison == " BETWEEN ? AND ?":
        return (Span(bound[0], bound[1]),)
    if comparison == " IS NULL":
        return ()  # a shard key never is
    if comparison.startswith(" IN (?"):
        return tuple(Span(value, value) for value in dict.fromkeys(bound))
    if comparison.startswith(" IN (SELECT") and comparison.endswith("json_each(?))"):
        values = json.loads(str(bound[0]))
        if "unhex" in comparison:
            values = [bytes.fromhex(value) for value in values]
            if "AS TEXT" in comparison:
                values = [value.decode() for value in values]
        return tuple(Span(value, value) for value in dict.fromkeys(values))
    return None


def _both(one: Keys, other: Keys) -> Keys:
    """Return the keys that are among both."""
    if one is None or other is None:
        return other if one is None else one
    if len(one) * len(other) > _MOST:
        return min(one, other, key=len)
    return tuple(span for a in one for b in other if (span := _overlap(a, b)) is not None)


def _overlap(a: Span, b: Span) -> Span | None:
    low: Any = b.low if a.low is None else a.low if b.low is None else max(a.low, b.low)
    high, below = a.high, a.below
    if b.high is not None and (high is None or (b.high, not b.below) < (high, not below)):
        high, below = b.high, b.below
    if low is not None and high is not None and (high < low or (high == low and below)):
        return None
    return Span(low, high, below)
