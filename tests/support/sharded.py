"""One model, kept in one log and spread over shards in every way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from debros import Field, Index, Model, field, hash_shards, model, range_shards

START = datetime(2025, 1, 1, tzinfo=UTC)


class ByLength:
    """A strategy of the program's own."""

    name, key, n = "by-length", "author", 3

    def shard_of(self, value: str, n: int) -> int:
        return len(value) % n


class Note(Model):
    """Abstract: the models below differ by their sharding only."""

    author: Field[str] = field(index=True)
    likes: Field[int] = field(default=0, index=True)
    price: Field[Decimal | None] = field(default=None)
    at: Field[datetime] = field(default=START, index=True)
    score: Field[float] = field(default=0.0)


@model(name="Plain", indexes=[Index("author", "-at")])
class Plain(Note):
    pass


@model(name="Hashed", sharding=hash_shards("author", 4), indexes=[Index("author", "-at")])
class Hashed(Note):
    pass


@model(
    name="Ranged",
    sharding=range_shards("at", [START + timedelta(days=d) for d in (3, 6)]),
    indexes=[Index("author", "-at")],
)
class Ranged(Note):
    pass


@model(name="Sized", sharding=ByLength(), indexes=[Index("author", "-at")])
class Sized(Note):
    pass


@model(name="ById", sharding=hash_shards("id", 5), indexes=[Index("author", "-at")])
class ById(Note):
    pass


SHARDED: tuple[Any, ...] = (Hashed, Ranged, Sized, ById)


def some_notes(count: int = 40) -> list[dict[str, Any]]:
    authors = ("ana", "eve", "cyra", "dee", "bo")
    return [
        {
            "id": f"n{n:03}", "author": authors[n % 5], "likes": n * 7 % 5, "at": START + timedelta(days=n % 9, hours=n % 2),
            "price": None if n % 3 == 0 else Decimal(n % 4) / 4, "score": n % 5 / 2,
        }
        for n in range(count)
    ]  # fmt: skip
