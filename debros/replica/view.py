"""The SQLite file that shows what the log means: typed tables, and an index of entries.

The view is a cache of the log and may be deleted at any time. Writes to it wait in memory (`pending` rows of the
tables, entries not yet indexed) and move into the file together with the position in the log up to which they
are the fold (`applied`), in one transaction, so a view on disk is always the fold of a prefix of the log.

One connection serves everybody. The provisional rows of a transaction of ours stand in an SQLite transaction that is
rolled back before anyone outside reads, and made again when the inside reads next: nobody waits, nobody sees
what may never be.
"""

from __future__ import annotations

import json
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import apsw

from debros.blocks.plans import ALONE, keep_plans
from debros.errors import ClosedError, ModelError, StorageError
from debros.replica import arms
from debros.replica.arms import Arm
from debros.replica.tables import Row, Table, quoted
from debros.replica.thread import Thread
from debros.replica.updates import Update, Updates
from debros.schema import key_text

MEMORY: Final = ":memory:"
BUSY_MS: Final = 5000  # that a connection waits for another one's lock
FORMAT: Final = 3  # of the view's own tables; another number means: rebuild
Prepare = Callable[[apsw.Connection], None]  # puts the SQL functions on a connection that queries use

_SYSTEM: Final = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "CREATE TABLE logs (n INTEGER PRIMARY KEY, id BLOB UNIQUE, manifest BLOB, heads BLOB, clock INTEGER,"
    " owner BLOB, model TEXT)",  # of a user's log its owner, of a shard its model
    "CREATE TABLE keys (n INTEGER PRIMARY KEY, key BLOB UNIQUE, tag TEXT)",
    "CREATE INDEX keys_tag ON keys (tag)",
    "CREATE TABLE models (name TEXT PRIMARY KEY, fingerprint TEXT) WITHOUT ROWID",
    # k: the first 8 bytes of the digest as a signed integer; the whole digest is compared on reading
    "CREATE TABLE entries (e INTEGER PRIMARY KEY, k INTEGER, digest BLOB, log INTEGER, author INTEGER, user INTEGER,"
    " s INTEGER, t INTEGER, header INTEGER, body INTEGER, void INTEGER)",
    "CREATE INDEX entries_k ON entries (k)",
    # the newest entry of each key in each log, by the key's own count
    "CREATE TABLE tips (log INTEGER, author INTEGER, e INTEGER, PRIMARY KEY (log, author)) WITHOUT ROWID",
    "CREATE TABLE acts (e INTEGER PRIMARY KEY, log INTEGER)",
    "CREATE TABLE migrations (e INTEGER PRIMARY KEY, log INTEGER)",
    # children that a deleted target hides, or whose key it nulls: link "Post.author", the target's id, the child
    "CREATE TABLE effects (link TEXT, target TEXT, model TEXT, log INTEGER, id TEXT,"
    " PRIMARY KEY (link, target, log, id)) WITHOUT ROWID",
    "CREATE INDEX effects_child ON effects (model, log, id)",
)


def write_out(db: apsw.Connection) -> None:
    """Write to disk what the running transaction changed, in all files, so that its commit only adds a page to each.

    Raises:
        apsw.Error: the disk refuses; SQLite's own has no text here.
    """
    try:
        db.cache_flush()
    except apsw.Error as error:
        raise type(error)("the disk of a file of the view is full, or refused a write") from error


def volume_key(name: str, volume: int) -> str:
    """Return the key under which the view keeps something about a volume; of the home's own, the bare name."""
    return f"{name} {volume}" if volume else name


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
        self.updates: dict[
            tuple[int, str], Update
        ] = {}  # in what pending rows differ from the file's, where it is known
        self.update_of = Updates(table)
        self.touched: list[tuple[int, int]] = []  # (doc, entry): only documents that two changes or more made
        self.cache: OrderedDict[tuple[int, str], Row] = OrderedDict()
        self.next_doc = next_doc
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


class View:
    """Tables of the opened models over one SQLite database, opened by `View.open`."""

    def __init__(self, name: str, prepare: Prepare, row_cache: int) -> None:
        """Open the database in a file, or in memory.

        Raises:
            StorageError: it is no database, or the disk refused.
        """
        self.name = name
        self._prepare = prepare
        self.row_cache = row_cache
        self.is_damaged = False  # its file is gone, so that the next opening makes a new one
        self.thread = Thread()
        try:
            self._db = self._connect()
        except apsw.Error as error:
            raise self.failure(error) from error
        self.tables: dict[str, Rows] = {}
        self.pending_rows = 0
        self.wal_pages = 0  # in the write-ahead log, as of the last commit
        self.is_through = False  # whether another connection stands in for its own, with a transaction begun
        self._provisional = False
        self._shown: set[tuple[str, int, str]] = set()  # (model, log, id) of provisional rows
        self._arms: dict[str, tuple[Table, list[Arm]]] = {}  # by model
        self._unmarked: set[Arm] = set()  # arms that the running transaction touches

    def _connect(self) -> apsw.Connection:
        db = apsw.Connection(self.name, flags=ALONE, statementcachesize=256)
        keep_plans(db)
        self._prepare(db)
        db.set_wal_hook(self._note_wal)
        on_disk = self.name != MEMORY
        for pragma in (
            "page_size = 4096",
            "journal_mode = WAL" if on_disk else "journal_mode = MEMORY",
            *arms.PRAGMAS,
            "wal_autocheckpoint = 0",
            "temp_store = MEMORY",
        ):
            db.execute(f"PRAGMA {pragma}").fetchall()
        db.set_busy_timeout(BUSY_MS)
        return db

    @property
    def db(self) -> apsw.Connection:
        """The connection; for the thread that the view belongs to.

        Raises:
            NoNodeError, ClosedError: this is another one.
        """
        self.thread.check()
        return self._db

    def beside(self) -> apsw.Connection:
        """Return a connection like the view's own, to write with while that one reads; not of a view in memory."""
        try:
            db = self._connect()
            for table, its in self._arms.values():
                arms.attach(db, table, its)
        except apsw.Error as error:
            raise self.failure(error) from error
        return db

    @contextmanager
    def through(self, db: apsw.Connection) -> Iterator[None]:
        """Read and write through another connection, in its open transaction, within the block; nothing is awaited in it."""
        own, self._db, self.is_through = self._db, db, True
        try:
            yield
        finally:
            self._db, self.is_through = own, False

    def another(self, *, writing: bool = False) -> apsw.Connection:
        """Return a connection that only reads, unless it is for `writing`, and sees what is committed.

        Of a view in memory it works on a copy.
        """
        try:
            db = apsw.Connection(self.name, flags=ALONE)
            keep_plans(db)
            self._prepare(db)
            if self.name == MEMORY:
                self.hide_provisional()
                db.deserialize("main", self.db.serialize("main"))
            db.set_busy_timeout(BUSY_MS)
            db.execute("PRAGMA mmap_size = 1073741824; PRAGMA temp_store = MEMORY").fetchall()
            for table, its in () if writing else self._arms.values():
                arms.attach(db, table, its)
            db.execute(f"PRAGMA query_only = {int(not writing)}")
        except apsw.Error as error:
            raise self.failure(error) from error
        return db

    # -- opening ---------------------------------------------------------------------------------------------

    def is_usable(self) -> bool:
        """Whether this is a view of the present format, not an empty, foreign or damaged file."""
        try:
            return bool(self.meta("format") == FORMAT)
        except apsw.Error:
            return False

    def create(self) -> None:
        """Make the system tables in an empty database."""
        with self.transaction():
            for statement in _SYSTEM:
                self.db.execute(statement)
            self.set_meta("format", FORMAT)

    def meta(self, key: str) -> Any:
        """Return a value of the view's own state, or `None`."""
        return self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).get

    def set_meta(self, key: str, value: Any) -> None:
        """Set a value of the view's own state, within the running transaction."""
        self.db.execute("REPLACE INTO meta VALUES (?, ?)", (key, value))

    def fingerprint(self, table: Table) -> str | None:
        """Return the fingerprint under which the model's rows were projected, `None` when it has no rows yet."""
        name = table.schema.name
        found: str | None = self.db.execute("SELECT fingerprint FROM models WHERE name = ?", (name,)).get
        return found

    def add_table(self, table: Table) -> Rows:
        """Attach a model's table, which exists with the present fingerprint."""
        folded = table.name.lower()
        if any(rows.table.name.lower() == folded for rows in self.tables.values()):
            raise ModelError(f"two opened models are called {table.schema.name!r} but for upper and lower case")
        name = quoted(table.name)
        noted = quoted(f"t_{table.schema.name}")  # of a volume that is away too, whose rows are not seen
        numbers = f'SELECT max("_doc") FROM {name} UNION ALL SELECT max(doc) FROM {noted}'
        next_doc: int = 1 + max(last or 0 for (last,) in self.db.execute(numbers))
        greatest = self.db.execute(f'SELECT max("id") FROM {name}').get or ""
        logs = self.db.execute("SELECT max(n) FROM logs").get or 0
        rows = Rows(table, next_doc, Greatest(logs, greatest))
        rows.arms = {arm.log: arm for arm in self.arms_of(table.schema.name)}
        self.tables[table.schema.name] = rows
        return rows

    def make_table(self, table: Table, *, finished: bool) -> None:
        """Create a model's empty table, dropping what an earlier declaration left, in the running transaction.

        Unless it is `finished` so, `finish_table` follows once its rows are there.
        """
        touch = quoted(f"t_{table.schema.name}")
        self.db.execute(f"DROP TABLE IF EXISTS {quoted(table.name)}")
        self.db.execute(f"DROP TABLE IF EXISTS {touch}")
        for name, of in self.indexes_of(table):
            if of != table.name:
                self.db.execute(f"DROP TABLE IF EXISTS {quoted(name)}")
        self.db.execute("DELETE FROM effects WHERE model = ?", (table.schema.name,))
        for statement in table.create():
            self.db.execute(statement)
        self.db.execute(f"CREATE TABLE {touch} (doc INTEGER, e INTEGER, PRIMARY KEY (doc, e)) WITHOUT ROWID")
        self.db.execute("REPLACE INTO models VALUES (?, '')", (table.schema.name,))
        self.set_meta(f"shard key {table.schema.name}", key_text(table.schema))
        if finished:
            self.finish_table(table)

    def indexes_of(self, table: Table) -> list[tuple[str, str]]:
        """Return the names of the indexes that a model's table has, and the tables they are on or are."""
        model = table.schema.name
        own = re.compile(rf"(i|x)_{re.escape(model)}_\d+(_[a-z])?")
        every = self.db.execute("SELECT name, tbl_name FROM sqlite_master WHERE type IN ('index', 'table')")
        found = ((str(name), str(of)) for name, of in every)
        return [(name, of) for name, of in found if own.fullmatch(name) and of in (table.name, name)]

    def finish_table(self, table: Table) -> None:
        """Note that a model's rows are all there, under its present declaration."""
        self.db.execute("REPLACE INTO models VALUES (?, ?)", (table.schema.name, table.schema.fingerprint()))

    # -- arms ------------------------------------------------------------------------------------------------

    def arms_of(self, model: str) -> list[Arm]:
        """Return the arms of a model."""
        return self._arms[model][1] if model in self._arms else []

    def have_marks(self, table: Table, its: Sequence[Arm]) -> bool:
        """Whether arms are of the same flush as the home's view, and have the model's declaration."""
        marks = [arms.mark_of(arm.path, table, self._prepare) for arm in its]
        own = [self.meta(volume_key("mark", arm.volume)) for arm in its]
        return None not in marks and marks == own

    def make_arm(self, table: Table, arm: Arm) -> None:
        """Make an empty arm in its file; `extend` takes it up."""
        arms.make(arm.path, table, self._prepare)

    def extend(self, table: Table, its: Sequence[Arm]) -> None:
        """Show these arms of a model, and no others.

        Raises:
            StorageError: a file cannot be used.
        """
        try:
            arms.attach(self.db, table, its)
            self._arms[table.schema.name] = (table, list(its))
            for gone in {name for _, name, _ in self.db.execute("PRAGMA database_list")} - self._schemas():
                arms.detach(self.db, gone)
        except apsw.Error as error:
            raise self.failure(error) from error

    def show_arms(self) -> None:
        """Put the unions of all arms in front of the tables again."""
        for table, its in self._arms.values():
            self.extend(table, its)

    def _schemas(self) -> set[str]:
        return {"main", "temp", *(arm.schema for _, its in self._arms.values() for arm in its)}

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

    @property
    def is_torn(self) -> bool:
        """Whether a commit came about in the home's view and not in an arm: files commit one after the other."""
        for _, its in self._arms.values():
            for arm in its:
                try:
                    found = self.db.execute(f"SELECT value FROM {arm.schema}.meta WHERE key = 'mark'").get
                except apsw.Error:  # it may well be
                    return True
                if found != self.meta(volume_key("mark", arm.volume)):
                    return True
        return False

    def snapshot(self, db: apsw.Connection) -> None:
        """Let another connection see all files as of now, until its transaction ends: flushes are of this thread."""
        db.execute("BEGIN")
        for schema in self._schemas() - {"temp"}:
            db.execute(f"SELECT 1 FROM {schema}.meta LIMIT 1").fetchall()

    def update(self, rows: Rows, assigned: str, value: Any, doc: int) -> None:
        """Set a column of the keeping of one document, within the running transaction."""
        for target, _ in rows.shares():
            self.db.execute(f'UPDATE {target} SET {assigned} = ? WHERE "_doc" = ?', (value, doc))
        self.touch_arms(rows.arms.values())

    # -- rows ------------------------------------------------------------------------------------------------

    def row(self, rows: Rows, log: int, id: str) -> Row | None:
        """Return a document's row, whatever its state, or `None`."""
        key = (log, id)
        row = rows.pending.get(key)
        if row is not None:
            return row
        row = rows.cache.get(key)
        if row is not None:
            rows.cache.move_to_end(key)
            return row
        if self._provisional and (rows.table.schema.name, log, id) in self._shown:
            self.hide_provisional()  # a row that may never be is not to be remembered
        row = self._one(rows.table.by_id, (id, log))
        if row is not None:
            self.remember(rows, key, row)
        return row

    def rows_of(self, rows: Rows, id: str) -> list[Row]:
        """Return the rows that the file has of one id, in any log."""
        try:
            return self.read(f'{rows.table.select} WHERE "id" = ?', (id,))
        except UnicodeEncodeError:  # no id is like this
            return []

    def rows_at(self, rows: Rows, log: int, ids: Sequence[str], *, keep: bool) -> dict[str, Row]:
        """Return the rows of some documents of one log, by id, like `row`, with one lookup for all that are not in memory.

        `keep`: in memory, for whoever asks next.
        """
        found: dict[str, Row] = {}
        missing: list[str] = []
        for id in ids:
            row = rows.pending.get((log, id)) or rows.cache.get((log, id))
            if row is None:
                missing.append(id)
            else:
                found[id] = row
        if missing:
            self.hide_provisional()  # a row that may never be is none
            for row in self.read(rows.table.by_ids, (json.dumps(missing), log)):
                found[row[0]] = row
                if keep:
                    self.remember(rows, (log, row[0]), row)
        return found

    def _one(self, sql: str, bindings: tuple[Any, ...]) -> Row | None:
        try:
            row: Row | None = self.db.execute(sql, bindings).fetchone()
        except UnicodeEncodeError:  # no id is like this
            return None
        except (apsw.Error, UnicodeDecodeError) as error:
            raise self.failure(error) from error
        return row

    def remember(self, rows: Rows, key: tuple[int, str], row: Row) -> None:
        """Keep a row in memory, letting go of the one unused for longest."""
        cache = rows.cache
        cache[key] = row
        if len(cache) > self.row_cache:
            cache.popitem(last=False)

    def put(self, rows: Rows, log: int, id: str, row: Row, update: Update | None = None) -> None:
        """Show a row from now on; it reaches the file with the next flush.

        `update`: all in which it differs from the row that shows so far, if that is known.
        """
        key = (log, id)
        if key not in rows.pending:
            self.pending_rows += 1
            rows.cache.pop(key, None)
            if update is not None:
                rows.updates[key] = update
        elif (earlier := rows.updates.pop(key, None)) is not None and update is not None:
            rows.updates[key] = rows.update_of.of(earlier.columns | update.columns)
        rows.pending[key] = row
        rows.revision += 1

    def put_new(self, rows: Rows, log: int, id: str, row: Row) -> None:
        """Show the first row of a document from now on."""
        rows.pending[log, id] = row
        self.pending_rows += 1
        rows.revision += 1

    def write_rows(self, rows: Rows, pending: Iterable[Row]) -> None:
        """Write rows into the file, whether they are there or not, within the running transaction."""
        if not rows.arms:
            self.db.executemany(rows.table.replace, pending)
            return
        log_at = rows.table.log_at
        shares: dict[int, list[Row]] = {}
        for row in pending:
            shares.setdefault(row[log_at], []).append(row)
        for log, some in shares.items():
            arm = rows.arms.get(log)
            self.db.executemany(rows.table.replace if arm is None else rows.table.replace_in(arm.schema), some)
        self.touch_arms(arm for log, arm in rows.arms.items() if log in shares)

    def drain(self, *, again: bool = False) -> None:
        """Write all pending rows, within the running transaction, perhaps `again`.

        `note_drained` says that it is committed, `settle` forgets them.
        """
        for rows in self.tables.values():
            if rows.pending and rows.arms:
                self.write_rows(rows, rows.pending.values())
            elif rows.pending:
                doc_at, first_new = rows.table.doc_at, rows.next_doc if again else rows.first_new
                known: list[Row] = []
                new: list[Row] = []
                updated: dict[Update, list[Row]] = {}
                update_at = rows.updates.get
                for place, row in rows.pending.items():
                    if row[doc_at] >= first_new:
                        new.append(row)
                    elif (update := update_at(place)) is not None:
                        updated.setdefault(update, []).append(row)
                    else:
                        known.append(row)
                if new:  # in half the time of REPLACE
                    self.db.executemany(rows.table.insert, new)
                for update, some in updated.items():  # likewise, and indexes that do not change are not looked at
                    self.db.executemany(update.statement, map(update.values, some))
                if known:
                    self.write_rows(rows, known)
            if rows.touched:
                self.db.executemany(f"INSERT OR IGNORE INTO {rows.touch} VALUES (?, ?)", rows.touched)

    def note_drained(self) -> None:
        """Note that the file has all rows there are."""
        for rows in self.tables.values():
            rows.first_new = rows.next_doc

    def settle(self) -> None:
        """Forget the pending rows: they are in the file now."""
        for rows in self.tables.values():
            if len(rows.pending) >= self.row_cache:
                rows.cache.clear()
            rows.cache.update(rows.pending)
            while len(rows.cache) > self.row_cache:
                rows.cache.popitem(last=False)
            rows.pending, rows.updates = {}, {}
            rows.touched = []
        self.pending_rows = 0

    def let_go(self) -> dict[str, set[tuple[int, str]]]:
        """Forget the pending rows without remembering them, and return where they are, by model: another connection wrote them."""
        places: dict[str, set[tuple[int, str]]] = {}
        for name, rows in self.tables.items():
            if rows.pending:
                places[name] = set(rows.pending)
            rows.pending, rows.updates, rows.touched = {}, {}, []
        self.pending_rows = 0
        return places

    def turn(self, model: str, places: Collection[tuple[int, str]]) -> None:
        """Forget what is remembered of rows that are other ones in the file now."""
        rows = self.tables[model]
        rows.revision += 1
        if len(places) >= len(rows.cache):
            for place in [place for place in rows.cache if place in places]:
                del rows.cache[place]
        else:
            for place in places:
                rows.cache.pop(place, None)

    # -- reading -----------------------------------------------------------------------------------------------

    def read(self, sql: str, bindings: Sequence[Any]) -> list[Row]:
        """Run a query on the writer's connection; the caller has flushed."""
        try:
            return self.db.execute(sql, bindings).fetchall()
        except (apsw.Error, UnicodeDecodeError) as error:
            raise self.failure(error) from error

    def show_provisional(self, rows: Mapping[str, Mapping[tuple[int, str], Row]]) -> None:
        """Write a transaction's rows where only its own reads see them, until `hide_provisional`."""
        try:
            if not self._provisional:
                self.db.execute("BEGIN IMMEDIATE")
                self._provisional = True
            for name, changed in rows.items():
                self._shown.update((name, log, id) for log, id in changed)
                self.write_rows(self.tables[name], changed.values())
        except apsw.Error as error:
            self.hide_provisional()
            raise self.failure(error) from error

    def mark_shown(self, places: Iterable[tuple[str, int, str]]) -> None:
        """Note that provisional rows stand at these (model, log, id) too."""
        self._shown.update(places)

    @property
    def is_showing(self) -> bool:
        """Whether provisional rows stand in the file."""
        return self._provisional

    def hide_provisional(self) -> None:
        """Take a transaction's rows away again."""
        if self._provisional:
            self._provisional = False
            self._shown = set()
            if self.db.in_transaction:  # SQLite itself rolls back on some errors
                self.db.execute("ROLLBACK")

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

    def _note_wal(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self.wal_pages = pages
        return int(apsw.SQLITE_OK)

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
