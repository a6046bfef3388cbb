"""Unique values: refused against what this node knows, flagged where peers claimed at once.

A claim is the value of a unique index in a visible row; null claims nothing. Of several claimants the one with the
smallest stamp holds the value, the others are flagged `NOT_UNIQUE` (docs/format.md, Values). The index in SQLite
is not UNIQUE, for losers stay.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from debros.replica.rows import Rows
from debros.replica.state import States
from debros.replica.tables import NOT_UNIQUE, Row, quoted
from debros.replica.view import View

Key: TypeAlias = "tuple[Any, ...]"  # index number, log (0: across logs), values
Noted: TypeAlias = "tuple[dict[Key, set[tuple[int, str]]], set[Key], set[tuple[int, str]]]"


_WRITING: Final = ("put", "inc", "add", "rem", "keep")  # parts of a change that name fields by their stored names


class _Index(NamedTuple):
    number: int
    fields: tuple[str, ...]
    wires: tuple[str, ...]
    positions: tuple[int, ...]
    find: str  # -> _log, id


class Claims:
    """Who holds which unique value in one table."""

    def __init__(self, view: View, rows: Rows, states: States, digest_of: Callable[[int], bytes]) -> None:
        self._view, self._rows, self._states, self._digest_of = view, rows, states, digest_of
        table = rows.table
        self.model = table.schema.name
        self._within_log = table.schema.scope == "user"
        self._pending: dict[Key, set[tuple[int, str]]] = {}  # rows not in the file that claimed it, some not any more
        self._dirty: set[Key] = set()
        self._flagged: set[tuple[int, str]] = set()  # rows that had lost a value, and may not even claim it any more
        self.indexes: list[_Index] = []
        for number, index in enumerate(table.schema.indexes):
            if not index.unique:
                continue
            names = tuple(name for name, _ in index.fields)
            columns = [table.sort_column(name) for name in names]
            where = [f"{column} = ?" for column in columns] + (['"_log" = ?'] if self._within_log else [])
            self.indexes.append(
                _Index(
                    number,
                    names,
                    tuple(table.schema.by_name[name].wire for name in names if name in table.schema.by_name),
                    tuple(table.columns.index(column.strip('"')) for column in columns),
                    f'SELECT "_log", "id" FROM {quoted(table.name)} WHERE {" AND ".join(where)} AND "_hidden" = 0',
                )
            )
        self._wires = frozenset(wire for index in self.indexes for wire in index.wires)

    def concerns(self, value: Mapping[str, Any]) -> bool:
        """Whether a change writes a field of a unique index, or brings a record into sight or out of it."""
        return "live" in value or any(not self._wires.isdisjoint(value.get(kind, ())) for kind in _WRITING)

    def stays(self, row: Row, before: Row | None, value: Mapping[str, Any]) -> bool:
        """Whether a change left the claims of a row what they were, also in age, and the row had not lost one."""
        if before is None or self.concerns(value) or before[self._rows.table.flags_at] & NOT_UNIQUE:
            return False
        return self.keys(row) == self.keys(before)

    def keys(self, row: Row) -> list[Key]:
        """Return the claims that a row makes."""
        table = self._rows.table
        if row[table.hidden_at]:
            return []
        log = row[table.log_at] if self._within_log else 0
        found = []
        for index in self.indexes:
            values = [row[at] for at in index.positions]
            if None not in values:
                found.append((index.number, log, *values))
        return found

    def note(self, row: Row, before: Row | None, *, checked: bool) -> None:
        """Take notice of a new state of a row; `checked`: `holder` was asked, and only claims were added."""
        place = (row[self._rows.table.log_at], row[0])
        for key in self.keys(row):
            self._pending.setdefault(key, set()).add(place)
            if not checked:
                self._dirty.add(key)
        if row[self._rows.table.flags_at] & NOT_UNIQUE:
            self._flagged.add(place)
        if before is not None:
            self._dirty.update(self.keys(before))

    def holder(self, key: Key, log: int, id: str, without: Collection[tuple[int, str]] = ()) -> str | None:
        """Return the id of another record that shows this value, those `without` (log, id) left aside."""
        for place in sorted(self._pending.get(key, ())):
            row = self._rows.pending.get(place)
            if place != (log, id) and place not in without and row is not None and key in self.keys(row):
                return place[1]
        for place in self._claimants(key):
            if place != (log, id) and place not in self._rows.pending and place not in without:
                return place[1]
        return None

    def fields(self, key: Key) -> tuple[str, ...]:
        """Return the names of the fields that a claim is about."""
        return next(index.fields for index in self.indexes if index.number == key[0])

    def _claimants(self, key: Key) -> list[tuple[int, str]]:
        index = next(index for index in self.indexes if index.number == key[0])
        bindings = (*key[2:], key[1]) if self._within_log else key[2:]
        return [(log, id) for log, id in self._view.read(index.find, bindings)]

    @property
    def unsettled(self) -> bool:
        """Whether flags wait for the next flush, so that a row in memory may lack one."""
        return bool(self._dirty)

    def settle(self) -> list[tuple[int, str]]:
        """Set the flags of all records that contend for the values touched since the last time.

        Runs in the flush's SQLite transaction, when all rows are in the file. Returns (log, id) of the rows in
        memory that are older than the file's now; `forget` follows once the transaction is committed.
        """
        changed: list[tuple[int, str]] = []
        for _ in self.settling(changed):
            pass
        return changed

    def settling(self, changed: list[tuple[int, str]]) -> Iterator[None]:
        """Set the flags, a step for each value and each contender, and add the rows that change to `changed`."""
        contenders = set(self._flagged)
        for key in sorted(self._dirty, key=repr):
            contenders.update(self._claimants(key))
            yield
        table = self._rows.table
        winners: dict[Key, tuple[int, str]] = {}  # thousands may contend for one value
        for log, id in sorted(contenders):
            [row] = self._view.read(table.by_id, (id, log))
            keys = self.keys(row)
            for key in keys:
                if key not in winners:
                    winners[key] = self._winner(key)
            lost = any(winners[key] != (log, id) for key in keys)
            flags = row[table.flags_at] | NOT_UNIQUE if lost else row[table.flags_at] & ~NOT_UNIQUE
            if flags != row[table.flags_at]:
                self._view.update(self._rows, '"_flags"', flags, row[table.doc_at])
                changed.append((log, id))
            yield

    def exchange(self, noted: Noted | None) -> Noted:
        """Note into other sets from now on, new ones at first, and return those noted into so far."""
        so_far = self._pending, self._dirty, self._flagged
        self._pending, self._dirty, self._flagged = noted or ({}, set(), set())
        return so_far

    def forget(self, stale: list[tuple[int, str]]) -> None:
        """Forget what is settled, and the rows in memory that are stale."""
        self._pending, self._dirty, self._flagged = {}, set(), set()
        for place in stale:
            self._rows.cache.pop(place)
            self._rows.pending.pop(place, None)
        self._rows.revision += bool(stale)

    def _winner(self, key: Key) -> tuple[int, str]:
        claimants = self._claimants(key)
        return min(claimants, key=lambda place: (*self._stamp(key, *place), place))

    def _stamp(self, key: Key, log: int, id: str) -> tuple[int, bytes]:
        """Return when the claim was made: the newest stamp among the fields of the index."""
        [row] = self._view.read(self._rows.table.by_id, (id, log))
        index = next(index for index in self.indexes if index.number == key[0])
        registers = self._states.load(row).registers
        stamps = [(registers[w][0], self._digest_of(registers[w][1])) for w in index.wires if w in registers]
        return max(stamps, default=(0, b""))
