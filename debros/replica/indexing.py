"""Indexes that a declaration adds to a table which has its rows already: built beside the loop, one after another.

SQLite lets one connection write at a time. While an index is built, on a connection of its own, nothing is moved into the
view's file: what is written waits in memory and is durable in the log all the same; queries of what has been moved go on,
those that need what waits wait too. Until it is there, queries do without the index. A node that is closed meanwhile
waits until the thread has ended, which leaves no half of one: it begins anew at the next opening.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import apsw
import trio
from trio.lowlevel import enable_ki_protection

from debros.errors import StorageError
from debros.replica.tables import Table, TableIndex, quoted
from debros.replica.viewfile import BUSY_MS

if TYPE_CHECKING:
    from debros.replica.store import Store
    from debros.replica.view import View

LONGEST_MS: Final = 600_000  # that an index may take
STEPS: Final = 100_000  # of SQLite's virtual machine between two reports
STEPS_PER_ROW: Final = 12  # about, for what is there: scanning, and moving into order


@dataclass
class IndexBuild:
    """An index that is declared and not there yet."""

    table: Table
    index: TableIndex
    rows: int = 0  # of the table, once it is being built
    steps: int = 0
    failure: str = ""  # why it is not going on
    is_stopped: bool = False  # whether it is to end, and leave nothing

    def stop(self) -> None:
        """End it soon: an interrupt of SQLite is lost between two statements, so each report looks."""
        self.is_stopped = True

    @property
    def progress(self) -> float:
        """How much of it is done, 0..1, estimated."""
        return min(0.99, self.steps / (self.rows * STEPS_PER_ROW)) if self.rows else 0.0


def missing_indexes(view: View, table: Table) -> list[IndexBuild]:
    """Drop a table's indexes that are not declared any more, and return those that are not there yet."""
    there = dict(view.indexes_of(table))
    made = {str(name): sql for name, sql in view.db.execute("SELECT name, sql FROM sqlite_master")}
    wanted = table.indexes()
    good = {i.name for i in wanted if all(made.get(_name(statement)) == statement for statement in i.create)}
    kept = {_name(statement) for index in wanted if index.name in good for statement in index.create}
    with view.transaction():
        for name, of in there.items():
            if name not in kept:
                kind = "INDEX" if of == table.name else "TABLE"
                view.db.execute(f"DROP {kind} IF EXISTS {quoted(name)}")
                if kind == "TABLE":
                    view.db.execute(f"DROP TRIGGER IF EXISTS {quoted(name + '_put')}")
    return [IndexBuild(table, index) for index in wanted if index.name not in good]


def put_off(view: View, table: Table) -> list[IndexBuild]:
    """Drop the indexes of an empty table that only queries need, for `build_now` once its rows are there."""
    builds = [IndexBuild(table, index) for index in table.indexes() if not index.for_writes]
    with view.transaction():
        for build in builds:
            for statement in reversed(build.index.create):
                kind, _, _ = statement.removeprefix("CREATE ").partition(" ")
                view.db.execute(f"DROP {kind} IF EXISTS {quoted(_name(statement))}")
    return builds


def build_now(view: View, builds: list[IndexBuild]) -> None:
    """Build indexes at once, in a time that sorting takes, and in bounded memory.

    Entry by entry would take several times as long. A crash in between leaves them to `missing_indexes`.
    """
    if not builds:
        return
    view.db.execute("PRAGMA temp_store = FILE")
    try:
        for build in builds:
            with view.transaction():
                _make(view.db, build)
            view.checkpoint()
    finally:
        view.db.execute("PRAGMA temp_store = MEMORY")
        view.show_arms()  # SQLite has dropped what was temporary


def _make(db: apsw.Connection, build: IndexBuild) -> None:
    for statement in build.index.create:
        db.execute(statement)
    if build.index.fill:
        db.execute(build.index.fill)


def _name(statement: str) -> str:
    return statement.split('"')[1]


@enable_ki_protection
async def build_indexes(store: Store) -> None:
    """Build what is missing; `store.building` says what is left, and why it did not go on."""
    while store.building:
        build = store.building[0]
        try:
            await store.until_free()
            store.flush()
            db = store.view.another(writing=True)
            with store.taking():
                store.view.db.set_busy_timeout(LONGEST_MS)  # whoever cannot wait otherwise waits in SQLite
                try:
                    await store.env.offload_until_stopped(_build, db, build, stop=build.stop)
                finally:
                    store.view.db.set_busy_timeout(BUSY_MS)
        except (StorageError, apsw.Error) as error:  # queries do without it, and the next opening tries again
            build.failure = str(error)
            return
        store.building.pop(0)
        await trio.lowlevel.checkpoint()


def _build(db: apsw.Connection, build: IndexBuild) -> None:
    table = quoted(build.table.name)

    def report() -> bool:
        build.steps += STEPS
        return build.is_stopped

    try:
        build.rows = int(db.execute(f"SELECT count(*) FROM {table}").get or 0)
        db.set_progress_handler(report, STEPS)
        with db:
            _make(db, build)
    finally:
        db.close()
