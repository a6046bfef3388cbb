"""The rows that a live query holds, in order, and what a batch of changes does to them: values and no reading.

A limited query holds the rows up to its limit (those that its offset skips too) and the *edge*: nothing that matches
and sorts up to there is missing. So a row comes or goes by one comparison; only when rows leave is the view
asked for what follows, and then only behind the edge.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import total_ordering
from typing import Any, NamedTuple, TypeAlias

from sortedcontainers import SortedKeyList

from debros.replica.effects import Place
from debros.replica.tables import Row

Key: TypeAlias = "tuple[Any, ...]"  # sorts as the query orders


class Held(NamedTuple):
    """A row of the result."""

    key: Key
    values: tuple[Any, ...]  # of the terms of the order, as the view has them
    place: Place
    row: Row
    record: Any = None  # with its relations, where the query includes some
    related: tuple[Any, ...] = ()  # what the record shows of its relations

    def looks_like(self, other: Held) -> bool:
        """Whether both show the same."""
        return self.row == other.row and self.related == other.related and self.key == other.key


@total_ordering
class _Down:
    """A value that sorts the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Down) and bool(self.value == other.value)

    def __lt__(self, other: _Down) -> bool:
        return bool(other.value < self.value)

    __hash__ = None  # type: ignore[assignment]  # sorted, never looked up


_RANKS = {type(None): 0, int: 1, float: 1, str: 2, bytes: 3}  # as SQLite sorts values of different types


def key_of(values: Sequence[Any], descending: Sequence[bool]) -> Key:
    """Return how a row with these values of the order's terms sorts."""
    ranked = ((_RANKS[type(value)], 0 if value is None else value) for value in values)
    return tuple(_Down(one) if down else one for one, down in zip(ranked, descending, strict=True))


class Ordered:
    """Rows by place and by position."""

    def __init__(self, rows: Iterable[Held] = ()) -> None:
        self.by_place = {held.place: held for held in rows}
        self._sorted: Any = SortedKeyList(self.by_place.values(), key=lambda held: held.key)

    def __len__(self) -> int:
        return len(self.by_place)

    def __iter__(self) -> Iterator[Held]:
        return iter(self._sorted)

    def slice(self, start: int) -> list[Held]:
        """Return the rows from a position on."""
        found: list[Held] = list(self._sorted.islice(start))
        return found

    @property
    def last(self) -> Held:
        """The last row."""
        found: Held = self._sorted[-1]
        return found

    def put(self, held: Held) -> int:
        """Take a row in, in place of what was known of it, and return its position."""
        self.drop(held.place)
        self.by_place[held.place] = held
        self._sorted.add(held)
        at: int = self._sorted.bisect_key_left(held.key)
        return at

    def drop(self, place: Place) -> Held | None:
        """Let a row go."""
        held = self.by_place.pop(place, None)
        if held is not None:
            self._sorted.remove(held)
        return held


Step: TypeAlias = "tuple[Place, Held | None]"
"""What becomes of a row: how it looks now, or that it is gone."""

More: TypeAlias = "Callable[[Held, int], Awaitable[list[Held]]]"
"""Reads matching rows behind one, at most so many."""


class Window:
    """The first rows of an ordered result, up to a limit."""

    def __init__(self, limit: int | None, skipped: int) -> None:
        self.capacity = None if limit is None else limit + skipped
        self.skipped = skipped
        self._rows = Ordered()
        self._edge: Held | None = None  # `None`: nothing that matches is missing

    @property
    def is_whole(self) -> bool:
        """Whether it holds the whole result."""
        return self.capacity is None and not self.skipped

    def fill(self, rows: list[Held]) -> None:
        """Hold these rows, the first `capacity` of the result."""
        self._rows = Ordered(rows)
        self._edge = rows[-1] if rows and len(rows) == self.capacity else None

    def replace(self, held: Held) -> None:
        """Note more about a row that is held."""
        self._rows.put(held)

    def __contains__(self, place: Place) -> bool:
        return place in self._rows.by_place

    @property
    def places(self) -> Iterable[Place]:
        """The rows that are held."""
        return self._rows.by_place.keys()

    async def apply(self, steps: Sequence[Step], more: More) -> list[Step]:
        """Take a batch of changes, and return what becomes of visible rows.

        `more` is asked for matching rows behind an edge, at most so many, when rows left the window.
        """
        if self.is_whole:
            return self._apply_all(steps)
        before = self._seen()
        for place, held in steps:
            if held is None or (self._edge is not None and held.key > self._edge.key):
                self._rows.drop(place)
            else:
                self._rows.put(held)
        if self.capacity is not None:
            await self._refill(more)
        return difference(before, self._seen())

    def _apply_all(self, steps: Sequence[Step]) -> list[Step]:
        done: list[Step] = []
        for place, held in steps:
            if held is None:
                if self._rows.drop(place) is not None:
                    done.append((place, None))
                continue
            known = self._rows.by_place.get(place)
            if known is None or not known.looks_like(held):
                self._rows.put(held)
                done.append((place, held))
        return done

    async def _refill(self, more: More) -> None:
        capacity = self.capacity or 0
        missing = capacity - len(self._rows)
        if missing > 0 and self._edge is not None:
            found = await more(self._edge, missing)
            for held in found:
                self._rows.put(held)
            self._edge = found[-1] if len(found) == missing else None
        while len(self._rows) > capacity:
            self._rows.drop(self._rows.last.place)
            self._edge = self._rows.last if self._rows else None
        if capacity and len(self._rows) == capacity and self._edge is not None:
            self._edge = self._rows.last

    def visible(self) -> list[Held]:
        """Return the rows behind those that the offset skips, in order."""
        return self._rows.slice(self.skipped)

    def _seen(self) -> dict[Place, Held]:
        return {held.place: held for held in self.visible()} if self.skipped else dict(self._rows.by_place)


def difference(before: dict[Place, Held], after: dict[Place, Held]) -> list[Step]:
    """Return what leads from one state to another; what goes comes first, so that a limit always holds."""
    gone: list[Step] = [(place, None) for place in before if place not in after]
    come: list[Step] = [
        (place, held) for place, held in after.items() if place not in before or not before[place].looks_like(held)
    ]
    return gone + come
