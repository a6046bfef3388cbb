"""Django's ORM. Bulk by `bulk_create`; tags are a `JSONField`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import django
from django.conf import settings
from django.db import connections

from bench.peers import Synchronous

_OPTIONS: Final = "PRAGMA journal_mode = WAL; PRAGMA synchronous = {};"


def _database(path: Path, synchronous: Synchronous) -> dict[str, Any]:
    options = {"init_command": _OPTIONS.format(synchronous), "transaction_mode": "IMMEDIATE"}
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": options}


settings.configure(DATABASES={"default": _database(Path(":memory:"), "NORMAL")}, INSTALLED_APPS=[], USE_TZ=True)
django.setup()

from django.db import models  # noqa: E402 - once it is set up


class Post(models.Model):
    """The document."""

    id = models.CharField(primary_key=True, max_length=36)
    author_id = models.CharField(max_length=36)
    title = models.CharField(max_length=200)
    body = models.TextField()
    tags = models.JSONField()
    likes = models.IntegerField(db_index=True)
    rating = models.FloatField()
    published = models.BooleanField()
    language = models.CharField(max_length=8)
    created_at = models.DateTimeField()

    class Meta:
        app_label = "bench"
        indexes = (models.Index("author_id", models.F("created_at").desc(), name="posts_author"),)


def _given(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "tags": sorted(document["tags"])}


class Django:
    """The documents in one table of a database of their own."""

    name = "Django ORM"

    def __init__(self, path: Path, synchronous: Synchronous) -> None:
        self._alias = path.name
        connections.settings[self._alias] = connections.configure_settings(
            {"default": {}, self._alias: _database(path, synchronous)}
        )[self._alias]
        with connections[self._alias].schema_editor() as editor:
            editor.create_model(Post)
        self._posts = Post.objects.using(self._alias)

    def insert(self, documents: list[dict[str, Any]]) -> None:
        for document in documents:
            self._posts.create(**_given(document))

    def insert_many(self, documents: list[dict[str, Any]]) -> None:
        self._posts.bulk_create([Post(**_given(document)) for document in documents])

    def get(self, ids: list[str]) -> None:
        for id in ids:
            self._posts.get(pk=id)

    def newest_of(self, authors: list[str]) -> None:
        for author in authors:
            assert len(self._posts.filter(author_id=author).order_by("-created_at")[:20]) == 20

    def matching(self, least: float) -> int:
        return len(self._posts.filter(rating__gt=least))

    def close(self) -> None:
        connections[self._alias].close()
