"""One id in two shards of a model: of those that exist, the creation with the smallest stamp shows, the others do not.

Nobody but a writer who chose the id makes such twins: ids of debros are different everywhere. Like all effects they are
settled in the flush, as a function of the rows in the file, whatever the order in which they came.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from typing import Final

from debros.replica.rows import Rows
from debros.replica.tables import DELETED, SHADOWED, UNREADABLE, WRONG_ID, WRONG_SHARD, Row, quoted
from debros.replica.uniqueness import Claims
from debros.replica.view import View

_OUT: Final = DELETED | WRONG_ID | WRONG_SHARD | UNREADABLE  # what does not count as the holder of its id
_STEP: Final = 1000  # ids asked for at once


class Twins:
    """The ids of one sharded model."""

    def __init__(self, view: View, rows: Rows, claims: Claims, digest_of: Callable[[int], bytes]) -> None:
        self._view, self._rows, self._claims, self._digest_of = view, rows, claims, digest_of
        self._dirty: set[str] = set()
        self.logs: set[int] = set()  # of which rows may be in memory

    @property
    def unsettled(self) -> bool:
        """Whether a row in memory may show that will not after the next flush, or the other way round."""
        return bool(self._dirty)

    def note(self, row: Row, _: Row | None, checked: bool) -> None:
        """Take notice of a new state of a row; `checked`: nobody else has its id."""
        self.logs.add(row[self._rows.table.log_at])
        if not checked:
            self._dirty.add(row[0])

    def holder(self, log: int, id: str, without: Collection[tuple[int, str]] = ()) -> Row | None:
        """Return the row by which a record in another shard has this id, those `without` (log, id) left aside."""
        log_at, hidden_at = self._rows.table.log_at, self._rows.table.hidden_at
        for row in self.all_of(id):
            if row[log_at] != log and not row[hidden_at] & _OUT and (row[log_at], id) not in without:
                return row
        return None

    def all_of(self, id: str) -> list[Row]:
        """Return the rows with an id in all shards, from memory where it has newer ones."""
        pending, log_at = self._rows.pending, self._rows.table.log_at
        found = {log: row for log in self.logs if (row := pending.get((log, id))) is not None}
        for row in self._view.rows_of(self._rows, id):
            found.setdefault(row[log_at], row)
        return [found[log] for log in sorted(found)]

    def best(self, rows: list[Row]) -> Row | None:
        """Return the row that is meant by an id: the one that shows, else the one that would, else the oldest."""
        table = self._rows.table
        if len(rows) < 2:
            return rows[0] if rows else None
        return min(rows, key=lambda row: (row[table.hidden_at] & _OUT != 0, self._stamp(row)))

    def _stamp(self, row: Row) -> tuple[int, bytes]:
        clock, e = row[self._rows.table.ct_at], row[self._rows.table.ce_at]
        return (2**63, b"") if clock is None else (clock, self._digest_of(e))

    def settle(self) -> list[tuple[int, str]]:
        """Show and hide what has to be, in the flush's SQLite transaction; return (log, id) of rows that changed."""
        changed: list[tuple[int, str]] = []
        for _ in self.settling(changed):
            pass
        return changed

    def settling(self, changed: list[tuple[int, str]]) -> Iterator[None]:
        """Show and hide what has to be, a step for some ids each, and add the rows that change to `changed`."""
        table = self._rows.table
        name, ids = quoted(table.name), sorted(self._dirty)
        for start in range(0, len(ids), _STEP):
            listed = json.dumps(ids[start : start + _STEP])
            several = f'SELECT "id" FROM {name} WHERE "id" IN (SELECT value FROM json_each(?)) GROUP BY "id" HAVING count(*) > 1'
            for (id,) in self._view.read(several, (listed,)):
                changed += self._settle(id)
            yield

    def _settle(self, id: str) -> Iterator[tuple[int, str]]:
        table = self._rows.table
        hidden_at = table.hidden_at
        rows = self._view.rows_of(self._rows, id)
        there = [row for row in rows if not row[hidden_at] & _OUT]
        holder = min(there, key=self._stamp) if there else None
        for row in rows:
            hides = row in there and row is not holder
            hidden = row[hidden_at] | SHADOWED if hides else row[hidden_at] & ~SHADOWED
            if hidden != row[hidden_at]:
                self._view.update(self._rows, '"_hidden"', hidden, row[table.doc_at])
                if self._claims.indexes:
                    self._claims.note((*row[:hidden_at], hidden, *row[hidden_at + 1 :]), row, checked=False)
                yield row[table.log_at], id

    def exchange(self, noted: set[str] | None) -> set[str]:
        """Note into another set from now on, a new one at first, and return the one noted into so far."""
        so_far, self._dirty = self._dirty, noted or set()
        return so_far

    def forget(self) -> None:
        """Forget what is settled: the transaction is committed."""
        self._dirty = set()
