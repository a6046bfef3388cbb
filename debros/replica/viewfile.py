"""The view's SQLite file and the connection to it: opening, transactions, what the view keeps about itself, errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import apsw

from debros.blocks.plans import ALONE, keep_plans
from debros.env import this_thread
from debros.errors import ClosedError, StorageError
from debros.replica import arms
from debros.replica.arms import Arm, volume_key
from debros.replica.tables import Row
from debros.replica.thread import Thread

MEMORY: Final = ":memory:"
BUSY_MS: Final = 5000  # that a connection waits for another one's lock
Prepare = Callable[[apsw.Connection], None]  # puts the SQL functions on a connection that queries use


def write_out(db: apsw.Connection) -> None:
    """Write to disk what the running transaction changed, in all files, so that its commit only adds a page to each.

    Raises:
        apsw.Error: the disk refuses; SQLite's own has no text here.
    """
    try:
        db.cache_flush()
    except apsw.Error as error:
        raise type(error)("the disk of a file of the view is full, or refused a write") from error


class ViewFile:
    """One SQLite database, in a file or in memory."""

    def __init__(self, name: str, prepare: Prepare) -> None:
        """Open it.

        Raises:
            StorageError: it is no database, or the disk refused.
        """
        self.name = name
        self._prepare = prepare
        self.is_damaged = False  # its file is gone, so that the next opening makes a new one
        self.thread = Thread()
        self._wal_pages: dict[str, int] = {}  # in the write-ahead log of each file, as of its last commit
        self.is_through = False  # whether another connection stands in for its own, with a transaction begun
        self._unmarked: set[Arm] = set()  # arms that the running transaction touches
        try:
            self._db = self._connect()
        except apsw.Error as error:
            raise self.failure(error) from error

    def _connect(self) -> apsw.Connection:
        db = apsw.Connection(self.name, flags=ALONE, statementcachesize=256)
        keep_plans(db)
        self._prepare(db)
        on_disk = self.name != MEMORY
        for pragma in (
            "page_size = 4096",
            "journal_mode = WAL" if on_disk else "journal_mode = MEMORY",
            *arms.PRAGMAS,
            "wal_autocheckpoint = 0",
            "temp_store = MEMORY",
        ):
            db.execute(f"PRAGMA {pragma}").fetchall()
        db.set_wal_hook(self._note_wal)  # last: `wal_autocheckpoint` takes the place of any hook
        db.set_busy_timeout(BUSY_MS)
        return db

    @property
    def db(self) -> apsw.Connection:
        """The connection; for the thread that the view belongs to.

        Raises:
            NoNodeError, ClosedError: this is another one.
        """
        if this_thread() != self.thread.number:
            self.thread.check()
        return self._db

    @contextmanager
    def through(self, db: apsw.Connection) -> Iterator[None]:
        """Read and write through another connection, in its open transaction, within the block; nothing is awaited in it."""
        own, self._db, self.is_through = self._db, db, True
        try:
            yield
        finally:
            self._db, self.is_through = own, False

    def meta(self, key: str) -> Any:
        """Return a value of the view's own state, or `None`."""
        return self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).get

    def set_meta(self, key: str, value: Any) -> None:
        """Set a value of the view's own state, within the running transaction."""
        self.db.execute("REPLACE INTO meta VALUES (?, ?)", (key, value))

    def read(self, sql: str, bindings: Sequence[Any]) -> list[Row]:
        """Run a query on the writer's connection; the caller has flushed."""
        try:
            return self.db.execute(sql, bindings).fetchall()
        except (apsw.Error, UnicodeDecodeError) as error:
            raise self.failure(error) from error

    def read_each(self, sql: str, bindings: Iterable[Sequence[Any]]) -> list[Row]:
        """Run a query once for each of some bindings, and return all rows; the caller has flushed."""
        try:
            return self.db.executemany(sql, bindings).fetchall()
        except (apsw.Error, UnicodeDecodeError) as error:
            raise self.failure(error) from error

    def _one(self, sql: str, bindings: tuple[Any, ...]) -> Row | None:
        try:
            row: Row | None = self.db.execute(sql, bindings).fetchone()
        except UnicodeEncodeError:  # no id is like this
            return None
        except (apsw.Error, UnicodeDecodeError) as error:
            raise self.failure(error) from error
        return row

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block as one SQLite transaction; a raise rolls it back."""
        try:
            if not self.is_through:
                self.db.execute("BEGIN IMMEDIATE")
            yield
            self.db.execute("COMMIT")
        except BaseException as error:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            self._unmarked = set()
            if isinstance(error, apsw.Error | UnicodeDecodeError):
                raise self.failure(error) from error
            if isinstance(error, OverflowError):  # an integer beyond 64 bits, which no column takes
                raise StorageError(f"the view cannot hold a value: {error}") from error
            raise

    def touch_arms(self, its: Iterable[Arm]) -> None:
        """Note that the running transaction writes into arms."""
        self._unmarked.update(its)

    def mark_arms(self, mark: Callable[[], int]) -> None:
        """Write a new mark into the arms that the running transaction touches, and into the home's view.

        All that it changed goes to disk here, so that a full disk refuses it as a whole: a commit only adds a page to each file.
        """
        for arm in self._unmarked:
            now = mark()
            self.db.execute(f"REPLACE INTO {arm.schema}.meta VALUES ('mark', ?)", (now,))
            self.set_meta(volume_key("mark", arm.volume), now)
        if self._unmarked:
            write_out(self.db)
        self._unmarked = set()

    def _note_wal(self, _db: apsw.Connection, name: str, pages: int) -> int:
        self._wal_pages[name] = pages
        return int(apsw.SQLITE_OK)

    @property
    def wal_pages(self) -> int:
        """Pages in the longest write-ahead log of its files, as of the last commits here."""
        return max(self._wal_pages.values(), default=0)

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database file, as far as readers allow."""
        try:
            self.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            raise self.failure(error) from error

    def close(self) -> None:
        """Close the connections; the write-ahead log is folded in."""
        self.db.close()

    # -- failing -----------------------------------------------------------------------------------------------

    def failure(self, error: apsw.Error | UnicodeDecodeError) -> StorageError | ClosedError:
        """Return the error of ours for one of SQLite's. A damaged view is given up: the next opening makes a new one.

        SQLite has no checksums: damage is noticed where it breaks the structure of a page, or text.
        """
        if isinstance(error, apsw.ConnectionClosedError):
            return ClosedError("the node is closed")
        if isinstance(error, apsw.CorruptError | apsw.NotADBError | UnicodeDecodeError):
            return self.damage(error)
        if isinstance(error, apsw.FullError | apsw.IOError):
            return StorageError(
                f"the disk refused the view's file: {error}; free some of it if it is full, and try again"
            )
        return StorageError(f"the view cannot be used: {error}; deleting view.sqlite rebuilds it from the log")

    def damage(self, error: Exception) -> StorageError:
        """Give a view up in which something was found that cannot be; return the error that says so."""
        self.give_up()
        return StorageError(
            f"the view is damaged ({error}); the log is not: open the node again, and the view is made anew from it"
        )

    def give_up(self) -> None:
        """Take the name from the file, so that whoever opens the home next, even after a crash, makes a new view."""
        self.is_damaged = True
        if self.name != MEMORY:
            with suppress(OSError):  # then its damage is found again at the next opening
                os.remove(self.name)
