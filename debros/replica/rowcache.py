"""The rows of one table that are kept in memory: in two generations, so that a flush keeps thousands without touching each.

A row that is asked for goes to the young ones. When they are half of what may be kept, they are the old ones, and those
before go: what goes was not asked for since. That is how an LRU behaves, but for the order within a generation.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

from debros.replica.tables import Row

Place: TypeAlias = tuple[int, str]  # log, id


class RowCache:
    """Rows by where they are. How many may be kept is said by whoever adds some."""

    __slots__ = ("_old", "young")

    def __init__(self) -> None:
        self.young: dict[Place, Row] = {}  # to be asked first, for it costs no call
        self._old: dict[Place, Row] = {}

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def get(self, place: Place) -> Row | None:
        """Return a row that is kept, and keep it on."""
        row = self.young.get(place)
        if row is None and (row := self._old.pop(place, None)) is not None:
            self.young[place] = row
        return row

    def put(self, place: Place, row: Row, most: int) -> None:
        """Keep a row."""
        if 2 * len(self.young) >= most - 1:
            self._turn({}, most)
        self.young[place] = row

    def take(self, rows: dict[Place, Row], most: int) -> None:
        """Keep rows of which none is kept yet, the last ones if they are too many; the dict is not the caller's any more."""
        if 2 * (len(self.young) + len(rows)) <= most:
            self.young.update(rows)
        else:
            half = max(1, most // 2)
            self._turn(rows if len(rows) <= half else dict(list(rows.items())[-half:]), most)

    def _turn(self, rows: dict[Place, Row], most: int) -> None:
        """Let the old ones go; these are the young ones."""
        self._old, self.young = self.young if most > 1 else {}, rows

    def pop(self, place: Place) -> None:
        """Forget a row, if it is kept."""
        self.young.pop(place, None)
        self._old.pop(place, None)

    def drop(self, places: Collection[Place]) -> None:
        """Forget rows at these places."""
        for kept in (self.young, self._old):
            for place in [one for one in kept if one in places] if len(places) >= len(kept) else places:
                kept.pop(place, None)

    def clear(self) -> None:
        """Forget all."""
        self.young, self._old = {}, {}
