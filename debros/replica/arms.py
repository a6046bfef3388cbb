"""The rows of one model in several files: the home's view, and an *arm* in the view file of each volume.

A volume holds one shard, that is one log: its arm has the model's table with that log's rows. Every connection attaches
the arms, and a temporary view with the table's name, the union of all, stands in front of the home's table: reads mean
all arms by the name alone, writes name one. Documents are numbered over all arms.

Files do not commit at once. So a flush that touches an arm writes the same mark into the arm and into the home's view;
where they differ at opening, the power went between the two, or the volume was away, and the model is projected anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, Final, NamedTuple

import apsw

from debros.errors import StorageError
from debros.log.manifest import Manifest
from debros.replica.tables import Table, quoted

# of each file that is written: pages in its write-ahead log are not mapped, so half as many are kept as it holds at most; all of
# them would take 20 MB more of a rebuild, and gain little
PRAGMAS: Final = ("synchronous = NORMAL", "mmap_size = 1073741824", "cache_size = 2000")


class Volume(NamedTuple):
    """A place for one shard, as the home's record has it."""

    number: int
    directory: str
    manifest: Manifest  # of the shard's log
    settled: int = 0  # position in its log file before which all was acknowledged when it came here
    away: str = ""  # why it is not here, with the cure

    @property
    def log(self) -> str:
        """Directory of the volume's segments."""
        return os.path.join(self.directory, "log")

    @property
    def view(self) -> str:
        """The volume's view file."""
        return os.path.join(self.directory, "view.sqlite")


class Arm(NamedTuple):
    """The rows of a model in one volume."""

    volume: int
    path: str  # of the view file
    log: int  # number of the log whose rows it has

    @property
    def schema(self) -> str:
        """The name under which connections attach it."""
        return f"v{self.volume}"


def volume_key(name: str, volume: int) -> str:
    """Return the key under which the view keeps something about a volume; of the home's own, the bare name."""
    return f"{name} {volume}" if volume else name


def in_schema(schema: str, name: str) -> str:
    """Return the SQL name of a table in one of the attached files."""
    return f"{schema}.{quoted(name)}"


def attach(db: apsw.Connection, table: Table, arms: Sequence[Arm]) -> None:
    """Attach a model's arms to a connection, and put the union of all in front of its table."""
    there = {name for _, name, _ in db.execute("PRAGMA database_list")}
    for arm in arms:
        if arm.schema not in there:
            db.execute(f"ATTACH ? AS {arm.schema}", (arm.path,))
            for pragma in PRAGMAS:
                db.execute(f"PRAGMA {arm.schema}.{pragma}").fetchall()
    columns = ", ".join(map(quoted, table.columns))
    sides = [index.name for index in table.indexes() if index.fill]
    for name, listed in ((table.name, columns), *((side, '"value", "doc"') for side in sides)):
        schemas = ("main", *(arm.schema for arm in arms))
        union = " UNION ALL ".join(f"SELECT {listed} FROM {in_schema(schema, name)}" for schema in schemas)
        db.execute(f"DROP VIEW IF EXISTS temp.{quoted(name)}")
        db.execute(f"CREATE TEMP VIEW {quoted(name)} AS {union}")


def detach(db: apsw.Connection, schema: str) -> None:
    """Detach a volume that no union names any more."""
    if any(name == schema for _, name, _ in db.execute("PRAGMA database_list")):
        db.execute(f"DETACH {schema}")


def make(path: str, table: Table, prepare: Callable[[apsw.Connection], None]) -> None:
    """Make an empty arm in the place of whatever is there.

    Raises:
        StorageError: the disk refused.
    """
    try:
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(path + suffix):
                os.remove(path + suffix)
        with closing(_opened(path, prepare)) as db:
            db.execute("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL").fetchall()
            with db:
                db.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID")
                for statement in table.create():
                    db.execute(statement)
                db.execute("INSERT INTO meta VALUES ('fingerprint', ?)", (table.schema.fingerprint(),))
    except (OSError, apsw.Error) as error:
        raise StorageError(f"cannot make {path}: {error}") from error


def mark_of(path: str, table: Table, prepare: Callable[[apsw.Connection], None]) -> int | None:
    """Return an arm's mark, once its indexes are those that are declared; `None`: it is none of this declaration."""
    if not os.path.exists(path):
        return None
    try:
        with closing(_opened(path, prepare)) as db:
            meta: dict[str, Any] = {str(key): value for key, value in db.execute("SELECT key, value FROM meta")}
            if meta.get("fingerprint") != table.schema.fingerprint():
                return None
            _match_indexes(db, table)
            found: int | None = meta.get("mark")
            return found
    except apsw.Error:  # damaged, or no view at all: it is made anew
        return None


def _opened(path: str, prepare: Callable[[apsw.Connection], None]) -> apsw.Connection:
    db = apsw.Connection(path)
    prepare(db)
    return db


def _match_indexes(db: apsw.Connection, table: Table) -> None:
    """Drop an arm's indexes that are not declared any more, and build those that are new."""
    made = {str(sql): (str(kind), str(name)) for kind, name, sql in db.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE sql NOT NULL AND name != ? AND name != 'meta'", (table.name,)
    )}  # fmt: skip
    wanted = set(table.create())
    with db:
        for sql, (kind, name) in made.items():
            if sql not in wanted and kind in ("index", "trigger"):
                db.execute(f"DROP {kind} IF EXISTS {quoted(name)}")
        for sql, (kind, name) in made.items():
            if sql not in wanted and kind == "table":
                db.execute(f"DROP TABLE {quoted(name)}")
        for index in table.indexes():
            for statement in index.create:
                if statement not in made:
                    db.execute(statement)
            if index.fill and index.create[0] not in made:
                db.execute(index.fill)
