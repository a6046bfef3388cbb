"""Calls that forget the portal, or give it something else than it takes, say what to write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any

import pytest
import trio

import debros
import debros.asyncio
from debros import ArgumentError, Debros, Field, File, Identity, Model, model


@model(name="ElsewhereNote")
class Note(Model):
    title: Field[str]


FORGOTTEN: list[Callable[[], Any]] = [
    lambda: Note.create(title="a"),
    lambda: Note.create_many([{"title": "a"}]),
    lambda: Note.get("a"),
    lambda: Note.get_or_none("a"),
    lambda: Note.all(),
    lambda: Note.count(),
    lambda: Note.query().cache(60).all(),
    lambda: Note.where(Note.title == "a").update(title="b"),
    lambda: Note.upsert("a", title="b"),
    lambda: _entered(Note.query().live()),
]


async def _entered(block: Any) -> None:
    async with block:
        pass


def test_asyncio_callers_who_forget_run_are_told_so_and_nothing_happens() -> None:
    async def main() -> None:
        async with debros.asyncio.open(":memory:", models=[Note]) as db:
            for forgotten in FORGOTTEN:
                with pytest.raises(debros.NoNodeError, match=r"await db\.run"):
                    await forgotten()
            assert await db.run(Note.count()) == 0

    asyncio.run(main())


def test_a_task_that_does_not_come_from_the_block_as_a_web_frameworks_request_is_told_too() -> None:
    async def main() -> None:
        async with debros.asyncio.open(":memory:", models=[Note]) as db:
            note = await db.run(Note.create(title="a"))
            calls = [
                *FORGOTTEN,
                lambda: Note.get(note.id),
                lambda: note.update(title="b"),
                lambda: note.delete(),
                lambda: note.refresh(),
                lambda: note.history(),
                lambda: File.add(b"a"),
                lambda: _entered(db.node.transaction()),
                lambda: _entered(db.node.acting_as(Identity.generate())),
                lambda: _entered(db.node.events.subscribe(Note)),
            ]

            async def request() -> None:
                for forgotten in calls:
                    with pytest.raises(debros.NoNodeError, match=r"await db\.run"):
                        await forgotten()

            await asyncio.create_task(request(), context=Context())
            assert [one.title for one in await db.run(Note.all())] == ["a"]

    asyncio.run(main())


async def test_another_loop_of_trios_in_a_thread_is_told_so_and_the_way_back_works() -> None:
    async with debros.open(":memory:", models=[Note]):
        note = await Note.create(title="a")

        def elsewhere() -> None:
            for forgotten in [*FORGOTTEN, lambda: note.update(title="b")]:
                with pytest.raises(debros.NoNodeError, match=r"trio\.from_thread\.run"):
                    trio.run(forgotten)
            assert trio.from_thread.run(Note.count) == 1

        await trio.to_thread.run_sync(elsewhere)


def test_inside_using_a_forgotten_run_is_told_too() -> None:
    async def main() -> None:
        async with debros.asyncio.open(":memory:", models=[Note]) as db:
            async with db.using(db.node.transaction()):
                with pytest.raises(debros.NoNodeError):
                    await Note.create(title="a")
                await db.run(Note.create(title="b"))
            assert [note.title for note in await db.run(Note.all())] == ["b"]

    asyncio.run(main())


def test_records_are_made_where_the_calls_come_from() -> None:
    async def main() -> None:
        async with debros.asyncio.open(":memory:", models=[Note]) as db, db.using(Note.query().live()) as view:
            await db.run(Note(title="a").save())
            change = await db.run(anext(view))
            assert change.row.title == "a"
            assert [note.title for note in view.rows] == ["a"]

    asyncio.run(main())


@pytest.mark.parametrize("wrong", [Note.count, 5, None])
def test_run_takes_what_can_be_awaited(wrong: Any) -> None:
    with (
        debros.blocking(":memory:", models=[Note]) as db,
        pytest.raises(ArgumentError, match=r"db\.run\(Post\.count\(\)"),
    ):
        db.run(wrong)


def test_iterate_and_using_say_what_they_take() -> None:
    with debros.blocking(":memory:", models=[Note]) as db:
        with pytest.raises(ArgumentError, match=r"query\.stream\(\)"):
            list(db.iterate(5))  # type: ignore[arg-type]  # wrong on purpose
        with pytest.raises(ArgumentError, match=r"query\.live\(\)"), db.using(5):  # type: ignore[arg-type, var-annotated]  # wrong on purpose
            pass


ASKED_OF_THE_NODE: list[Callable[[Debros], Any]] = [
    lambda node: anext(aiter(Note.query().stream())),
    lambda node: anext(aiter(Note.query().batches(2))),
    lambda node: node.health(),
    lambda node: node.synced(timeout_s=1),
    lambda node: node.follow("did:key:x"),
    lambda node: node.unfollow("did:key:x"),
    lambda node: node.audit(),
    lambda node: node.fingerprint(),
    lambda node: node.import_car("x.car"),
    lambda node: node.export_car("x.car"),
    lambda node: node.events.publish("a.b", 1),
    lambda node: node.events.flush(),
    lambda node: _entered(node.events.present("room")),
    lambda node: node.pins.stats(),
    lambda node: node.pins.why("x"),
    lambda node: node.pins.sweep(),
]


def test_asyncio_callers_who_forget_run_of_the_nodes_own_calls_are_told_too() -> None:
    async def main() -> None:
        async with debros.asyncio.open(":memory:", models=[Note]) as db:
            await db.run(Note.create(title="a"))
            for forgotten in ASKED_OF_THE_NODE:
                with pytest.raises(debros.NoNodeError, match=r"await db\.run"):
                    await forgotten(db.node)

    asyncio.run(main())


def test_asyncio_callers_who_forget_iterate_are_told_too() -> None:
    async def main() -> None:
        async with debros.asyncio.open(":memory:", models=[Note]) as db:
            stream = Note.query().stream()
            assert [note async for note in db.iterate(stream)] == []
            async with (
                db.using(Note.query().live()) as view,
                db.using(db.node.events.subscribe(Note, since="start")) as events,
                db.using(db.node.events.subscribe("a.*")) as messages,
            ):
                for iterated in (stream, view, events, messages):
                    with pytest.raises(debros.NoNodeError, match=r"db\.iterate"):
                        await anext(aiter(iterated))
                with pytest.raises(debros.NoNodeError, match=r"await db\.run"):
                    await events.backlog()

    asyncio.run(main())


def test_a_block_of_asyncio_is_entered_once() -> None:
    async def main() -> None:
        block = debros.asyncio.open(":memory:", models=[Note])
        await _entered(block)
        with pytest.raises(ArgumentError, match=r"debros.asyncio.open\(...\)` for each block"):
            await _entered(block)

    asyncio.run(main())


def test_a_block_without_a_loop_is_entered_once() -> None:
    block = debros.blocking(":memory:", models=[Note])
    with block:
        pass
    with pytest.raises(ArgumentError, match=r"debros.blocking\(...\)` for each block"), block:
        pass


async def test_a_node_for_asyncio_is_not_opened_under_trio() -> None:
    with pytest.raises(debros.NoNodeError, match=r"async with debros.open\("):
        await _entered(debros.asyncio.open(":memory:", models=[Note]))


def test_asyncio_has_the_same_errors() -> None:
    async def main() -> None:
        async with debros.asyncio.open(":memory:", models=[Note]) as db:
            with pytest.raises(ArgumentError, match="call it"):
                await db.run(Note.count)  # type: ignore[arg-type]  # wrong on purpose
            with pytest.raises(ArgumentError):
                async for _ in db.iterate(5):  # type: ignore[arg-type]  # wrong on purpose
                    pass
            with pytest.raises(ArgumentError):
                await _entered(db.using(5))  # type: ignore[arg-type]  # wrong on purpose

    asyncio.run(main())
