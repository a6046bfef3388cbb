"""Subscribers in a storm: across partitions, losses and power cuts they hear what the log says, in its order, and live queries end as fresh ones."""

from __future__ import annotations

import os
from functools import partial
from random import Random
from typing import Any

import pytest
import trio

from debros.errors import ClosedError, StorageError
from debros.net.memory import Faults
from debros.testing import deterministic
from debros.testing.workload import act, models
from debros.testing.world import Life, World
from tests.support.live import Follower

SEEDS = int(os.environ.get("STORMS", "6"))
STORM_S = 20.0


class Listener:
    """Somebody on one node who writes down what he hears, and goes on from his last cursor when the node is back."""

    def __init__(self, life: Life, model: Any) -> None:
        self.life, self.model = life, model
        self.cursor = "start"
        self.heard: list[tuple[Any, ...]] = []
        self.endings: list[Exception] = []

    async def listen(self) -> None:
        while True:
            while not self.life.is_up:
                await self.life.changed.wait()
            try:
                async with self.life.db.events.subscribe(self.model, since=self.cursor) as events:
                    async for event in events:
                        self.cursor = event.cursor
                        if not is_of_the_moment(event):
                            self.heard.append(what(event))
            except (ClosedError, StorageError) as error:  # the node died
                self.endings.append(error)
            await trio.sleep(0.1)


class Watcher:
    """Somebody who looks at the first few records by title, as a live query tells of them."""

    def __init__(self, life: Life, query: Any) -> None:
        self.life, self.query = life, query
        self.copy: Follower | None = None
        self.endings: list[Exception] = []

    async def watch(self) -> None:
        while True:
            while not self.life.is_up:
                await self.life.changed.wait()
            try:
                with self.life.db.current():
                    async with self.query.live() as view:
                        self.copy = Follower(view)
                        async for change in view:
                            self.copy.take(change)
            except (ClosedError, StorageError) as error:  # the node died
                self.endings.append(error)
            await trio.sleep(0.1)


def is_of_the_moment(event: Any) -> bool:
    """Whether it tells of a unique value claimed twice: who holds it is a matter of the moment, not of the log."""
    return event.kind == "conflict" and set(event.changes) == {"slug"}


def what(event: Any) -> tuple[Any, ...]:
    return event.cursor, event.kind, event.id, repr(event.changes)


async def storm(seed: int) -> int:
    random = Random(seed)
    faults = Faults(loss=random.uniform(0, 0.3), duplicate=random.uniform(0, 0.3), delay_s=(0.001, 0.05))
    async with World(seed, models=models(), nodes=3, faults=faults) as world, trio.open_nursery() as nursery:
        doc = world.models[0]
        listeners = [Listener(life, doc) for life in world.everybody]
        watchers = [
            Watcher(life, doc.query().order_by(doc.title.asc(), doc.id.asc()).limit(4)) for life in world.everybody
        ]
        for listener, watcher in zip(listeners, watchers, strict=True):
            nursery.start_soon(listener.listen)
            nursery.start_soon(watcher.watch)
        until_s = trio.current_time() + STORM_S
        async with trio.open_nursery() as storming:
            for life in world.everybody:
                storming.start_soon(act, world, life, Random(f"{seed} {life.name}"), until_s)
            storming.start_soon(weather, world, random, until_s)
        await world.settle()
        world.check()
        await trio.sleep(5)
        for listener, watcher in zip(listeners, watchers, strict=True):
            db = listener.life.db
            said = await everything(db, doc)
            assert len(said) >= 5
            assert list(dict.fromkeys(listener.heard)) == said
            with db.current():
                fresh = await watcher.query.all()
            assert watcher.copy is not None
            assert [record.id for record in watcher.copy.copy] == [record.id for record in fresh]
            assert [record.title for record in watcher.copy.copy] == [record.title for record in fresh]
            for at in random.sample(range(len(said)), 3):  # any cursor takes up exactly what came behind it
                assert await everything(db, doc, since=said[at][0]) == said[at + 1 :]
        nursery.cancel_scope.cancel()
    return sum(len(one.endings) for one in (*listeners, *watchers))


async def everything(db: Any, model: Any, since: str = "start") -> list[tuple[Any, ...]]:
    """Return what a node's log tells of a model behind a cursor."""
    found = []
    async with db.events.subscribe(model, since=since) as events:
        with trio.move_on_after(1):
            async for event in events:
                if not is_of_the_moment(event):
                    found.append(what(event))
    return found


async def weather(world: World, random: Random, until_s: float) -> None:
    """Cut the network and the power, now and then."""
    while trio.current_time() < until_s:
        await trio.sleep(random.uniform(1, 4))
        names = [life.name for life in world.everybody]
        match random.choice(["partition", "heal", "crash"]):
            case "partition":
                random.shuffle(names)
                world.network.partition(names[:1], names[1:])
            case "heal":
                world.network.heal()
            case "crash":
                name = random.choice(names)
                await world.crash(name)
                await trio.sleep(random.uniform(0.1, 3))
                await world.up(name)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_subscribers_hear_everything_in_order_and_live_queries_end_as_fresh_ones(seed: int) -> None:
    deterministic.run(partial(storm, seed), seed)


def test_a_storm_interrupts_subscribers() -> None:
    assert deterministic.run(partial(storm, 3), 3) > 0
