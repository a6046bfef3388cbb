"""The document of all measurements: nine fields, about 290 bytes as DAG-CBOR, three indexes.

Indexes, here and for every peer: the id; author and time, newest first; likes. Each author has 100 documents
on average, whatever the size of the table, so a question about one author touches the same number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID

from debros import Field, Index, Model, field, model
from debros.blocks import dagcbor
from debros.models.ids import new_id
from debros.values.scalars import instant_to_wire

DOCUMENTS_PER_AUTHOR: Final = 100
START: Final = datetime(2025, 1, 1, tzinfo=UTC)
WORDS: Final = [
    "log",
    "entry",
    "block",
    "head",
    "clock",
    "view",
    "shard",
    "peer",
    "node",
    "merge",
    "fold",
    "sign",
    "hash",
    "store",
    "index",
    "query",
]
TAGS: Final = ("python", "databases", "crdt", "offline", "networks", "ipld")
COLUMNS: Final = (
    "id", "author_id", "title", "body", "tags", "likes", "rating", "published", "language", "created_at",
)  # fmt: skip


@model(scope="global", indexes=[Index("author_id", "-created_at")])
class Post(Model):
    author_id: Field[str]
    title: Field[str] = field(max_length=200)
    body: Field[str]
    tags: Field[set[str]] = field(default_factory=set)
    likes: Field[int] = field(default=0, merge="counter", index=True)
    rating: Field[float] = field(default=0.0, ge=0, le=5)
    published: Field[bool] = field(default=True)
    language: Field[str] = field(default="en")
    created_at: Field[datetime]


def author(number: int) -> str:
    """Return the id of an author: as long as a real one, and in no order."""
    return str(UUID(int=Random(number).getrandbits(128), version=4))


class Documents:
    """A stream of documents, the same for the same seed; `size` is how many the table is about to hold."""

    def __init__(self, size: int, seed: int = 1) -> None:
        self._random = Random(seed)
        self._made = 0
        self.authors = [author(number) for number in range(max(1, size // DOCUMENTS_PER_AUTHOR))]

    def one(self) -> dict[str, Any]:
        """Return the constructor arguments of a new document, without an id."""
        random = self._random
        self._made += 1
        return {
            "author_id": random.choice(self.authors),
            "title": " ".join(random.choices(WORDS, k=6)),
            "body": " ".join(random.choices(WORDS, k=12)),
            "tags": set(random.sample(TAGS, 2)),
            "likes": random.randrange(1, 1000),
            "rating": random.random() * 5,
            "published": True,
            "language": "en",
            "created_at": START + timedelta(seconds=self._made, microseconds=random.randrange(1_000_000)),
        }

    def many(self, count: int) -> list[dict[str, Any]]:
        """Return constructor arguments."""
        return [self.one() for _ in range(count)]

    def with_ids(self, count: int) -> list[dict[str, Any]]:
        """Return documents with ids ready made, for those that are given theirs."""
        return [{"id": new_id(), **one} for one in self.many(count)]

    def parts(self, count: int, *, with_ids: bool = False, size: int = 1000) -> Iterator[list[dict[str, Any]]]:
        """Return documents in parts."""
        make = self.with_ids if with_ids else self.many
        for start in range(0, count, size):
            yield make(min(size, count - start))


def encoded_size() -> int:
    """Return the mean size of a document in bytes: its id and fields as one DAG-CBOR map."""
    sample = Documents(1000).with_ids(200)
    plain = [{**one, "tags": sorted(one["tags"]), "created_at": instant_to_wire(one["created_at"])} for one in sample]
    return sum(len(dagcbor.encode(one)) for one in plain) // len(plain)
