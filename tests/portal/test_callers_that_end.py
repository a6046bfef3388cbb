"""A caller that ends, a loop that is closed, a block that is left elsewhere: nothing half done is written, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

import debros
import debros.asyncio
from debros import ArgumentError, ClosedError, Field, Model, model
from debros.portal import bridge, threads
from tests.support.threads import SOON_S, in_thread


@model(name="LastNote")
class Note(Model):
    title: Field[str]


def open_calls(db: debros.Blocking) -> int:
    """How many tasks the node's loop keeps for callers, but this one."""

    async def count() -> int:
        await trio.testing.wait_all_tasks_blocked()
        return len(trio.lowlevel.current_task().parent_nursery.child_tasks) - 1  # type: ignore[union-attr]  # the portal's

    return db.run(count())


def test_a_thread_that_ends_leaves_nothing_in_the_nodes_loop() -> None:
    with debros.blocking(":memory:", models=[Note]) as db:
        for _ in range(5):
            assert in_thread(lambda: db.run(Note.count())) == 0
        assert open_calls(db) == 0


def test_a_thread_that_ends_inside_a_transaction_writes_nothing_and_keeps_nobody_from_writing() -> None:
    with debros.blocking(":memory:", models=[Note]) as db:
        block = db.using(db.node.transaction())
        in_thread(lambda: (block.__enter__(), db.run(Note.create(title="half"))))
        db.run(Note.create(title="whole"))
        assert [note.title for note in db.run(Note.all())] == ["whole"]
        with pytest.raises(ClosedError, match="has ended, and the block was left with an error"):
            block.__exit__(None, None, None)


def test_a_block_is_left_from_any_thread_while_the_one_that_entered_it_goes_on() -> None:
    with debros.blocking(":memory:", models=[Note]) as db:
        block = db.using(db.node.transaction())
        block.__enter__()
        db.run(Note.create(title="a"))
        in_thread(lambda: block.__exit__(None, None, None))
        assert in_thread(lambda: db.run(Note.count())) == 1
        db.run(Note.create(title="b"))
        assert db.run(Note.count()) == 2


@asynccontextmanager
async def told(ends: list[str], name: str) -> AsyncIterator[None]:
    yield
    ends.append(name)


def test_an_outer_block_is_not_left_before_the_inner_one() -> None:
    ends: list[str] = []
    with debros.blocking(":memory:", models=[Note]) as db:
        outer, inner = db.using(told(ends, "outer")), db.using(told(ends, "inner"))
        outer.__enter__()
        inner.__enter__()
        with pytest.raises(ArgumentError, match="has to be left first"):
            outer.__exit__(None, None, None)
        assert ends == []
        inner.__exit__(None, None, None)
        assert ends == ["inner"]


def test_a_task_of_asyncio_that_ends_inside_a_transaction_writes_nothing() -> None:
    async def main() -> None:
        async with debros.asyncio.open(":memory:", models=[Note]) as db:
            block = db.using(db.node.transaction())

            async def enters() -> None:
                await block.__aenter__()
                await db.run(Note.create(title="half"))

            await asyncio.create_task(enters())
            await db.run(Note.create(title="whole"))
            assert [note.title for note in await db.run(Note.all())] == ["whole"]
            with pytest.raises(ClosedError, match="has ended, and the block was left with an error"):
                await asyncio.wait_for(block.__aexit__(None, None, None), SOON_S)

    asyncio.run(main())


def test_leaving_a_block_that_does_not_end_can_be_cancelled() -> None:
    @asynccontextmanager
    async def waits() -> AsyncIterator[None]:
        yield
        await trio.sleep_forever()

    async def main() -> None:
        async with debros.asyncio.open(":memory:", models=[Note]) as db:

            async def uses() -> None:
                async with db.using(waits()):
                    pass

            task = asyncio.create_task(uses())
            for _ in range(3):  # so that it leaves, or is about to
                await db.run(Note.count())
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=SOON_S)
            assert done, "it waits for ever"
            assert task.cancelled()

    asyncio.run(main())


def test_a_loop_that_is_closed_with_a_call_in_flight_does_not_end_the_node() -> None:
    with debros.blocking(":memory:", models=[Note]) as blocking:
        abandoned = bridge.Bridge(blocking._portal)  # as a node opened by another asyncio loop
        go = threading.Event()

        async def waits() -> None:
            await trio.to_thread.run_sync(go.wait)

        def abandons() -> None:
            loop = asyncio.new_event_loop()
            task = loop.create_task(abandoned.run(waits()))
            loop.run_until_complete(asyncio.sleep(0.01))
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio would complain, with reason
            loop.close()

        in_thread(abandons)
        go.set()
        assert blocking.run(Note.count()) == 0
        blocking.run(Note.create(title="a"))
        assert blocking.run(Note.count()) == 1


def stuck(begun: threading.Event, ended: list[str]) -> Any:
    """As `debros.open` of a home that takes very long to open."""

    @asynccontextmanager
    async def opening(*args: object) -> AsyncIterator[Any]:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.append("no further")
        yield

    return opening


def test_an_opening_that_is_cancelled_goes_no_further() -> None:
    begun, ended = threading.Event(), list[str]()

    async def main() -> None:
        task = asyncio.create_task(bridge._bridged(stuck(begun, ended))().__aenter__())
        await asyncio.to_thread(begun.wait, SOON_S)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=SOON_S)
        assert done, "it waits for ever"
        assert task.cancelled()
        assert ended == ["no further"]

    asyncio.run(main())


def test_nor_does_one_that_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = threading.Event(), list[str]()

    class Interrupted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            begun.wait(SOON_S)
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(threads, "threading", SimpleNamespace(Event=Interrupted))
        with pytest.raises(KeyboardInterrupt):
            threads._blocking(stuck(begun, ended))().__enter__()
    assert ended == ["no further"]


def test_a_home_whose_opening_was_cancelled_opens(tmp_path: Path) -> None:
    async def main() -> None:
        opening = debros.asyncio.open(tmp_path, models=[Note])
        task = asyncio.create_task(opening.__aenter__())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, SOON_S)
        async with debros.asyncio.open(tmp_path, models=[Note]) as db:
            assert await db.run(Note.count()) == 0

    asyncio.run(main())
