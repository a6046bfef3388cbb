"""A link that always has something to compare still greets its peer, and asks for what nobody sends only now and then."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from debros.identity.keys import Identity
from debros.net.memory import MemoryNetwork
from debros.node import Debros
from debros.replica.replica import Replica
from debros.replica.store import Store
from debros.sync import serving
from debros.sync.sync import PERIOD_S
from tests.support.peers import in_virtual_time, peer
from tests.sync.test_two_nodes import models

DELAY_S = 0.005  # of the network


@asynccontextmanager
async def always_writing(node: Debros, thing: Any) -> AsyncIterator[None]:
    """Write more often than a peer can answer, within the block."""

    async def write() -> None:
        while True:
            with node.current():
                await thing.create(title="more")
            await trio.sleep(DELAY_S / 2)  # of virtual time

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        yield
        nursery.cancel_scope.cancel()


@in_virtual_time
async def test_a_log_that_is_new_is_shared_while_somebody_writes_all_the_time() -> None:
    network, both, owner = MemoryNetwork(), models(), Identity.generate()
    network.faults.delay_s = (DELAY_S, DELAY_S)
    async with peer(network, "left", models=both) as left, peer(network, "right", models=both, peers=["left"]) as right:
        await right.synced(timeout_s=60)
        async with always_writing(left, both[0]):
            await trio.sleep(1)
            await left.follow(owner.did)
            async with left.acting_as(owner):
                await both[1].create(text="new")
            await left.synced(timeout_s=5)


@in_virtual_time
async def test_what_a_peer_cannot_send_is_not_asked_for_whenever_another_log_is_written_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, both, owner, asked = MemoryNetwork(), models(), Identity.generate(), list[Replica]()
    network.faults.delay_s = (DELAY_S, DELAY_S)
    entries = serving.entries

    async def rotted(store: Store, replica: Replica, digests: list[bytes]) -> AsyncGenerator[bytes, None]:
        if replica.manifest.scope == "user":
            asked.append(replica)
            return
        async for frame in entries(store, replica, digests):
            yield frame

    async with peer(network, "left", models=both) as left, peer(network, "right", models=both, peers=["left"]) as right:
        await left.follow(owner.did)
        await left.synced(timeout_s=60)
        monkeypatch.setattr(serving, "entries", rotted)
        async with right.acting_as(owner):
            await both[1].create(text="rotted")
        for link in right.met.sync.links.values():  # type: ignore[union-attr]
            for lot in link.lots.values():
                lot.fresh = []  # as if the offer were lost
        async with always_writing(left, both[0]):
            await trio.sleep(4 * PERIOD_S)
        assert 0 < len(asked) < 20


@in_virtual_time
async def test_the_first_record_of_a_user_who_is_followed_comes_at_once() -> None:
    network, both, owners = MemoryNetwork(), models(), [Identity.generate() for _ in range(4)]
    network.faults.delay_s = (DELAY_S, DELAY_S)
    async with peer(network, "left", models=both) as left, peer(network, "right", models=both, peers=["left"]) as right:
        for owner in owners:
            await right.follow(owner.did)
        await right.synced(timeout_s=60)
        for n, owner in enumerate(owners):
            async with left.acting_as(owner):
                await both[1].create(text="first")
            if n % 2:
                await right.synced(timeout_s=60)
            else:
                await trio.sleep(20 * DELAY_S)
            async with right.acting_as(owner):
                assert await both[1].query().count() == 1
