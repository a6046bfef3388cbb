"""The demo's three models: who wrote, what they committed, which files it changed."""

from __future__ import annotations

from datetime import datetime

from debros import Field, Index, Many, Model, One, belongs_to, field, has_many, hash_shards, model


@model(scope="global")
class Author(Model):
    """Somebody who commits."""

    name: Field[str] = field(unique=True)

    commits: Many[Commit] = has_many("author_id", order_by="-authored_at")


@model(scope="global", indexes=[Index("author_id", "-authored_at")])
class Commit(Model):
    """One commit. Its line counts are counters, its areas a set: both merge when two peers change them."""

    sha: Field[str] = field(unique=True)
    author_id: Field[str]
    subject: Field[str]
    authored_at: Field[datetime] = field(index=True)
    added: Field[int] = field(default=0, merge="counter")
    deleted: Field[int] = field(default=0, merge="counter")
    areas: Field[set[str]] = field(default_factory=set, index=True)

    author: One[Author] = belongs_to("author_id")
    files: Many[FileChange] = has_many("commit_id", order_by="path")


@model(scope="global", sharding=hash_shards("commit_id", 4), indexes=[Index("path", "commit_id")])
class FileChange(Model):
    """What a commit did to one file."""

    commit_id: Field[str] = field(index=True)
    path: Field[str] = field(index=True)
    added: Field[int] = field(default=0, merge="counter")
    deleted: Field[int] = field(default=0, merge="counter")

    commit: One[Commit] = belongs_to("commit_id", on_delete="cascade")


MODELS = (Author, Commit, FileChange)
