"""Rows of which it is known in which columns they differ from the file's: these alone are written, and no index without them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any

from debros.replica.tables import Row, Table, quoted


class Update:
    """Columns in which rows differ from what the file has of them."""

    __slots__ = ("columns", "statement", "values")

    def __init__(self, table: Table, columns: frozenset[int]) -> None:
        self.columns = columns
        at = sorted(columns)
        assigned = ", ".join(f"{quoted(table.columns[n])} = ?" for n in at)
        self.statement = f'UPDATE main.{quoted(table.name)} SET {assigned} WHERE "_doc" = ?'
        self.values: Callable[[Row], tuple[Any, ...]] = itemgetter(*at, table.doc_at)


class Updates:
    """The updates of one table, one for each set of columns."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._made: dict[frozenset[int], Update] = {}

    def of(self, columns: Iterable[int]) -> Update:
        """Return the update of some columns, by their positions in a row."""
        wanted = frozenset(columns)
        return self._made.get(wanted) or self._made.setdefault(wanted, Update(self._table, wanted))
