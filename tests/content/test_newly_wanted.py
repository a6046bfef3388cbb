"""A record that arrives and refers to content which a rule wants is followed by that content at once, not at the next sweep."""

from __future__ import annotations

from random import Random
from typing import Any

import trio

from debros import Field, File, Model, fixed, model
from debros.net.memory import MemoryNetwork
from debros.node import Debros
from tests.support.peers import in_virtual_time, peer

SELDOM: dict[str, Any] = {"sweep_s": 1e6}  # no sweep but the first
SOON_S = 20.0


@model(scope="global", pinning=fixed(), name="Picture")
class Picture(Model):
    title: Field[str]
    image: Field[File]


@model(scope="global", name="Attachment")
class Attachment(Model):
    image: Field[File]


async def held(db: Debros, files: list[File]) -> list[bool]:
    return [await db.pins.is_held(file.link) for file in files]


@in_virtual_time
async def test_content_comes_with_the_records_that_a_rule_keeps_and_not_with_others() -> None:
    network, models = MemoryNetwork(), [Picture, Attachment]
    async with (
        peer(network, "left", models=models, settings=SELDOM) as left,
        peer(network, "right", models=models, peers=["left"], settings=SELDOM) as right,
    ):
        await right.synced(timeout_s=60)
        await trio.sleep(120)
        with left.current():
            files = [await File.add(Random(n).randbytes(200_000)) for n in range(6)]
            for file in files[:5]:
                await Picture.create(title=file.cid, image=file)
            await Attachment.create(image=files[5])
        begun = trio.current_time()
        while not all(await held(right, files[:5])):
            assert trio.current_time() - begun < SOON_S
            await trio.sleep(0.5)
        assert await held(right, files[5:]) == [False]  # its model has no rule: it comes when it is asked for


@in_virtual_time
async def test_many_records_that_come_one_after_another_are_looked_at_together() -> None:
    network = MemoryNetwork()
    async with (
        peer(network, "left", models=[Picture], settings=SELDOM) as left,
        peer(network, "right", models=[Picture], peers=["left"], settings=SELDOM) as right,
    ):
        await right.synced(timeout_s=60)
        await trio.sleep(120)
        looked = 0
        learn = right.pins.learn

        async def count() -> None:
            nonlocal looked
            looked += 1
            await learn()

        right.pins.learn = count  # type: ignore[method-assign]  # counted here
        with left.current():
            file = await File.add(b"one picture")
            for n in range(200):
                await Picture.create(title=str(n), image=file)
                await trio.sleep(0.01)
        await trio.sleep(SOON_S)
        assert await held(right, [file]) == [True]
        assert 1 <= looked <= 8


@in_virtual_time
async def test_content_that_failed_is_tried_again_when_a_peer_comes() -> None:
    network = MemoryNetwork()
    async with (
        peer(network, "left", models=[Picture], settings=SELDOM) as left,
        peer(network, "right", models=[Picture], peers=["left"], settings=SELDOM) as right,
    ):
        network.partition(["left"], ["right"])
        with left.current():
            file = await File.add(b"far away")
        await right.pins.pin(file.cid)
        await trio.sleep(1800)
        status = await right.pins.status(file.cid)
        assert status.state == "failed"
        assert (status.next_try_s or 0) > 3600
        network.heal()
        begun = trio.current_time()
        while not await right.pins.is_pinned(file.cid):
            assert trio.current_time() - begun < 120
            await trio.sleep(5)
