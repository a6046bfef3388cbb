"""What a node knows about content: an SQLite file with one small row for each piece. It is the truth, and synced.

Unlike the view it cannot be made from the log: which content was pinned by hand, how often it was used, who holds it too.
States: `pending` (wanted, not all here yet), `pinned` (here, stays), `failed` (wanted, and nobody had it), `unpinning` (to
go as soon as it may), `unpinned` (may be here or not, and is not kept). Times are milliseconds of the node's clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import apsw

from debros.blocks.cid import Link
from debros.blocks.plans import keep_plans
from debros.errors import ClosedError, StorageError

State: TypeAlias = Literal["pending", "pinned", "failed", "unpinning", "unpinned"]
STATES: Final[tuple[State, ...]] = ("pending", "pinned", "failed", "unpinning", "unpinned")
PENDING, PINNED, FAILED, UNPINNING, UNPINNED = range(5)
BY_HAND: Final = 1
AGAINST: Final = -1

FORMAT: Final = 1
_TABLES: Final = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "CREATE TABLE names (n INTEGER PRIMARY KEY, name BLOB UNIQUE)",  # models, addresses of logs, keys of peers
    "CREATE TABLE items (n INTEGER PRIMARY KEY, digest BLOB, codec INTEGER, model INTEGER, state INTEGER,"
    " hand INTEGER, size INTEGER, added INTEGER, used INTEGER, uses INTEGER, score REAL, tries INTEGER, due INTEGER,"
    " promised INTEGER, note TEXT)",
    "CREATE INDEX items_digest ON items (substr(digest, 1, 8))",  # small; the whole digest is compared on reading
    f"CREATE INDEX items_due ON items (due) WHERE state IN ({PENDING}, {FAILED}, {UNPINNING})",
    # documents that refer to content
    "CREATE TABLE refs (model INTEGER, log INTEGER, id TEXT, item INTEGER, PRIMARY KEY (model, log, id, item)) WITHOUT ROWID",
    "CREATE INDEX refs_item ON refs (item)",
    # receipts of peers that hold content, and what they asked for
    "CREATE TABLE copies (item INTEGER, by INTEGER, at INTEGER, until INTEGER, raw BLOB, PRIMARY KEY (item, by)) WITHOUT ROWID",
    "CREATE TABLE asked (item INTEGER, by INTEGER, times INTEGER, PRIMARY KEY (item, by)) WITHOUT ROWID",
)
_COLUMNS: Final = "n, digest, codec, model, state, hand, size, added, used, uses, score, tries, due, promised, note"


class Item(NamedTuple):
    """A piece of content."""

    n: int
    digest: bytes
    codec: int
    model: int  # by which its rule is found: number of a name, 0 for none
    state: int  # index in STATES
    hand: int  # BY_HAND, AGAINST or 0
    size: int  # bytes of its blocks; -1 while that is not known
    added: int
    used: int
    uses: int
    score: float  # decayed accesses, as of `used`
    tries: int
    due: int
    promised: int  # to others, that it stays here until then
    note: str | None

    @property
    def link(self) -> Link:
        return Link(self.codec, self.digest)


class Ledger:
    """An open ledger; used by one thread at a time."""

    def __init__(self, path: str) -> None:
        """Open the file, or `:memory:`; make it if it is not there.

        Raises:
            StorageError: the disk refused, or the file is no ledger; it is not replaced, for it cannot be made again.
        """
        self._path = path
        self._db: apsw.Connection | None = None
        try:
            self._db = db = apsw.Connection(path, statementcachesize=128)
            keep_plans(db)
            db.execute(f"PRAGMA journal_mode = {'MEMORY' if path == ':memory:' else 'WAL'}").fetchall()
            db.execute("PRAGMA synchronous = FULL").fetchall()
            if not db.pragma("user_version") and not db.execute("SELECT count(*) FROM sqlite_schema").get:
                with db:
                    for statement in _TABLES:
                        db.execute(statement)
                    db.pragma("user_version", FORMAT)
            elif db.pragma("user_version") != FORMAT:
                raise StorageError(f"{path} was written by another version of debros; upgrade, or restore a backup")
            db.execute(f"SELECT {_COLUMNS} FROM items LIMIT 1").fetchall()  # noqa: S608 - a constant
        except apsw.Error as error:
            self.close()
            raise StorageError(f"{path} cannot be used: {error}; restore it from a backup, or remove it") from error
        self._read_names()

    def _read_names(self) -> None:
        self._numbers: dict[bytes, int] = {name: n for n, name in self.db.execute("SELECT n, name FROM names")}
        self._names = {n: name for name, n in self._numbers.items()}

    @property
    def db(self) -> apsw.Connection:
        """The connection.

        Raises:
            ClosedError: the ledger is closed.
        """
        if self._db is None:
            raise ClosedError("the node is closed; open it again to ask about its content")
        return self._db

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            with suppress(apsw.Error):
                self._db.close()
            self._db = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all of a block, or nothing of it.

        Raises:
            StorageError: the disk refused.
        """
        try:
            with self.db:
                yield
        except BaseException as error:
            if self._db is not None:
                self._read_names()  # numbers that were given in it are no more
            if isinstance(error, apsw.Error):
                raise self._failure(error) from error
            raise

    def _write(self, sql: str, bindings: Sequence[Any]) -> None:
        try:
            self.db.execute(sql, bindings)
        except apsw.Error as error:
            raise self._failure(error) from error

    def _failure(self, error: apsw.Error) -> StorageError:
        return StorageError(f"{self._path} cannot be written: {error}; make room on its disk")

    # -- names and facts ---------------------------------------------------------------------------------------

    def number(self, name: str | bytes) -> int:
        """Return the number that stands for a name, a new one if it was never seen."""
        raw = name.encode() if isinstance(name, str) else name
        n = self._numbers.get(raw)
        if n is None:
            n = max(self._names, default=0) + 1
            self._write("INSERT INTO names VALUES (?, ?)", (n, raw))
            self._numbers[raw], self._names[n] = n, raw
        return n

    def name(self, n: int) -> bytes:
        """Return the name that a number stands for; empty for 0."""
        return self._names.get(n, b"")

    def meta(self, key: str) -> Any:
        """Return a fact about the whole, `None` if there is none."""
        return self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).get

    def set_meta(self, key: str, value: Any) -> None:
        """Remember a fact about the whole."""
        self._write("REPLACE INTO meta VALUES (?, ?)", (key, value))

    # -- items -------------------------------------------------------------------------------------------------

    def find(self, link: Link) -> Item | None:
        """Return what is known of a piece of content."""
        query = f"SELECT {_COLUMNS} FROM items WHERE substr(digest, 1, 8) = ? AND digest = ? AND codec = ?"  # noqa: S608 - a constant
        for row in self.db.execute(query, (link.digest[:8], link.digest, link.codec)):
            return Item(*row)
        return None

    def by_number(self, n: int) -> Item | None:
        """Return the item that has this number."""
        for row in self.db.execute(f"SELECT {_COLUMNS} FROM items WHERE n = ?", (n,)):  # noqa: S608 - a constant
            return Item(*row)
        return None

    def add(self, link: Link, state: int, now: int, *, size: int = -1, model: int = 0, hand: int = 0) -> Item:
        """Begin to know a piece of content."""
        self._write(
            "INSERT INTO items (digest, codec, model, state, hand, size, added, used, uses, score, tries, due,"
            " promised) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, ?, 0)",
            (link.digest, link.codec, model, state, hand, size, now, now, now),
        )
        found = self.find(link)
        assert found is not None
        return found

    def change(self, n: int, **values: Any) -> None:
        """Set columns of an item."""
        names = ", ".join(f"{name} = ?" for name in values)
        self._write(f"UPDATE items SET {names} WHERE n = ?", (*values.values(), n))  # noqa: S608 - names of this code

    def remove(self, n: int) -> None:
        """Know an item no more."""
        for table, column in (("items", "n"), ("refs", "item"), ("copies", "item"), ("asked", "item")):
            self._write(f"DELETE FROM {table} WHERE {column} = ?", (n,))  # noqa: S608 - names of this code

    def items(self, *states: int) -> Iterator[Item]:
        """Yield all items in these states, all items if none is given."""
        marks = f"WHERE state IN ({', '.join(map(str, states))})" if states else ""
        for row in self.db.execute(f"SELECT {_COLUMNS} FROM items {marks} ORDER BY n"):  # noqa: S608 - numbers
            yield Item(*row)

    def due(self, now: int, limit: int) -> list[Item]:
        """Return what there is to do: wanted content whose time has come, the most used first."""
        query = (
            f"SELECT {_COLUMNS} FROM items WHERE state IN ({PENDING}, {FAILED}) AND due <= ?"  # noqa: S608 - constants
            " ORDER BY hand DESC, score DESC, n LIMIT ?"
        )
        return [Item(*row) for row in self.db.execute(query, (now, limit))]

    def retry(self, now: int) -> None:
        """Let all that failed be tried now: something has changed."""
        self._write("UPDATE items SET due = ? WHERE state = ? AND due > ?", (now, FAILED, now))

    def next_due(self) -> int | None:
        """Return when there is something to do next."""
        query = f"SELECT min(due) FROM items WHERE state IN ({PENDING}, {FAILED})"  # noqa: S608 - constants
        found: int | None = self.db.execute(query).get
        return found

    # -- references --------------------------------------------------------------------------------------------

    def refer(self, model: int, log: int, id: str, items: Iterable[int], *, only: bool) -> None:
        """Note what a document refers to; with `only`, to nothing else any more."""
        if only:
            self._write("DELETE FROM refs WHERE model = ? AND log = ? AND id = ?", (model, log, id))
        for n in items:
            self._write("INSERT OR IGNORE INTO refs VALUES (?, ?, ?, ?)", (model, log, id, n))

    def forget_logs(self, log_ids: Iterable[bytes]) -> None:
        """Forget what documents of logs refer to that have left this node."""
        with self.transaction():
            for log_id in log_ids:
                self._write("DELETE FROM refs WHERE log = ?", (self.number(log_id),))

    def referred(self, n: int) -> list[tuple[int, int, str]]:
        """Return the documents that refer to an item: model, log, id."""
        return list(self.db.execute("SELECT model, log, id FROM refs WHERE item = ?", (n,)))

    def models_of(self) -> dict[int, set[int]]:
        """Return, by item, the models whose documents refer to it."""
        found: dict[int, set[int]] = {}
        for item, model in self.db.execute("SELECT DISTINCT item, model FROM refs"):
            found.setdefault(item, set()).add(model)
        return found

    # -- copies ------------------------------------------------------------------------------------------------

    def note_copy(self, n: int, by: bytes, at: int, until: int, raw: bytes) -> None:
        """Note that a peer said, signed, that it holds an item, and until when it promised to keep it."""
        self._write(
            "INSERT INTO copies VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET at = excluded.at, raw = excluded.raw,"
            " until = max(until, excluded.until)",
            (n, self.number(by), at, until, raw),
        )

    def drop_copy(self, n: int, by: bytes) -> None:
        """Note that a peer holds an item no more."""
        self._write("DELETE FROM copies WHERE item = ? AND by = ?", (n, self.number(by)))

    def copies(self, n: int, since: int) -> list[tuple[bytes, int]]:
        """Return who said since then that they hold an item, and when."""
        query = "SELECT by, at FROM copies WHERE item = ? AND at >= ?"
        return [(self.name(by), at) for by, at in self.db.execute(query, (n, since))]

    def copies_of_all(self, since: int) -> dict[int, int]:
        """Return, by item, how many said since then that they hold it."""
        return dict(self.db.execute("SELECT item, count(*) FROM copies WHERE at >= ? GROUP BY item", (since,)))

    def promised_of_all(self, now: int) -> dict[int, int]:
        """Return, by item, how many promised to hold it beyond now."""
        return dict(self.db.execute("SELECT item, count(*) FROM copies WHERE until > ? GROUP BY item", (now,)))

    def note_asked(self, n: int, by: str) -> None:
        """Count that a peer asked for an item."""
        self._write(
            "INSERT INTO asked VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET times = times + 1", (n, self.number(by))
        )

    def asked(self, n: int) -> dict[str, int]:
        """Return how often each peer asked for an item."""
        rows = self.db.execute("SELECT by, times FROM asked WHERE item = ?", (n,))
        return {self.name(by).decode(): times for by, times in rows}

    def count(self, state: int) -> int:
        """Return how many items are in a state."""
        found: int = self.db.execute("SELECT count(*) FROM items WHERE state = ?", (state,)).get
        return found

    def rows(self, sql: str, bindings: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Answer a question of this room."""
        return list(self.db.execute(sql, bindings))
