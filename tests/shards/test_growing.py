"""A resize opens a new layout: new records follow it, old ones stay; nothing is lost, nothing is doubled."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

import debros
from debros.errors import ModelError, PermissionDeniedError, TransactionError
from debros.identity.keys import Identity
from debros.log.layout import MAX_LAYOUTS, of_hash
from tests.support.copying import carry, logs_of
from tests.support.nodes import a_node
from tests.support.sharded import START, Hashed, Plain, Ranged, Sized, some_notes


def numbers(rows: Any) -> list[str]:
    return [row.id for row in rows]


async def test_new_records_follow_the_new_layout_and_old_ones_stay() -> None:
    async with a_node(Hashed) as db:
        old = await Hashed.create(id="old", author="zoe")
        shards = db.shards[Hashed]
        assert (shards.count, len(shards.layouts), shards.for_key("zoe")) == (4, 1, of_hash("zoe", 4))
        layout = await shards.resize(8)
        assert (layout.n, shards.count, len(shards.layouts)) == (8, 12, 2)
        assert shards.for_key("zoe") == 4 + of_hash("zoe", 8), "numbers run on over the layouts"
        new = await Hashed.create(id="new", author="zoe")
        assert old.meta.address != new.meta.address
        assert numbers(await Hashed.where(Hashed.author == "zoe").all()) == ["new", "old"]
        assert (await Hashed.where(Hashed.author == "zoe").explain()).shards == (2, 4 + of_hash("zoe", 8))
        await old.update(likes=3)
        assert (await Hashed.get("old")).meta.address == old.meta.address, "a record never moves"
        with pytest.raises(debros.UniqueError):
            await Hashed.create(id="old", author="zoe")


async def test_going_back_to_an_earlier_layout_makes_no_new_shards() -> None:
    async with a_node(Hashed) as db:
        shards = db.shards[Hashed]
        await shards.resize(8)
        await shards.resize(4)
        assert (shards.count, shards.newest.n, shards.for_key("zoe")) == (12, 4, of_hash("zoe", 4))
        await shards.resize(4)
        assert db.status().entries == 2, "what is so already needs no entry"


async def test_ranges_split_and_merge() -> None:
    async with a_node(Ranged) as db:
        await Ranged.create_many(some_notes())
        before = numbers(await Ranged.query().order_by("at").all())
        shards = db.shards[Ranged]
        split = await shards.split(START + timedelta(days=4))
        assert (split.n, shards.count) == (4, 7)
        assert shards.for_key(START + timedelta(days=5)) == 3 + 2
        merged = await shards.merge(START + timedelta(days=3))
        assert (merged.n, shards.count) == (3, 10)
        await Ranged.create(id="z", author="ana", at=START + timedelta(days=3, hours=1))
        assert shards.for_key(START + timedelta(days=3)) == 7
        assert numbers(await Ranged.query().order_by("at").all()).count("z") == 1
        assert [id for id in numbers(await Ranged.query().order_by("at").all()) if id != "z"] == before
        between = Ranged.where(Ranged.at >= START + timedelta(days=3), Ranged.at < START + timedelta(days=4))
        assert (await between.explain()).shards == (1, 4, 7)


@pytest.mark.parametrize(
    ("of", "to", "says"),
    [
        (Hashed, 0, "1 to 1024 shards, not 0"),
        (Hashed, 2000, "1 to 1024"),
        (Hashed, True, "1 to 1024"),
        (Hashed, [1], "1 to 1024"),
        (Ranged, 4, "by its bounds, not by 4"),
        (Ranged, ["x"], "not of the key's type"),
        (Ranged, [START, START], "ascend"),
    ],
)
async def test_a_wrong_layout_is_refused(of: Any, to: Any, says: str) -> None:
    async with a_node(Hashed, Ranged) as db:
        with pytest.raises(ModelError, match=says):
            await db.shards[of].resize(to)
        assert len(db.shards[of].layouts) == 1


async def test_a_wrong_split_or_merge_is_refused() -> None:
    async with a_node(Ranged, Hashed, Plain) as db:
        with pytest.raises(ModelError, match="a bound already"):
            await db.shards[Ranged].split(START + timedelta(days=3))
        with pytest.raises(ModelError, match="is no bound"):
            await db.shards[Ranged].merge(START)
        with pytest.raises(ModelError, match="is not sharded"):
            db.shards[Plain]
        with pytest.raises(TransactionError):
            async with db.transaction():
                await db.shards[Hashed].resize(8)
        assert list(db.shards) == ["Hashed", "Ranged"]


async def test_a_model_has_at_most_16_layouts() -> None:
    async with a_node(Hashed) as db:
        for n in range(MAX_LAYOUTS - 1):
            await db.shards[Hashed].resize(5 + n)
        with pytest.raises(ModelError, match="its 16 layouts"):
            await db.shards[Hashed].resize(100)


async def test_a_custom_strategy_grows_too() -> None:
    async with a_node(Sized) as db:
        await Sized.create(id="a", author="four")
        await db.shards[Sized].resize(5)
        await Sized.create(id="b", author="four")
        assert (await Sized.where(Sized.author == "four").explain()).shards == (1, 3 + 4)
        assert await Sized.count() == 2


async def test_cursors_survive_a_resize() -> None:
    async with a_node(Plain, Hashed) as db:
        for of in (Plain, Hashed):
            await of.create_many(some_notes(30))
        query = Hashed.query().order_by("likes", "desc").limit(4)
        expected = [row.id for row in await Plain.query().order_by("likes", "desc").all()]
        found, after = [], None
        for n in range(20):
            page = await query.page(after)
            found += numbers(page.rows)
            after = page.next
            if after is None:
                break
            await db.shards[Hashed].resize(5 + n)
        assert found == expected


async def test_layouts_are_there_when_the_home_is_opened_again(tmp_path: Path) -> None:
    async with debros.open(tmp_path, models=[Hashed, Ranged]) as db:
        await db.shards[Hashed].resize(6)
        await db.shards[Ranged].split(START)
        await Hashed.create(id="a", author="zoe")
        await Ranged.create(id="r", author="zoe", at=START - timedelta(days=1))
    async with debros.open(tmp_path, models=[Hashed, Ranged]) as db:
        assert (db.shards[Hashed].count, db.shards[Ranged].count) == (10, 7)
        assert numbers(await Hashed.all()) == ["a"]
        assert (await Ranged.where(Ranged.at < START).explain()).shards == (0, 3)
        assert numbers(await Ranged.where(Ranged.at < START).all()) == ["r"]


async def test_a_peer_learns_a_layout_from_the_unsharded_log() -> None:
    async with a_node(Hashed, Ranged) as one, a_node(Hashed, Ranged) as other:
        with one.current():
            await one.shards[Hashed].resize(8)
            await one.shards[Ranged].split(START)
            await Hashed.create_many(some_notes())
            await Ranged.create_many(some_notes())
        with other.current():
            await carry(one, other)
            assert other.shards[Hashed].layouts == one.shards[Hashed].layouts
            assert await Hashed.count() == 40
            assert await Ranged.count() == 40
        assert await one.fingerprint() == await other.fingerprint()


async def test_rows_of_a_layout_that_is_announced_later_show_then() -> None:
    async with a_node(Ranged) as one, a_node(Ranged) as other:
        with one.current():
            await one.shards[Ranged].split(START)
            await Ranged.create_many(some_notes())
        shards_first = sorted(logs_of(one), key=lambda replica: replica.manifest.part is None)
        with other.current():
            await carry(one, other, shards_first[:-1])
            assert await Ranged.count() == 0, "their place cannot be told yet"
            await carry(one, other, shards_first[-1:])
            assert await Ranged.count() == 40
        assert await one.fingerprint() == await other.fingerprint()


async def test_two_peers_that_resize_at_once_agree_afterwards() -> None:
    async with a_node(Hashed) as one, a_node(Hashed) as other:
        for node, n in ((one, 5), (other, 6)):
            with node.current():
                await node.shards[Hashed].resize(n)
                await Hashed.create(id=f"by{n}", author="zoe")
        await carry(one, other)
        await carry(other, one)
        for node in (one, other):
            with node.current():
                assert numbers(await Hashed.where(Hashed.author == "zoe").all()) == ["by5", "by6"]
        assert one.shards[Hashed].layouts == other.shards[Hashed].layouts
        assert one.shards[Hashed].newest == other.shards[Hashed].newest
        assert one.shards[Hashed].count == 4 + 5 + 6


async def test_only_an_admin_changes_the_layout_of_a_log_that_has_admins() -> None:
    ana, bo = Identity.generate(), Identity.generate()
    async with a_node(Hashed, identity=ana, admins=[ana.did]) as db:
        async with db.acting_as(bo):
            await Hashed.create(author="zoe")
            with pytest.raises(PermissionDeniedError, match="only an admin"):
                await db.shards[Hashed].resize(8)
        await db.shards[Hashed].resize(8)
        assert db.shards[Hashed].count == 12


async def test_grants_go_along_where_the_log_is_not_open() -> None:
    ana, bo = Identity.generate(), Identity.generate()
    async with a_node(Hashed, identity=ana, admins=[ana.did], open=False) as db:
        async with db.acting_as(bo):
            with pytest.raises(PermissionDeniedError):
                await Hashed.create(author="zoe")
        await db.grant(bo.did)
        await db.shards[Hashed].resize(8)
        async with db.acting_as(bo):
            for author in ("zoe", "ana", "eve"):
                await Hashed.create(author=author)
        await db.revoke(bo.did)
        async with db.acting_as(bo):
            for author in ("zoe", "ana", "eve", "cyra", "hal", "kim"):
                with pytest.raises(PermissionDeniedError):
                    await Hashed.create(author=author)
        assert await Hashed.count() == 3


async def test_statistics_say_how_full_the_shards_are() -> None:
    async with a_node(Hashed) as db:
        await Hashed.create_many(some_notes())
        stats = await db.shards[Hashed].stats()
        assert stats.records == 40
        assert [shard.number for shard in stats] == [0, 1, 2, 3]
        assert [shard.records for shard in stats] == [8, 16, 8, 8]
        assert stats.skew == pytest.approx(1.6)
        assert all(shard.held and shard.bytes > 0 and shard.entries == 1 and not shard.left_out for shard in stats)
        assert "Hashed: 0/4, 1/4" in repr(db.shards[Hashed])


async def test_writers_go_on_during_a_resize() -> None:
    async with a_node(Hashed) as db:

        async def write(n: int) -> None:
            for k in range(10):
                await Hashed.create(id=f"{n}-{k}", author=f"author-{n}-{k}")
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            for n in range(4):
                nursery.start_soon(write, n)
            for size in (5, 6, 7):
                await db.shards[Hashed].resize(size)
                await trio.lowlevel.checkpoint()
        assert await Hashed.count() == 40
        assert len(set(numbers(await Hashed.all()))) == 40
