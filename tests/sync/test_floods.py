"""Who asks without end is cut off; who has much to say is not taken for one, for honest nodes ask no faster than is borne."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from debros.errors import TransportError
from debros.net.memory import Faults, MemoryNetwork, MemoryTransport
from debros.sync import answering, budget, wire
from debros.sync.answering import AHEAD_S
from debros.sync.asking import Asker
from debros.sync.budget import BURST_S, FLOOD_POINTS, MOST_ASKED, MOST_POINTS, MOST_WAITING, REQUESTS_PER_S
from debros.sync.wire import NONCE, Hello
from tests.support.peers import in_virtual_time, peer
from tests.sync.test_hostile_peers import silent
from tests.sync.test_two_nodes import models

REFUSALS = MOST_POINTS / FLOOD_POINTS  # that end in a ban


async def flood(liar: MemoryTransport, victim: Any, streams: int) -> int:
    """Ask on some streams until the connection ends; return how many requests were answered."""
    answered = 0

    async def ask() -> None:
        nonlocal answered
        while not victim.met.sync.account("liar").conduct.bans:
            try:
                await Asker(liar, "left").one(Hello(bytes(NONCE), [], None))
                answered += 1
            except TransportError:
                await trio.sleep(0.001)

    async with trio.open_nursery() as nursery:
        for _ in range(streams):
            nursery.start_soon(ask)
    return answered


@in_virtual_time
async def test_a_flood_is_cut_off_once_its_budget_is_spent() -> None:
    network = MemoryNetwork(faults=Faults(delay_s=(0.001, 0.001)))
    async with peer(network, "left", models=models()) as left, network.host("liar") as liar:
        liar.handle(wire.PROTOCOL, silent)
        await liar.connect("/memory/left")
        begun_s = trio.current_time()
        answered = await flood(liar, left, 4)
        took_s = trio.current_time() - begun_s
        assert took_s < BURST_S
        assert answered <= REQUESTS_PER_S * (BURST_S + took_s) + 1
        await trio.sleep(0.1)
        assert "liar" not in left.met.transport.connected


@in_virtual_time
async def test_requests_beyond_the_budget_are_refused_and_a_few_of_them_end_in_a_ban() -> None:
    network = MemoryNetwork()
    async with peer(network, "left", models=models()) as left, network.host("liar") as liar:
        liar.handle(wire.PROTOCOL, silent)
        await liar.connect("/memory/left")
        conduct = left.met.sync.account("liar").conduct
        for n in range(int(REFUSALS)):
            assert conduct.bans == 0
            conduct.requests.left = 0
            conduct.requests.at_s = left.met.sync.now_s()
            with pytest.raises(TransportError):
                await Asker(liar, "left").one(Hello(bytes(NONCE), [], None))
            assert conduct.points(left.met.sync.now_s()) > n * FLOOD_POINTS or conduct.bans
        assert conduct.bans == 1


@in_virtual_time
async def test_a_node_with_more_to_say_than_is_borne_waits_instead_of_being_taken_for_a_flood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(budget, "REQUESTS_PER_S", 20.0)
    monkeypatch.setattr(budget, "ASKED_PER_S", 8.0)
    network, both = MemoryNetwork(faults=Faults(delay_s=(0.001, 0.001))), models()
    async with peer(network, "left", models=both) as left, peer(network, "right", models=both, peers=["left"]) as right:
        await right.synced(timeout_s=60)
        with left.current():
            for n in range(500):
                await both[0].create(title=f"{n}")
                await trio.sleep(0.03)
        await right.synced(timeout_s=60)
        for one, other in ((left, "right"), (right, "left")):
            conduct = one.met.sync.account(other).conduct
            assert conduct.points(one.met.sync.now_s()) == 0
            assert conduct.requests.left > 0
        assert await left.fingerprint() == await right.fingerprint()


@in_virtual_time
async def test_who_asks_ahead_of_time_waits_as_long_as_each_answer_took_while_somebody_writes_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, both = MemoryNetwork(), models()
    answer = answering._answer

    async def slow(*asked: Any) -> bytes:
        await trio.sleep(0.01)
        return await answer(*asked)

    monkeypatch.setattr(answering, "_answer", slow)
    async with peer(network, "left", models=both) as left, network.host("liar") as liar:
        liar.handle(wire.PROTOCOL, silent)
        await liar.connect("/memory/left")
        requests = left.met.sync.account("liar").conduct.requests

        async def four_took_s() -> float:
            begun_s = trio.current_time()
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(Asker(liar, "left").one, Hello(bytes(NONCE), [], None))
            return trio.current_time() - begun_s

        with left.current():
            await both[0].create(title="somebody writes")
        assert await four_took_s() == pytest.approx(0.04)
        requests.left /= 2
        assert await four_took_s() == pytest.approx(0.04 + 4 * 0.01)
        await trio.sleep(2)
        assert requests.spent_s() > AHEAD_S
        assert await four_took_s() == pytest.approx(0.04)  # nobody writes any more


@in_virtual_time
async def test_a_crowd_of_requests_is_a_flood_however_slow_the_node_is(monkeypatch: pytest.MonkeyPatch) -> None:
    network = MemoryNetwork()
    answer = answering._answer

    async def slow(*asked: Any) -> bytes:
        await trio.sleep(1)
        return await answer(*asked)

    monkeypatch.setattr(answering, "_answer", slow)
    async with peer(network, "left", models=models()) as left, network.host("liar") as liar:
        liar.handle(wire.PROTOCOL, silent)
        await liar.connect("/memory/left")
        conduct = left.met.sync.account("liar").conduct
        begun_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(MOST_WAITING + 1):
                nursery.start_soon(Asker(liar, "left").one, Hello(bytes(NONCE), [], None))
        assert conduct.points(left.met.sync.now_s()) == 0
        assert trio.current_time() - begun_s == pytest.approx(MOST_WAITING + 1)
        assert await flood(liar, left, 2 * MOST_WAITING) <= MOST_WAITING + 1
        assert conduct.bans == 1


@in_virtual_time
async def test_a_node_has_few_requests_with_a_peer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network, both = MemoryNetwork(), models()
    answer = answering._answer
    at_once: list[int] = []

    async def slow(sync: Any, *asked: Any) -> bytes:
        at_once.append(sync.account("right").turn.statistics().tasks_waiting + 1)
        await trio.sleep(0.1)
        return await answer(sync, *asked)

    async with peer(network, "left", models=both) as left, peer(network, "right", models=both, peers=["left"]) as right:
        with right.current():
            made = await both[0].create(title="mine")
        await right.synced(timeout_s=60)
        monkeypatch.setattr(answering, "_answer", slow)
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(made.settled)
        assert max(at_once) == MOST_ASKED
        assert left.met.sync.account("right").conduct.points(left.met.sync.now_s()) == 0
