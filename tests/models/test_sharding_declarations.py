"""`@model(sharding=...)`: what is wrong is refused when the class is made, naming the model and the cure."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

import debros
from debros import Field, Model, ModelError, field, hash_shards, model, range_shards, schema_of, user_shards


class Parity:
    name, key, n = "parity", "number", 2

    def shard_of(self, value: int, n: int) -> int:
        return value % n


def declare(sharding: Any, **options: Any) -> type[Model]:
    @model(name="Thing", sharding=sharding, **options)
    class Thing(Model):
        text: Field[str] = field()
        maybe: Field[str | None] = field(default=None)
        number: Field[int] = field(default=0)
        price: Field[Decimal] = field(default=Decimal(1))
        at: Field[datetime] = field(default_factory=debros.now)
        likes: Field[int] = field(default=0, merge="counter")
        tags: Field[set[str]] = field(default_factory=set)

    return Thing


def test_the_schema_has_the_sharding_as_plain_data() -> None:
    hashed = schema_of(declare(hash_shards("text"))).sharding
    assert hashed is not None
    assert (hashed.kind, hashed.key, hashed.n) == ("hash", "text", 4)
    ranged = schema_of(declare(range_shards("at", [datetime(2025, 4, 1, tzinfo=UTC)]))).sharding
    assert ranged is not None
    assert (ranged.kind, ranged.n, ranged.bounds) == ("range", 2, (1743465600000000,))
    owned = schema_of(declare(user_shards(8)))
    assert owned.sharding is not None
    assert (owned.sharding.n, owned.write) == (8, "owner"), "user shards go by the owner in the id"
    custom = schema_of(declare(Parity())).sharding
    assert custom is not None
    assert (custom.kind, custom.name, custom.n) == ("custom", "parity", 2)
    assert schema_of(declare(None)).sharding is None


def test_a_changed_sharding_changes_the_fingerprint() -> None:
    shardings: list[Any] = [None, hash_shards("text"), hash_shards("number"), hash_shards("text", 8), Parity()]
    assert len({schema_of(declare(one)).fingerprint() for one in shardings}) == 5


@pytest.mark.parametrize(
    ("sharding", "says"),
    [
        (hash_shards("txet"), "'txet' is no stored field; did you mean 'text'"),
        (hash_shards("maybe"), "never null"),
        (hash_shards("likes"), "never changes"),
        (hash_shards("tags"), "never changes"),
        (hash_shards("price"), "use range_shards"),
        (hash_shards("text", 0), "1 to 1024, not 0"),
        (hash_shards("text", -1), "1 to 1024"),
        (hash_shards("text", True), "1 to 1024"),
        (hash_shards("text", 2000), "1 to 1024"),
        (range_shards("number", [3, 3]), "ascend"),
        (range_shards("number", [5, 3]), "ascend"),
        (range_shards("number", ["5"]), "not of the key's type"),
        (range_shards("at", [datetime(2025, 1, 1)]), "not of the key's type"),
        (range_shards("tags", ["a"]), "never changes"),
        (user_shards(0), "1 to 1024"),
        ("hash", "no strategy"),
        (object(), "no strategy"),
    ],
)
def test_a_wrong_sharding_is_refused(sharding: Any, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        declare(sharding)


@pytest.mark.parametrize("name", ["hash", "range", "user", "Upper", "with space", "", 3])
def test_a_strategy_has_a_name_that_logs_can_bear(name: Any) -> None:
    class Mine(Parity):
        pass

    Mine.name = name
    with pytest.raises(ModelError, match="strategy name"):
        declare(Mine())


def test_user_scope_has_a_log_for_each_user_already() -> None:
    with pytest.raises(ModelError, match="a log for each user already"):
        declare(hash_shards("text"), scope="user")


def test_user_shards_are_for_owners() -> None:
    with pytest.raises(ModelError, match="write='owner'"):
        declare(user_shards(), write="anyone")


def test_a_derived_id_is_sharded_by_itself_only() -> None:
    with pytest.raises(ModelError, match="shard by 'slug'"):

        @model(name="Page", sharding=hash_shards("text"))
        class Wrong(Model):
            slug: Field[str] = field(unique="derived")
            text: Field[str] = field(default="")

    @model(name="Page", sharding=hash_shards("slug"))
    class Right(Model):
        slug: Field[str] = field(unique="derived")

    assert schema_of(Right).sharding is not None
