"""Many subscribers, some of them slow: writers do not notice, and what waits for a slow one is its place in the log."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from debros import Field, Model, field, model
from debros.net.memory import MemoryNetwork
from tests.support.events import told
from tests.support.live import Follower
from tests.support.nodes import a_node
from tests.support.peers import in_virtual_time, peer


@model(name="ManyNote")
class Note(Model):
    key: Field[str] = field(default="", index=True)
    n: Field[int] = field(default=0)


async def test_of_a_thousand_subscribers_one_is_stalled_and_nobody_else_notices() -> None:
    async with a_node(Note) as node, AsyncExitStack() as stack:
        stalled = await stack.enter_async_context(node.events.subscribe(Note))
        heard = [0] * 999
        nursery = await stack.enter_async_context(trio.open_nursery())

        async def follow(n: int, events: Any) -> None:
            async for _ in events:
                heard[n] += 1

        for n in range(999):
            nursery.start_soon(follow, n, await stack.enter_async_context(node.events.subscribe(Note)))
        await wait_all_tasks_blocked()
        for n in range(5):
            await Note.create(n=n)
        await wait_all_tasks_blocked()
        assert set(heard) == {5}
        assert stalled.lag == 5
        assert not stalled._ready  # nothing is kept for it
        nursery.cancel_scope.cancel()
        assert [event.row.n for event in await told(stalled)] == [0, 1, 2, 3, 4]


async def test_a_subscriber_far_behind_reads_the_log_while_others_follow_its_end() -> None:
    async with a_node(Note) as node, node.events.subscribe(Note) as behind, node.events.subscribe(Note) as near:
        notes = await Note.create_many([{"n": n} for n in range(5)])
        for turn in range(200):
            await notes[turn % 5].update(n=turn + 100)
            if turn % 10 == 0:
                assert (await told(near))[-1].row.n == turn + 100
        await told(near)
        found = await told(behind)
        assert len(found) == 205
        assert [event.row.n for event in found[5:]] == [turn + 100 for turn in range(200)]
        assert [event.changes["n"][0] for event in found[5:]] == [*range(5), *(turn + 100 for turn in range(195))]


async def test_of_many_live_queries_on_different_keys_a_write_marks_the_one_it_concerns() -> None:
    async with a_node(Note), AsyncExitStack() as stack:
        views = [await stack.enter_async_context(Note.where(Note.key == str(n)).live()) for n in range(300)]
        await Note.create(key="7")
        assert [n for n, view in enumerate(views) if view._watch.changed] == [7]
        assert await Follower(views[7]).catch_up() == ["added"]


@in_virtual_time
async def test_events_and_live_views_are_complete_after_a_partition_and_a_restart() -> None:
    network = MemoryNetwork()
    async with peer(network, "a", models=[Note]) as a, a.events.subscribe(Note) as events:
        with a.current():
            async with Note.query().live() as view:
                follower = Follower(view)
                async with peer(network, "b", peers=["a"], models=[Note]) as b:
                    await trio.sleep(1)
                    network.partition({"a"}, {"b"})
                    with b.current():
                        for n in range(3):
                            await Note.create(id=f"b{n}", n=n)
                    await Note.create(id="a0")
                    await trio.sleep(60)
                    assert [event.id for event in await told(events)] == ["a0"]
                    network.heal()
                    await b.synced(timeout_s=120)
                    await a.synced(timeout_s=120)
                assert [event.id for event in await told(events)] == ["b0", "b1", "b2"]
                await follower.catch_up()
                assert {note.id for note in follower.copy} == {"a0", "b0", "b1", "b2"}
