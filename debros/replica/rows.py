"""The rows of one model's table: those that wait in memory, those kept there, and where the others lie."""

from __future__ import annotations

from collections.abc import Callable

from debros.replica import arms
from debros.replica.arms import Arm
from debros.replica.rowcache import RowCache
from debros.replica.tables import Row, Table, quoted
from debros.replica.updates import Update, Updates


class Greatest(dict[int, str]):
    """An id for each log that none of its ids exceeds. Of logs that were there before it is the table's greatest."""

    def __init__(self, logs: int, greatest: str) -> None:
        super().__init__()
        self._logs = logs
        self._greatest = greatest

    def __missing__(self, log: int) -> str:
        found = self[log] = self._greatest if log <= self._logs else ""
        return found


class Rows:
    """The rows of one table: those not yet in the file, those kept in memory, and the file."""

    def __init__(self, table: Table, next_doc: int, greatest: Greatest) -> None:
        self.table = table
        self.pending: dict[tuple[int, str], Row] = {}  # (log, id) -> row
        # in what pending rows differ from the file's, where it is known
        self.updates: dict[tuple[int, str], Update] = {}
        self.update_of = Updates(table)
        self.touched: list[tuple[int, int]] = []  # (doc, entry): only documents that two changes or more made
        self.cache = RowCache()
        self.next_doc = next_doc
        self.are_new = True  # whether all that wait are the first rows of their documents
        self.first_new = next_doc  # the file has no row with this `_doc`, nor with a greater one
        self.greatest = greatest  # of each log: a greater id, as UUIDv7 gives, cannot exist yet
        self.watch: Callable[[Row, Row | None, bool], None] | None = None  # told of each new state of a row
        self.linked = False  # whether its rows have `on_delete` effects, on others or from others
        self.revision = 0  # changes whenever a row that anybody but a transaction sees may have changed
        self.touch = quoted(f"t_{table.schema.name}")
        self.arms: dict[int, Arm] = {}  # by log: where its rows lie, if not in the home's own view

    def shares(self) -> list[tuple[str, str]]:
        """Return the SQL names of the tables that hold the rows, each with the condition that says which ones."""
        name = self.table.name
        if not self.arms:
            return [(arms.in_schema("main", name), "")]
        own = f' WHERE "_log" NOT IN ({", ".join(map(str, self.arms))})'
        rest = [(arms.in_schema(arm.schema, name), f' WHERE "_log" = {log}') for log, arm in self.arms.items()]
        return [(arms.in_schema("main", name), own), *rest]
