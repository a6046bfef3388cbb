"""Python's own `sqlite3`: rows as dicts, times as microseconds, tags as JSON."""

from __future__ import annotations

import json
import sqlite3
from operator import itemgetter
from pathlib import Path
from typing import Any

from bench.document import COLUMNS
from bench.peers import Synchronous
from debros.values.scalars import instant_from_wire, instant_to_wire

_LISTED = ", ".join(COLUMNS)
_INSERT = f"INSERT INTO posts ({_LISTED}) VALUES ({', '.join('?' * len(COLUMNS))})"
_in_order = itemgetter(*COLUMNS)


def _row(document: dict[str, Any]) -> tuple[Any, ...]:
    given = {**document, "tags": json.dumps(sorted(document["tags"]))}
    given["created_at"] = instant_to_wire(document["created_at"])
    return _in_order(given)  # type: ignore[no-any-return]  # itemgetter of several gives a tuple


def _document(row: tuple[Any, ...]) -> dict[str, Any]:
    made = dict(zip(COLUMNS, row, strict=True))
    made["tags"] = set(json.loads(made["tags"]))
    made["published"] = bool(made["published"])
    made["created_at"] = instant_from_wire(made["created_at"])
    return made


class Sqlite3:
    """The documents in one table."""

    name = "sqlite3"

    def __init__(self, path: Path, synchronous: Synchronous) -> None:
        self._db = sqlite3.connect(path)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(f"PRAGMA synchronous = {synchronous}")
        self._db.executescript(
            "CREATE TABLE posts (id TEXT PRIMARY KEY, author_id TEXT, title TEXT, body TEXT, tags TEXT, likes INTEGER,"
            " rating REAL, published INTEGER, language TEXT, created_at INTEGER);"
            "CREATE INDEX posts_author ON posts (author_id, created_at DESC);"
            "CREATE INDEX posts_likes ON posts (likes);"
        )

    def insert(self, documents: list[dict[str, Any]]) -> None:
        for document in documents:
            with self._db:
                self._db.execute(_INSERT, _row(document))

    def insert_many(self, documents: list[dict[str, Any]]) -> None:
        with self._db:
            self._db.executemany(_INSERT, map(_row, documents))

    def get(self, ids: list[str]) -> None:
        for id in ids:
            _document(self._db.execute(f"SELECT {_LISTED} FROM posts WHERE id = ?", (id,)).fetchone())

    def newest_of(self, authors: list[str]) -> None:
        question = f"SELECT {_LISTED} FROM posts WHERE author_id = ? ORDER BY created_at DESC LIMIT 20"
        for author in authors:
            assert len([_document(row) for row in self._db.execute(question, (author,))]) == 20

    def matching(self, least: float) -> int:
        question = f"SELECT {_LISTED} FROM posts WHERE rating > ?"
        return len([_document(row) for row in self._db.execute(question, (least,))])

    def close(self) -> None:
        self._db.close()
