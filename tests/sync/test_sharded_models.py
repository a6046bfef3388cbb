"""Shards replicate each for itself: a resize reaches peers by itself, and whoever follows some shards gets those."""

from __future__ import annotations

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
