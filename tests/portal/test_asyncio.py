"""The asyncio facade: the same node, from asyncio programs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import pytest
import trio

import debros
from debros import Field, Identity, Model, model


@model(name="AsyncioNote")
class Note(Model):
    title: Field[str]


@model(scope="user", name="AsyncioDiary")
class Diary(Model):
    line: Field[str]


def with_asyncio(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @wraps(test)
    def run() -> None:
        asyncio.run(test())

    del run.__wrapped__  # type: ignore[attr-defined]  # else pytest takes it for a test of trio's
    return run


@with_asyncio
async def test_calls_of_many_tasks_run_side_by_side() -> None:
    async with debros.asyncio.open(":memory:", models=[Note]) as db:
        await asyncio.gather(*[db.run(Note.create(title=str(n))) for n in range(20)])
        assert len(await db.run(Note.all())) == 20
        assert [note.title async for note in db.iterate(Note.query().order_by(Note.title.asc()).limit(2).stream())] == [
            "0",
            "1",
        ]


@with_asyncio
async def test_a_transaction_belongs_to_the_task_that_entered_it() -> None:
    async with debros.asyncio.open(":memory:", models=[Note]) as db:
        async with db.using(db.node.transaction()):
            await db.run(Note.create(title="a"))
            assert await asyncio.create_task(db.run(Note.count())) == 0
            assert await db.run(Note.count()) == 1
        with pytest.raises(ZeroDivisionError):
            await write_and_raise(db)
        assert await db.run(Note.count()) == 1


async def write_and_raise(db: debros.Bridge) -> None:
    async with db.using(db.node.transaction()):
        await db.run(Note.create(title="never"))
        raise ZeroDivisionError


@with_asyncio
async def test_a_cancelled_task_cancels_its_call_and_waits_for_its_end() -> None:
    ended: list[str] = []

    async def forever() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            ended.append("cancelled")
            raise

    async with debros.asyncio.open(":memory:", models=[Note]) as db:
        task = asyncio.create_task(db.run(forever()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended in (["cancelled"], [])  # it may not have begun
        assert await db.run(Note.count()) == 0


@with_asyncio
async def test_live_views_and_errors_come_through() -> None:
    async with debros.asyncio.open(":memory:", models=[Note]) as db:
        async with db.using(Note.query().live()) as view:
            await db.run(Note.create(title="a"))
            async for change in db.iterate(view):
                assert change.row.title == "a"
                break
        with pytest.raises(debros.NotFoundError):
            await db.run(Note.get("nobody"))
    with pytest.raises(debros.ConfigError):
        async with debros.asyncio.open("", models=[Note]):
            pass


@with_asyncio
async def test_tasks_that_are_started_while_somebody_is_acted_as_act_as_them_too() -> None:
    other = Identity.from_seed(bytes(32))
    async with debros.asyncio.open(":memory:", models=[Note, Diary]) as db:
        await db.run(Diary.create(line="the node's own"))
        async with db.using(db.node.acting_as(other)):
            await asyncio.wait_for(db.run(Diary.create(line="a")), 20)  # before Python 3.12 in a task of its own
            [_, made] = await asyncio.gather(db.run(Diary.create(line="b")), db.run(Diary.create(line="c")))
            assert made.meta.owner == other.did
            lines = [row.line for row in await asyncio.create_task(db.run(Diary.all()))]
            assert sorted(lines) == ["a", "b", "c"]

            async def nested() -> str | None:
                async with db.using(db.node.transaction()):
                    return (await db.run(Diary.create(line="d"))).meta.owner

            assert await asyncio.create_task(nested()) == other.did
        assert [row.line for row in await asyncio.create_task(db.run(Diary.all()))] == ["the node's own"]
