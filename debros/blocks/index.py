"""Where blocks lie in the segments of a block store: an SQLite file that can be made again from them.

`k` is the first 8 bytes of a digest as a signed integer: a small index, the whole digest is compared on reading.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

import apsw

from debros.blocks import car
from debros.blocks.cid import Link
from debros.blocks.plans import keep_plans
from debros.errors import StorageError

FORMAT: Final = 1
_TABLES: Final = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "CREATE TABLE blocks (n INTEGER PRIMARY KEY, k INTEGER, digest BLOB, codec INTEGER, position INTEGER, size INTEGER)",
    "CREATE INDEX blocks_k ON blocks (k)",
    "CREATE INDEX blocks_position ON blocks (position)",
)


class Place(NamedTuple):
    """A block and where its section begins."""

    codec: int
    digest: bytes
    position: int
    size: int  # of the block, in bytes


def _k(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big", signed=True)


class Index:
    """An open index. Not for several threads at once."""

    def __init__(self, name: str, db: apsw.Connection) -> None:
        self._name = name
        self._db = db
        meta = dict(db.execute("SELECT key, value FROM meta"))
        self.applied: int = meta.get("applied", 0)
        self.store: bytes = meta.get("store", b"")

    @classmethod
    def open(cls, name: str) -> Index:
        """Open the index in a file, or in memory. One that is damaged or of another format is made anew, empty.

        Raises:
            StorageError: the disk refused.
        """
        try:
            with suppress(apsw.Error):
                return cls(name, _connect(name))
            _remove(name)
            return cls(name, _connect(name))
        except (apsw.Error, OSError) as error:
            raise StorageError(f"{name} cannot be used: {error}") from error

    def renewed(self) -> Index:
        """Return an empty index in its place."""
        self.close()
        _remove(self._name)
        return Index.open(self._name)

    def add(self, places: Sequence[Place], applied: int, store: bytes = b"") -> None:
        """Note where blocks are now; `applied` is the position up to which the segments are known, 0: as before.

        A block may be among them twice, for it went and came back: it is where it was put last.

        Raises:
            StorageError: the disk refused.
        """
        places = list({(place.codec, place.digest): place for place in places}.values())
        with self._transaction():
            self._db.executemany("DELETE FROM blocks WHERE k = ? AND digest = ? AND codec = ?",
                                 [(_k(p.digest), p.digest, p.codec) for p in places])  # fmt: skip
            self._db.executemany(
                "INSERT INTO blocks (k, digest, codec, position, size) VALUES (?, ?, ?, ?, ?)",
                [(_k(p.digest), p.digest, p.codec, p.position, p.size) for p in places],
            )
            if applied:
                self._db.execute("REPLACE INTO meta VALUES ('applied', ?)", (applied,))
            if store:
                self._db.execute("REPLACE INTO meta VALUES ('store', ?)", (store,))

    def find(self, link: Link) -> Place | None:
        """Return where a block is."""
        query = "SELECT codec, digest, position, size FROM blocks WHERE k = ? AND digest = ? AND codec = ?"
        for row in self._db.execute(query, (_k(link.digest), link.digest, link.codec)):
            return Place(*row)
        return None

    def remove(self, links: Iterable[Link]) -> None:
        """Forget blocks.

        Raises:
            StorageError: the disk refused.
        """
        with self._transaction():
            self._db.executemany(
                "DELETE FROM blocks WHERE k = ? AND digest = ? AND codec = ?",
                [(_k(link.digest), link.digest, link.codec) for link in links],
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with self._db:
                yield
        except apsw.Error as error:
            raise StorageError(f"{self._name} cannot be written: {error}; make room on its disk") from error

    def page(self, after: int, limit: int) -> tuple[list[Link], int]:
        """Return some blocks, and what to give as `after` for the next ones."""
        query = "SELECT n, codec, digest FROM blocks WHERE n > ? ORDER BY n LIMIT ?"
        rows: list[tuple[int, int, bytes]] = list(self._db.execute(query, (after, limit)))
        return [Link(codec, digest) for _, codec, digest in rows], rows[-1][0] if rows else after

    def totals(self) -> tuple[int, int]:
        """Return how many blocks there are, and their bytes."""
        count, total = self._db.execute("SELECT count(*), ifnull(sum(size), 0) FROM blocks").get
        return count, total

    def live_by_segment(self) -> dict[int, int]:
        """Return, by segment, how many bytes of blocks are in use."""
        query = f"SELECT position >> {car.OFFSET_BITS}, sum(size) FROM blocks GROUP BY 1"  # noqa: S608 - a constant
        return dict(self._db.execute(query))

    def in_segment(self, number: int, most: int) -> list[Place]:
        """Return the first blocks of a segment, in order, with at most this many bytes, at least one if there is one."""
        query = (
            "SELECT codec, digest, position, size FROM blocks WHERE position >= ? AND position < ? ORDER BY position"
        )
        found: list[Place] = []
        total = 0
        for row in self._db.execute(query, (car.position(number, 0), car.position(number + 1, 0))):
            found.append(Place(*row))
            total += found[-1].size
            if total >= most:
                break
        return found

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _connect(name: str) -> apsw.Connection:
    db = apsw.Connection(name)
    keep_plans(db)
    try:
        db.execute(f"PRAGMA journal_mode = {'MEMORY' if name == ':memory:' else 'WAL'}").fetchall()
        db.execute("PRAGMA synchronous = NORMAL").fetchall()
        found = db.pragma("user_version")
        if found == 0 and not db.execute("SELECT count(*) FROM sqlite_schema").get:
            with db:
                for statement in _TABLES:
                    db.execute(statement)
                db.pragma("user_version", FORMAT)
        elif found != FORMAT:
            raise apsw.CorruptError(f"{name} is of another format")
        db.execute("SELECT n, k, digest, codec, position, size FROM blocks LIMIT 1").fetchall()
    except BaseException:
        db.close()
        raise
    return db


def _remove(name: str) -> None:
    if name != ":memory:":
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.remove(name + suffix)
