"""Each shard is a log of its own; a record goes where its key says, once and for all."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import debros
from debros import Field, Model, UniqueError, ValidationError, field, hash_shards, model, user_shards
from debros.blocks import cid
from debros.errors import ModelError, NotFoundError, PermissionDeniedError, ShardNotHeldError
from debros.identity.keys import Identity
from debros.log.layout import of_hash
from debros.replica.verify import Progress, verify_home
from tests.support.nodes import a_node
from tests.support.sharded import SHARDED, START, Hashed, Plain, Ranged, Sized, some_notes


@model(name="Wall", sharding=user_shards(4))
class Wall(Model):
    text: Field[str]


@model(name="Page", sharding=hash_shards("slug", 4))
class Page(Model):
    slug: Field[str] = field(unique="derived")
    text: Field[str] = field(default="")


@model(name="Account", sharding=hash_shards("region", 4))
class Account(Model):
    region: Field[str]
    email: Field[str] = field(unique=True)


@model(name="Counter", store="counter", sharding=hash_shards("id", 4))
class Counter(Model):
    hits: Field[int]


def shard_of(db: Any, record: Model) -> str:
    row = record._row
    assert row is not None
    home = db.collection(type(record).__schema__)
    part = db.store.by_number[row[home.table.log_at]].manifest.part
    return str(part[1])


async def test_a_record_lies_in_the_log_that_its_key_says() -> None:
    async with a_node(Hashed, Ranged, Sized) as db:
        for author in ("ana", "eve", "cyra"):
            note = await Hashed.create(author=author)
            assert shard_of(db, note) == f"{of_hash(author, 4)}/4"
            assert db.shards[Hashed].for_key(author) == of_hash(author, 4)
            assert shard_of(db, await Sized.create(author=author)) == f"by-length {len(author) % 3}/3"
        for day, shard in ((0, 0), (2, 0), (3, 1), (5, 1), (6, 2), (99, 2)):
            note = await Ranged.create(author="ana", at=START + timedelta(days=day))
            assert shard_of(db, note).startswith(f"range {shard}/3 ")


async def test_two_nodes_that_never_met_find_the_same_logs() -> None:
    addresses = []
    for _ in range(2):
        async with a_node(Hashed, app="blog-k3x9q7") as db:
            stats = await db.shards[Hashed].stats()
            addresses.append([shard.address for shard in stats])
    assert addresses[0] == addresses[1]
    assert len(set(addresses[0])) == 4


async def test_the_manifest_of_a_shard_has_its_model_and_name() -> None:
    async with a_node(Hashed) as db:
        note = await Hashed.create(author="ana")
        assert note.meta.address.startswith("/debros/bafyrei")
        replica = db.store.by_number[note._row[db.collection(Hashed.__schema__).table.log_at]]  # type: ignore[index]  # it is saved
        assert replica.manifest.part == ("Hashed", "1/4")
        assert cid.to_text(replica.log_id) in note.meta.address


@pytest.mark.parametrize("of", SHARDED, ids=lambda of: of.__name__)
async def test_records_are_read_changed_deleted_and_restored_wherever_they_lie(of: Any) -> None:
    async with a_node(of):
        await of.create_many(some_notes())
        note = await of.get("n007")
        await note.update(likes=99)
        assert (await of.get("n007")).likes == 99
        assert [one.id for one in await of.where(of.likes == 99).all()] == ["n007"]
        await note.delete()
        assert await of.get_or_none("n007") is None
        assert (await of.get("n007", deleted=True)).likes == 99
        await note.restore()
        assert [one.id for one in await of.get_many(["n030", "n007"])] == ["n030", "n007"]
        assert [version.kind for version in await note.history()] == ["create", "update", "delete", "restore"]
        with pytest.raises(NotFoundError):
            await of.get("nobody")


async def test_the_key_never_changes() -> None:
    async with a_node(Hashed) as db:
        note = await Hashed.create(author="ana", likes=1)
        with pytest.raises(ValidationError, match=r"author.*fixed by the first save.*copy"):
            await note.update(author="eve")
        assert note.is_changed("author"), "as after any save that fails, the edit is still there"
        await note.refresh()
        assert note.author == "ana"
        async with db.transaction():
            note.author = "cyra"
            with pytest.raises(ValidationError, match="fixed by the first save"):
                await note.save()
        copy = (await note.refresh()).copy()
        copy.author = "eve"
        await copy.save()
        assert {one.author for one in await Hashed.all()} == {"ana", "eve"}, "the cure"
        note.author = "ana"
        await note.update(likes=2)
        assert (await Hashed.get(note.id)).likes == 2, "the same value is no change"


@pytest.mark.parametrize("wrong", [{}, {"author": None}, {"author": 3}])
async def test_a_key_that_is_missing_null_or_of_another_type_is_refused(wrong: dict[str, Any]) -> None:
    async with a_node(Hashed):
        with pytest.raises(ValidationError, match="author"):
            await Hashed.create(**wrong)
        assert await Hashed.count() == 0


async def test_a_key_that_a_strategy_finds_no_shard_for_is_refused() -> None:
    class East:
        name, key, n = "east", "region", 2

        def shard_of(self, value: str, n: int) -> int:
            return {"jp": 0, "kr": 1}[value]

    @model(name="Store", sharding=East())
    class Shop(Model):
        region: Field[str]

    async with a_node(Shop) as db:
        await Shop.create(region="jp")
        with pytest.raises(ValidationError, match=r"region.*fits into no shard"):
            await Shop.create(region="fr")
        with pytest.raises(ValidationError, match="no record of Store has such a key"):
            db.shards[Shop].for_key("fr")
        assert await Shop.count() == 1


async def test_user_shards_go_by_the_owner() -> None:
    bo = Identity.generate()
    async with a_node(Wall) as db:
        mine = await Wall.create(text="mine")
        assert shard_of(db, mine) == f"user {of_hash(db.identity.tag, 4)}/4"
        async with db.acting_as(bo):
            his = await Wall.create(text="his")
            assert shard_of(db, his) == f"user {db.shards[Wall].for_key(bo.did)}/4"
            with pytest.raises(PermissionDeniedError):
                await mine.update(text="stolen")


async def test_unique_means_unique_over_all_shards() -> None:
    async with a_node(Account) as db:
        await Account.create(region="eu", email="ana@x")
        with pytest.raises(UniqueError):
            await Account.create(region="us", email="ana@x")
        async with db.transaction():
            await Account.create(region="us", email="bo@x")
            with pytest.raises(UniqueError):
                await Account.create(region="jp", email="bo@x")
        assert await Account.count() == 2


async def test_an_id_is_unique_over_all_shards() -> None:
    async with a_node(Hashed) as db:
        first = await Hashed.create(id="same", author="ana")
        with pytest.raises(UniqueError):
            await Hashed.create(id="same", author="eve")
        with pytest.raises(UniqueError):
            await Hashed.create_many([{"id": "twice", "author": "ana"}, {"id": "twice", "author": "eve"}])
        async with db.transaction():
            await Hashed.create(id="other", author="ana")
            with pytest.raises(UniqueError):
                await Hashed.create(id="other", author="eve")
            with pytest.raises(UniqueError):
                await Hashed.create(id="same", author="eve")
        await first.delete()
        again = await Hashed.create(id="same", author="eve")
        assert (await Hashed.get("same")).author == "eve"
        with pytest.raises(UniqueError):
            await first.restore()
        await again.delete()
        await first.restore()
        assert (await Hashed.get("same")).author == "ana"
        assert sorted(one.id for one in await Hashed.all()) == ["other", "same"]


async def test_a_derived_id_finds_its_shard_by_itself() -> None:
    async with a_node(Page):
        await Page.create(slug="hello", text="1")
        with pytest.raises(UniqueError):
            await Page.create(slug="hello", text="2")
        assert (await Page.get("hello")).text == "1"


async def test_counters_of_an_unknown_id_need_the_id_to_be_the_key() -> None:
    async with a_node(Counter, Hashed):
        await Counter.increment("home", hits=2)
        await Counter.increment("home", hits=3)
        assert (await Counter.get("home")).hits == 5


async def test_a_transaction_over_several_shards_is_all_or_nothing() -> None:
    async with a_node(Hashed, Plain) as db:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what raises
            async with db.transaction():
                for author in ("ana", "eve", "cyra", "dee"):
                    await Hashed.create(author=author)
                await Plain.create(author="ana")
                assert await Hashed.count() == 4, "the block sees its own"
                raise ZeroDivisionError
        assert (await Hashed.count(), await Plain.count()) == (0, 0)
        async with db.transaction() as tx:
            made = [await Hashed.create(author=author) for author in ("ana", "eve", "cyra", "dee")]
        assert len({one.meta.address for one in made}) == 4
        assert len({one.meta.cid for one in made}) == 4, "one entry for each log"
        assert tx.id


async def test_a_rebuilt_view_shows_the_same_and_the_home_verifies(tmp_path: Path) -> None:
    models = [Plain, *SHARDED]
    async with debros.open(tmp_path, models=models) as db:
        for of in models:
            await of.create_many(some_notes())
            await (await of.get("n003")).update(likes=50)
            await (await of.get("n004")).delete()
        await db.shards[Hashed].resize(8)
        await Hashed.create(id="late", author="zoe")
        before = await db.fingerprint()
    for file in tmp_path.glob("view.sqlite*"):
        file.unlink()
    async with debros.open(tmp_path, models=models) as db:
        assert db.status().rebuilt
        assert await db.fingerprint() == before
        assert db.shards[Hashed].count == 12
        assert (await Hashed.get("late")).author == "zoe"
    *_, last = verify_home(tmp_path)
    assert isinstance(last, Progress)
    assert all(isinstance(found, Progress) for found in verify_home(tmp_path))


async def test_another_declaration_than_the_home_was_written_with_is_refused(tmp_path: Path) -> None:
    def note(sharding: Any) -> Any:
        @model(name="Kept", sharding=sharding)
        class Kept(Model):
            author: Field[str]
            title: Field[str] = field(default="")

        return Kept

    first = note(hash_shards("author", 4))
    async with debros.open(tmp_path / "sharded", models=[first]):
        await first.create(id="a", author="ana")
    for other, says in (
        (note(hash_shards("author", 8)), r"reshard\('Kept', 8, was="),
        (note(None), r"copy_to\(Kept"),
        (note(hash_shards("title", 4)), r"sharded by author.*by title.*copy_to\(Kept"),
    ):
        with pytest.raises(ModelError, match=says):
            async with debros.open(tmp_path / "sharded", models=[other]):
                pass
    async with debros.open(tmp_path / "sharded", models=[first]):
        assert (await first.get("a")).author == "ana", "nothing was lost"
    plain = note(None)
    async with debros.open(tmp_path / "plain", models=[plain]):
        await plain.create(id="a", author="ana")
    with pytest.raises(ModelError, match=r"sharded by nothing.*by author.*copy_to"):
        async with debros.open(tmp_path / "plain", models=[first]):
            pass
    async with debros.open(tmp_path / "plain", models=[plain]):
        assert await plain.count() == 1


async def test_a_record_that_is_still_here_of_a_shard_that_is_not_held_any_more_is_not_written() -> None:
    async with a_node(Hashed) as db:
        shards = db.shards[Hashed]
        ana = await Hashed.create(author="ana")
        kept = [n for n in range(4) if n != shards.for_key("ana")]
        await db.follow(Hashed, shards=kept)
        with pytest.raises(ShardNotHeldError):
            await ana.update(likes=1)
        with pytest.raises(ShardNotHeldError):
            await Hashed.upsert(ana.id, likes=1)
        with pytest.raises(ShardNotHeldError):
            await ana.delete()
        async with db.transaction():
            with pytest.raises(ShardNotHeldError):
                await ana.update(likes=1)
        await db.follow(Hashed)
        await ana.refresh()
        assert (await ana.update(likes=2)).likes == 2
