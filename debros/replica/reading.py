"""Queries that take long: they begin on the loop and go on beside it, where they can be stopped.

Most queries take microseconds, so they run on the loop, on the writer's connection. SQLite asks every few thousand
steps whether to go on. A query that has held the loop for `QUICK_S` is broken off and run again by a thread, on a connection
of its own that sees the same committed state; when whoever waits for it is cancelled, it is interrupted. Its text is
remembered, so that the next one goes to the thread at once, until one of that text was quick.

Inside a transaction there is no other connection that sees its rows, so its queries stay on the loop, and only a deadline
stops them. A view in memory has no second connection either: the thread works on a copy of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property
from operator import itemgetter
from threading import Event
from typing import Any, Final, TypeAlias

import apsw
import trio

from debros.env import Env
from debros.errors import ClosedError, DebrosError, QueryError
from debros.replica.tables import Row
from debros.replica.view import View
from debros.replica.viewfile import MEMORY

QUICK_S: Final = 0.03  # of the loop's time, for one query
QUICK_SUMMARY_S: Final = 0.002  # of one that several files are asked for: threads pay from about there on
STEPS: Final = 5_000  # of SQLite's virtual machine between two looks at the clock: well below a millisecond
_OF_QUERIES: Final = ("overflow", "no such index")  # errors that are the question's, not the view's
MOST_AT_ONCE: Final = 100  # long queries, where no setting says otherwise
MOST_IDLE: Final = 4  # connections kept for the next long query
MOST_KNOWN: Final = 256  # texts of long queries that are remembered


_first: Final = itemgetter(0)

Asked: TypeAlias = tuple[str, Sequence[Any]]  # a statement, and what is bound
Read: TypeAlias = Callable[[apsw.Connection, str, tuple[Any, ...]], list[Row]]


class Reader:
    """Answers queries over one view; the caller has flushed."""

    def __init__(self, env: Env, view: View) -> None:
        self._env = env
        self._view = view
        self._until: float | None = None  # when the query on the loop has taken long enough, by trio's clock
        self._idle: list[apsw.Connection] = []
        self._closed = False
        self._layout = 0  # how often the files changed of which a view consists
        self.long_ones = 0  # queries that went on beside the loop
        self._known: dict[str, None] = {}  # texts of which the last query took long, the newest last
        self.places = trio.CapacityLimiter(MOST_AT_ONCE)  # those that are at work; others wait
        view.db.set_progress_handler(self._is_late, STEPS)

    @cached_property
    def now(self) -> Callable[[], float]:
        """Trio's clock, which `trio.current_time` looks for each time. A store may be opened in a thread, which has none."""
        return trio.lowlevel.current_clock().current_time

    def _is_late(self) -> bool:
        return self._until is not None and self.now() >= self._until

    async def read(self, sql: str, bindings: Sequence[Any]) -> list[Row]:
        """Run a query that may take long: `quick`, then `beside`."""
        found = self.quick(sql, bindings, self.now() + QUICK_S)
        return await self.beside(sql, bindings) if found is None else found

    async def read_inside(self, sql: str, bindings: Sequence[Any]) -> list[Row]:
        """Run a query on what a transaction shows, to the deadline of the scope it runs in."""
        found = self.quick(sql, bindings, trio.current_effective_deadline())
        if found is None:
            await trio.lowlevel.checkpoint()  # raises what the deadline means
            return self._view.read(sql, bindings)
        return found

    def quick(self, sql: str, bindings: Sequence[Any], until: float) -> list[Row] | None:
        """Run a query on the loop; `None` when its time is up, by trio's clock, or where it is known to take long.

        Raises:
            StorageError: the view is damaged.
        """
        if sql in self._known:
            return None
        self._until = until
        try:
            return self._view.db.execute(sql, bindings).fetchall()
        except apsw.InterruptError:
            return None
        except (apsw.Error, UnicodeDecodeError) as error:
            raise self._failure(error) from error
        finally:
            self._until = None

    def _failure(self, error: apsw.Error | UnicodeDecodeError) -> DebrosError:
        if isinstance(error, apsw.SQLError) and any(one in str(error) for one in _OF_QUERIES):
            return QueryError(f"the query fails on its values: {error}")
        return self._view.failure(error)

    async def beside(self, sql: str, bindings: Sequence[Any], *, by_id: bool = False) -> list[Row]:
        """Run a query in a thread, on a connection of its own; cancelled, it is interrupted.

        `by_id`: the thread sorts the rows by what stands first in them.

        Raises:
            StorageError: the view is damaged.
        """
        [found] = await self.together(lambda: [(sql, bindings)], 1, by_id=by_id)
        return found

    async def together(
        self, ask: Callable[[], Sequence[Asked]], at_once: int, *, by_id: bool = False
    ) -> list[list[Row]]:
        """Run queries in threads, so many at once, all on one state of all files; errors as for `beside`.

        `ask` says which, once it is their turn: shards may have moved meanwhile.
        """
        self.long_ones += 1
        async with self.places:
            statements, began = ask(), self.now()
            answers = await self._together(statements, at_once, _sorted_rows if by_id else _rows)
            is_long = self.now() - began >= QUICK_S
        for sql, _ in statements:
            self._known.pop(sql, None)
            if is_long:
                self._known[sql] = None
                if len(self._known) > MOST_KNOWN:
                    del self._known[next(iter(self._known))]
        return answers

    async def _together(self, statements: Sequence[Asked], at_once: int, read: Read) -> list[list[Row]]:
        layout = self._layout
        answers: list[list[Row]] = [[] for _ in statements]
        left = deque(enumerate(statements))
        failures: list[BaseException] = []

        async def work(db: apsw.Connection) -> None:
            try:
                await self._work(db, left, answers, read)
                self._keep(db, layout)
            except DebrosError as error:
                failures.append(error)
                nursery.cancel_scope.cancel()

        ready = [self._ready() for _ in range(min(at_once, len(statements)))]
        async with trio.open_nursery() as nursery:
            for db in ready:
                nursery.start_soon(work, db)
        if failures:
            raise failures[0]
        if self._closed:
            raise ClosedError("the node is closed")
        return answers

    def _ready(self) -> apsw.Connection:
        """Return a connection that keeps to the state of now: before its thread asks, a shard may move to another file."""
        db = self._idle.pop() if self._idle else self._view.another()
        try:
            self._view.snapshot(db)
        except apsw.Error as error:
            db.close()
            raise self._failure(error) from error
        return db

    async def _work(
        self, db: apsw.Connection, left: deque[tuple[int, Asked]], answers: list[list[Row]], read: Read
    ) -> None:
        """Answer what is left, one after the other."""
        while left:
            n, (sql, bindings) = left.popleft()
            try:
                stop = stopping(db)
                answers[n] = await self._env.offload_until_cancelled(read, db, sql, tuple(bindings), stop=stop)
            except (apsw.Error, UnicodeDecodeError) as error:
                failure = self._failure(error)
                db.close()
                raise failure from error

    def _keep(self, db: apsw.Connection, layout: int) -> None:
        """Keep a connection for the next query, if it sees the files that are to be seen."""
        if db.in_transaction:
            db.execute("ROLLBACK")  # of a snapshot
        is_good = layout == self._layout and not self._closed and self._view.name != MEMORY
        if is_good and len(self._idle) < MOST_IDLE:
            self._idle.append(db)
        else:
            db.close()

    def renew(self) -> None:
        """Let go of the connections: the next ones see other files."""
        self._layout += 1
        while self._idle:
            self._idle.pop().close()

    def close(self) -> None:
        """Close the connections kept; one that a thread is at is interrupted by its scope, and closed by nobody else."""
        self._closed = True
        self.renew()


def stopping(db: apsw.Connection) -> Callable[[], None]:
    """Return what ends a connection's next query: SQLite forgets an interrupt that comes before the query has begun."""
    stopped = Event()
    db.set_progress_handler(stopped.is_set, STEPS)

    def stop() -> None:
        db.interrupt()  # first, for it is closed by whoever finds that it was stopped
        stopped.set()

    return stop


def _rows(db: apsw.Connection, sql: str, bindings: tuple[Any, ...]) -> list[Row]:
    try:
        return db.execute(sql, bindings).fetchall()
    except apsw.InterruptError:  # nobody waits any more
        db.close()
        raise


def _sorted_rows(db: apsw.Connection, sql: str, bindings: tuple[Any, ...]) -> list[Row]:
    return in_order(_rows(db, sql, bindings))


def in_order(rows: list[Row]) -> list[Row]:
    """Sort rows by id, as SQLite does: the order of UTF-8 is that of code points."""
    rows.sort(key=_first)
    return rows
