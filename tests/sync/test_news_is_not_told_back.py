"""What a peer just told is not told back to it: a write costs one request, however many follow."""

from __future__ import annotations

import trio

from debros.net.memory import MemoryNetwork
from debros.sync.budget import Conduct
from debros.sync.links import Account, Link
from tests.support.peers import in_virtual_time, peer
from tests.sync.test_two_nodes import models

WRITES = 10


@in_virtual_time
async def test_a_write_that_both_have_afterwards_costs_one_request() -> None:
    network, both = MemoryNetwork(), models()
    thing = both[0]
    async with peer(network, "left", models=both) as left, peer(network, "right", models=both, peers=["left"]) as right:
        await right.synced(timeout_s=60)
        await left.synced(timeout_s=60)
        requests = network.requests
        for n in range(WRITES):
            with left.current():
                await thing.create(title=f"{n}")
            await trio.sleep(0.2)  # of virtual time, and short of the period of repair
        assert network.requests - requests == WRITES
        assert await left.fingerprint() == await right.fingerprint()


@in_virtual_time
async def test_what_was_written_here_meanwhile_is_told_at_once() -> None:
    network, both = MemoryNetwork(), models()
    thing = both[0]
    async with peer(network, "left", models=both) as left, peer(network, "right", models=both, peers=["left"]) as right:
        await right.synced(timeout_s=60)
        for n in range(WRITES):
            with left.current():
                await thing.create(title=f"left {n}")
            with right.current():
                await thing.create(title=f"right {n}")
        await trio.sleep(0.5)
        assert await left.fingerprint() == await right.fingerprint()


def test_a_log_that_the_peer_is_telling_of_is_compared_behind_its_answer() -> None:
    link, told, other = Link("peer", Account(Conduct(0.0)), bytes(16)), bytes(32), bytes([1]) * 32
    for log_id in (told, other):
        link.lot(log_id)
    with link.hearing(told):
        assert link.next_due(9) == ([other], False)
        assert link.next_due(9) == ([], False)
    assert link.next_due(9) == ([told], False)


def test_a_log_with_news_is_compared_whatever_the_peer_is_telling() -> None:
    link, told = Link("peer", Account(Conduct(0.0)), bytes(16)), bytes(32)
    link.lot(told).fresh.append(None)  # type: ignore[arg-type]  # an entry of this node
    with link.hearing(told):
        assert link.next_due(9) == ([told], True)


def test_logs_without_news_are_compared_together_and_a_few_others_at_once_in_their_turn() -> None:
    link = Link("peer", Account(Conduct(0.0)), bytes(16))
    logs = [bytes([n]) * 32 for n in range(7)]
    for log_id in logs:
        link.lot(log_id)
    link.lots[logs[0]].fresh.append(None)  # type: ignore[arg-type]  # an entry of this node
    link.lots[logs[2]].differs = link.lots[logs[5]].differs = True
    assert [link.next_due(3) for _ in range(5)] == [
        ([logs[0], logs[2]], True),  # of the first three
        ([logs[1], logs[3], logs[4]], False),
        ([logs[5]], True),
        ([logs[6]], False),
        ([], False),
    ]
