"""peewee. Bulk by `insert_many` in a transaction; tags are a `JSONField`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peewee import (
    BooleanField,
    CharField,
    DateTimeField,
    FloatField,
    IntegerField,
    JSONField,
    Model,
    SqliteDatabase,
    TextField,
)

from bench.peers import Synchronous


class Post(Model):
    """The document."""

    id = CharField(primary_key=True)
    author_id = CharField()
    title = CharField()
    body = TextField()
    tags = JSONField()
    likes = IntegerField(index=True)
    rating = FloatField()
    published = BooleanField()
    language = CharField()
    created_at = DateTimeField()


Post.add_index(Post.author_id, Post.created_at.desc())


def _given(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "tags": sorted(document["tags"]), "created_at": document["created_at"].replace(tzinfo=None)}


class Peewee:
    """The documents in one table. One file at a time: peewee's models are bound to one."""

    name = "peewee"

    def __init__(self, path: Path, synchronous: Synchronous) -> None:
        self._db = SqliteDatabase(str(path), pragmas={"journal_mode": "wal", "synchronous": synchronous})
        with self._db.bind_ctx([Post]):
            self._db.create_tables([Post])

    def insert(self, documents: list[dict[str, Any]]) -> None:
        with self._db.bind_ctx([Post]):
            for document in documents:
                Post.create(**_given(document))

    def insert_many(self, documents: list[dict[str, Any]]) -> None:
        with self._db.bind_ctx([Post]), self._db.atomic():
            Post.insert_many([_given(document) for document in documents]).execute()

    def get(self, ids: list[str]) -> None:
        with self._db.bind_ctx([Post]):
            for id in ids:
                Post.get_by_id(id)

    def newest_of(self, authors: list[str]) -> None:
        with self._db.bind_ctx([Post]):
            for author in authors:
                question = Post.select().where(Post.author_id == author).order_by(Post.created_at.desc()).limit(20)
                assert len(list(question)) == 20

    def matching(self, least: float) -> int:
        with self._db.bind_ctx([Post]):
            return len(list(Post.select().where(Post.rating > least)))

    def close(self) -> None:
        self._db.close()
