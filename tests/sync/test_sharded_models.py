"""Shards replicate each for itself: a resize reaches peers by itself, and whoever follows some shards gets those."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from debros import Field, Model, PartialResultError, hash_shards, model
from debros.log.layout import of_hash
from debros.net.memory import MemoryNetwork
from tests.support.peers import in_virtual_time, peer


def sharded() -> Any:
    @model(scope="global", name="Shared", sharding=hash_shards("author", 4))
    class Shared(Model):
        author: Field[str]

    return Shared


AUTHORS = [f"author-{n}" for n in range(12)]


@in_virtual_time
async def test_all_shards_reach_a_peer() -> None:
    network, shared = MemoryNetwork(), sharded()
    async with peer(network, "left", models=[shared]) as left:
        with left.current():
            for author in AUTHORS:
                await shared.create(author=author)
        async with peer(network, "right", models=[shared], peers=["left"]) as right:
            await right.synced(timeout_s=60)
            assert await left.fingerprint() == await right.fingerprint()
            with right.current():
                assert await shared.count() == 12


@in_virtual_time
async def test_a_resize_and_what_follows_it_reach_a_connected_peer_without_anybody_asking() -> None:
    network, shared = MemoryNetwork(), sharded()
    async with (
        peer(network, "left", models=[shared]) as left,
        peer(network, "right", models=[shared], peers=["left"]) as right,
    ):
        await right.synced(timeout_s=60)
        with left.current():
            await left.shards[shared].resize(6)
            for author in AUTHORS:
                await shared.create(author=author)
        await trio.sleep(60)
        with right.current():
            assert right.shards[shared].layouts == left.shards[shared].layouts
            assert await shared.count() == 12
            await shared.create(author="right")
        await trio.sleep(60)
        assert await left.fingerprint() == await right.fingerprint()


@in_virtual_time
async def test_who_follows_some_shards_gets_those() -> None:
    network, shared = MemoryNetwork(), sharded()
    async with peer(network, "left", models=[shared]) as left, peer(network, "right", models=[shared]) as right:
        await right.follow(shared, shards=[0, 2])
        with left.current():
            for author in AUTHORS:
                await shared.create(author=author)
        async with peer(network, "third", models=[shared], peers=["left", "right"]) as third:
            await third.synced(timeout_s=60)
            await trio.sleep(60)
            with third.current():
                assert await shared.count() == 12
        with right.current():
            expected = sorted(author for author in AUTHORS if of_hash(author, 4) in (0, 2))
            assert expected
            rows = await shared.query().allow_partial().order_by("author").all()
            assert [row.author for row in rows] == expected
            assert len(rows.coverage.missing) == 2
            with pytest.raises(PartialResultError):
                await shared.count()


@in_virtual_time
async def test_a_store_that_is_away_keeps_the_other_logs_of_a_node_from_nothing(tmp_path: Path) -> None:
    network, shared = MemoryNetwork(), sharded()
    placement = {"placement": {"Shared": {n: tmp_path / f"shard-{n}" for n in range(4)}}}
    async with peer(network, "left", home=tmp_path / "left", models=[shared], settings=placement) as left:
        with left.current():
            for author in AUTHORS:
                await shared.create(author=author)
        lost = [n for n in range(12) if left.shards[shared].for_key(AUTHORS[n]) == 2]
        assert lost
    (tmp_path / "shard-2").rename(tmp_path / "unplugged")
    async with (
        peer(network, "right", models=[shared]) as right,
        peer(network, "left", home=tmp_path / "left", models=[shared], peers=["right"]) as left,
    ):
        with right.current():
            await shared.create(author=AUTHORS[lost[0]])
        await trio.sleep(60)
        assert [other.connected for other in left.peers] == [True]
        with right.current():
            assert await shared.count() == 12 - len(lost) + 1
    (tmp_path / "unplugged").rename(tmp_path / "shard-2")
    async with (
        peer(network, "right", models=[shared]) as right,
        peer(network, "left", home=tmp_path / "left", models=[shared], peers=["right"]) as left,
    ):
        await left.synced(timeout_s=60)
        assert await left.fingerprint() == await right.fingerprint()


@in_virtual_time
async def test_a_peer_that_follows_a_shard_no_more_withholds_nothing() -> None:
    network, shared = MemoryNetwork(), sharded()
    async with (
        peer(network, "left", models=[shared]) as left,
        peer(network, "right", models=[shared], peers=["left"]) as right,
    ):
        with left.current():
            for author in AUTHORS:
                await shared.create(author=author)
        await right.synced(timeout_s=60)
        await left.synced(timeout_s=60)
        await right.unfollow(shared, shards=[0, 1, 2])
        await left.synced(timeout_s=60)
        with left.current():
            for author in AUTHORS:
                await shared.create(author=author)
        await left.synced(timeout_s=60)
        assert [other.withheld for other in left.peers] == [0]
        with right.current():
            rows = await shared.query().allow_partial().all()
            assert len(rows) == 2 * sum(of_hash(author, 4) == 3 for author in AUTHORS)
        await right.follow(shared)
        await left.synced(timeout_s=60)
        await right.synced(timeout_s=60)
        assert await left.fingerprint() == await right.fingerprint()


@pytest.mark.parametrize("steps", range(0, 24, 3))
@in_virtual_time
async def test_shards_that_are_given_up_while_peers_greet_keep_nobody_waiting(steps: int) -> None:
    network, shared = MemoryNetwork(), sharded()
    async with (
        peer(network, "left", models=[shared]) as left,
        peer(network, "right", models=[shared], peers=["left"]) as right,
    ):
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        await right.follow(shared, shards=[0])
        await right.synced(timeout_s=60)
        await left.synced(timeout_s=60)
