"""Nodes that share many logs compare hundreds of them in one request, and look closer only at those that differ."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import trio

from debros.errors import ProtocolError
from debros.identity.keys import Identity
from debros.net.memory import Faults, MemoryNetwork
from debros.node import Debros
from debros.sync import wire
from debros.sync.sync import PERIOD_S
from tests.support.peers import in_virtual_time, peer
from tests.sync.test_two_nodes import models

OWNERS = 40


async def written(node: Debros, note: Any, owners: list[Identity], text: str) -> None:
    for owner in owners:
        async with node.acting_as(owner):
            await note.create(text=text)


async def follow(node: Debros, owners: list[Identity]) -> None:
    for owner in owners:
        await node.follow(owner.did)


@asynccontextmanager
async def two_that_share() -> AsyncIterator[tuple[MemoryNetwork, Any, list[Identity], Debros, Debros]]:
    """Two nodes that are synced: the network, the model of notes, who has one, and the nodes."""
    network, both = MemoryNetwork(), models()
    owners = [Identity.generate() for _ in range(OWNERS)]
    async with peer(network, "left", models=both) as left, peer(network, "right", models=both, peers=["left"]) as right:
        await written(left, both[1], owners, "first")
        await follow(right, owners)
        await right.synced(timeout_s=60)
        yield network, both[1], owners, left, right


@in_virtual_time
async def test_many_logs_that_are_equal_cost_one_request_a_period() -> None:
    async with two_that_share() as (network, _, _, left, right):
        assert await left.fingerprint() == await right.fingerprint()
        await trio.sleep(2 * PERIOD_S)
        requests, sent, periods = network.requests, network.sent_bytes, 10
        await trio.sleep(periods * PERIOD_S)
        each = (network.requests - requests) / periods
        assert each <= 2 * 3  # of both sides: a hello, a comparison, and one more where periods are short
        assert (network.sent_bytes - sent) / periods <= 4 * (OWNERS + 3) * (wire.MARK + wire.DIGEST + wire.PRINT)


@in_virtual_time
async def test_logs_of_new_users_come_several_at_once_where_answers_take_long() -> None:
    network, both, trip_s = MemoryNetwork(), models(), 0.2
    owners = [Identity.generate() for _ in range(OWNERS)]
    async with peer(network, "left", models=both) as left, peer(network, "right", models=both, peers=["left"]) as right:
        await written(left, both[1], owners, "first")
        await follow(right, owners)
        network.faults.delay_s = (trip_s / 2, trip_s / 2)
        begun_s = trio.current_time()
        await right.synced(timeout_s=600)
        assert await left.fingerprint() == await right.fingerprint()
        assert trio.current_time() - begun_s < OWNERS * trip_s  # each of them takes three


@in_virtual_time
async def test_only_logs_that_differ_are_looked_at() -> None:
    async with two_that_share() as (network, note, owners, left, right):
        network.partition(["left"], ["right"])
        await written(left, note, owners[:3], "second")
        for link in left.met.sync.links.values():  # type: ignore[union-attr]
            for lot in link.lots.values():
                lot.fresh = []  # as if all offers were lost
        network.heal()
        requests = network.requests
        await right.synced(timeout_s=60)
        assert await left.fingerprint() == await right.fingerprint()
        assert network.requests - requests < OWNERS


@in_virtual_time
async def test_a_log_that_the_peer_gave_up_is_not_compared_any_more() -> None:
    async with two_that_share() as (_, note, owners, left, right):
        for owner in owners[: OWNERS // 2]:
            await right.unfollow(owner.did)
        await written(left, note, owners, "second")
        await left.synced(timeout_s=60)
        await trio.sleep(4 * PERIOD_S)
        [link] = left.met.sync.links.values()  # type: ignore[union-attr]
        kept = {replica.log_id for replica in right.met.sync.kept_replicas()}  # type: ignore[union-attr]
        assert set(link.lots) <= kept
        for n, owner in enumerate(owners):
            async with right.acting_as(owner):
                assert await note.query().count() == (1 if n < OWNERS // 2 else 2)


@pytest.mark.parametrize("seed", range(8))
@in_virtual_time
async def test_whoever_writes_parts_and_unfollows_all_have_all_in_the_end(seed: int) -> None:
    random, network, both = Random(seed), MemoryNetwork(), models()
    owners = [Identity.generate() for _ in range(random.choice([3, 12, 40, 300]))]
    home_of = {owner.did: random.randrange(3) for owner in owners}
    notes = dict.fromkeys(home_of, 0)

    async with (
        peer(network, "a", models=both) as a,
        peer(network, "b", models=both, peers=["a"]) as b,
        peer(network, "c", models=both, peers=["a", "b"]) as c,
    ):
        nodes = [a, b, c]
        for node in nodes:
            await follow(node, owners)
        for _ in range(30):
            match random.choice(["write", "write", "write", "share", "part", "heal", "unfollow", "wait"]):
                case "write":
                    for owner in random.choices(owners, k=random.choice([1, 5])):
                        await written(nodes[home_of[owner.did]], both[1], [owner], "text")
                        notes[owner.did] += 1
                case "share":
                    with random.choice(nodes).current():
                        await both[0].create(title="title")
                case "part":
                    names = random.sample("abc", 3)
                    network.partition(names[:1], names[1:])
                case "heal":
                    network.heal()
                case "unfollow":
                    node, owner = random.choice(nodes), random.choice(owners)
                    await node.unfollow(owner.did)
                    await trio.sleep(random.random())
                    await node.follow(owner.did)
                case _:
                    await trio.sleep(random.random() * PERIOD_S)
        network.heal()
        await trio.sleep(2 * PERIOD_S)
        for node in (*nodes, *nodes):
            await node.synced(timeout_s=200)
        assert len({await node.fingerprint() for node in nodes}) == 1
        for node in nodes:
            for owner in owners:
                async with node.acting_as(owner):
                    assert await both[1].query().count() == notes[owner.did]


def test_a_comparison_reads_back_and_halves_of_one_are_none() -> None:
    compare = wire.Compare([bytes(32), bytes([1]) * 32], [bytes(16), bytes([2]) * 16])
    assert wire.parse_request(wire.encode_request(compare)) == compare
    with pytest.raises(ProtocolError):
        wire.parse_request(wire.encode_request(wire.Compare(compare.logs, compare.prints[:1])))
    many = wire.Compare([bytes(32)] * (wire.MAX_COMPARED + 1), [bytes(16)] * (wire.MAX_COMPARED + 1))
    with pytest.raises(ProtocolError):
        wire.parse_request(wire.encode_request(many))
    verdict = wire.Verdict([0], [1])
    assert wire.parse_verdict(wire.encode_verdict(verdict), 2) == verdict
    with pytest.raises(ProtocolError):
        wire.parse_verdict(wire.encode_verdict(verdict), 1)
    with pytest.raises(ProtocolError):
        wire.parse_verdict(wire.encode_receipt(None), 1)


@in_virtual_time
async def test_who_waits_is_not_kept_waiting_by_users_who_sign_up_meanwhile() -> None:
    network, both = MemoryNetwork(faults=Faults(delay_s=(0.1, 0.1))), models()
    async with (
        peer(network, "left", models=both) as left,
        peer(network, "right", models=both, peers=["left"]) as right,
        trio.open_nursery() as nursery,
    ):
        first = Identity.generate()
        await written(left, both[1], [first], "first")
        await right.synced(timeout_s=60)
        await right.follow(first.did)

        async def sign_up() -> None:
            while True:
                await written(left, both[1], [Identity.generate()], "later")
                await trio.sleep(0.1)

        nursery.start_soon(sign_up)
        for node in (left, right):
            await node.synced(timeout_s=60)
        with right.current():
            assert [note.text for note in await both[1].query().all_users().all()] == ["first"]
        nursery.cancel_scope.cancel()
