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
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import apsw
from trio.lowlevel import enable_ki_protection

from debros.blocks.plans import ALONE, keep_plans
from debros.errors import ModelError
from debros.replica import arms
from debros.replica.arms import Arm, volume_key
from debros.replica.rows import Greatest, Rows
from debros.replica.tables import Row, Table, quoted
from debros.replica.updates import Update
from debros.replica.viewfile import BUSY_MS, MEMORY, Prepare, ViewFile
from debros.schema import key_text

FORMAT: Final = 4  # of the view's own tables and of what they are to hold; another number means: rebuild

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


class View(ViewFile):
    """Tables of the opened models over one SQLite database, opened by `View.open`."""

    def __init__(self, name: str, prepare: Prepare, row_cache: int) -> None:
        """Open the database in a file, or in memory.

        Raises:
            StorageError: it is no database, or the disk refused.
        """
        super().__init__(name, prepare)
        self.row_cache = row_cache
        self.tables: dict[str, Rows] = {}
        self.pending_rows = 0
        self.is_showing = False  # whether a transaction's rows stand in the file, for its own reads
        self._shown: set[tuple[str, int, str]] = set()  # (model, log, id) of provisional rows
        self._arms: dict[str, tuple[Table, list[Arm]]] = {}  # by model

    def beside(self) -> apsw.Connection:
        """Return a connection like the view's own, to write with while that one reads; not of a view in memory."""
        try:
            db = self._connect()
            for table, its in self._arms.values():
                arms.attach(db, table, its)
        except apsw.Error as error:
            raise self.failure(error) from error
        return db

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
        row = rows.cache.young.get(key) or rows.cache.get(key)
        if row is not None:
            return row
        if self.is_showing and (rows.table.schema.name, log, id) in self._shown:
            self.hide_provisional()  # a row that may never be is not to be remembered
        row = self._one(rows.table.by_id, (id, log))
        if row is not None:
            rows.cache.put(key, row, self.row_cache)
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

    def remember(self, rows: Rows, key: tuple[int, str], row: Row) -> None:
        """Keep a row in memory."""
        rows.cache.put(key, row, self.row_cache)

    def put(self, rows: Rows, log: int, id: str, row: Row, update: Update | None = None) -> None:
        """Show a row from now on; it reaches the file with the next flush.

        `update`: all in which it differs from the row that shows so far, if that is known.
        """
        key = (log, id)
        if key not in rows.pending:
            rows.are_new = False
            self.pending_rows += 1
            rows.cache.pop(key)
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
            elif rows.pending and rows.are_new and not again:
                self.db.executemany(rows.table.insert, rows.pending.values())  # in half the time of REPLACE
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
                if new:  # as above
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
            rows.cache.take(rows.pending, self.row_cache)
            rows.pending, rows.updates, rows.touched, rows.are_new = {}, {}, [], True
        self.pending_rows = 0

    def let_go(self) -> dict[str, set[tuple[int, str]]]:
        """Forget the pending rows without remembering them, and return where they are, by model: another connection wrote them."""
        places: dict[str, set[tuple[int, str]]] = {}
        for name, rows in self.tables.items():
            if rows.pending:
                places[name] = set(rows.pending)
            rows.pending, rows.updates, rows.touched, rows.are_new = {}, {}, [], True
        self.pending_rows = 0
        return places

    def turn(self, model: str, places: Collection[tuple[int, str]]) -> None:
        """Forget what is remembered of rows that are other ones in the file now."""
        rows = self.tables[model]
        rows.revision += 1
        rows.cache.drop(places)

    # -- reading -----------------------------------------------------------------------------------------------

    def show_provisional(self, rows: Mapping[str, Mapping[tuple[int, str], Row]]) -> None:
        """Write a transaction's rows where only its own reads see them, until `hide_provisional`."""
        try:
            if not self.is_showing:
                self.db.execute("BEGIN IMMEDIATE")
                self.is_showing = True
            for name, changed in rows.items():
                self._shown.update((name, log, id) for log, id in changed)
                self.write_rows(self.tables[name], changed.values())
        except apsw.Error as error:
            self.hide_provisional()
            raise self.failure(error) from error

    def mark_shown(self, places: Iterable[tuple[str, int, str]]) -> None:
        """Note that provisional rows stand at these (model, log, id) too."""
        self._shown.update(places)

    @enable_ki_protection
    def hide_provisional(self) -> None:
        """Take a transaction's rows away again."""
        if self.is_showing:
            self.is_showing = False
            self._shown = set()
            if self.db.in_transaction:  # SQLite itself rolls back on some errors
                self.db.execute("ROLLBACK")
