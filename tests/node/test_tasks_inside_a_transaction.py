"""Tasks that write inside one transaction: none of them loses what it wrote while the transaction is written."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import debros
from debros import Field, Model, TransactionError, field, model
from debros.errors import ClosedError, StorageError
from debros.replica.ahead import Ahead
from tests.support.nodes import a_node


@model(scope="global")
class Leaf(Model):
    text: Field[str] = field(unique=True)
    likes: Field[int] = field(default=0, merge="counter")


async def texts() -> list[str]:
    return [leaf.text for leaf in await Leaf.query().order_by(Leaf.text.asc()).all()]


async def taken_back_beside(write: Leaf, *, depth: int = 1) -> None:
    """A transaction in which a task has a savepoint taken back, in which another one has saved a record meanwhile."""
    begun, written = trio.Event(), trio.Event()

    async def inside(left: int) -> None:
        async with debros.current_node().transaction():
            if left > 1:
                await inside(left - 1)
            else:
                await Leaf.create(text="inside")
                begun.set()
                await written.wait()
            if left == depth:
                raise KeyError

    async def takes_back() -> None:
        with suppress(KeyError):
            await inside(depth)

    async def beside() -> None:
        await begun.wait()
        await write.save()
        written.set()

    async with debros.current_node().transaction():
        await Leaf.create(text="before")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(takes_back)
            nursery.start_soon(beside)


@pytest.mark.parametrize("depth", [1, 2])
async def test_what_a_task_wrote_is_not_taken_back_with_another_tasks_savepoint_behind_its_back(depth: int) -> None:
    async with a_node(Leaf):
        leaf = Leaf(text="beside")
        with pytest.raises(TransactionError, match="what another task had written meanwhile"):
            await taken_back_beside(leaf, depth=depth)
        assert await texts() == []
        await leaf.save()
        assert await texts() == ["beside"]


async def test_a_savepoint_takes_back_what_the_tasks_wrote_that_it_started() -> None:
    async with a_node(Leaf) as db:
        async with db.transaction():
            await Leaf.create(text="kept")
            with pytest.RaisesGroup(KeyError):
                async with db.transaction(), trio.open_nursery() as nursery:

                    async def write() -> None:
                        await Leaf.create(text="taken back")
                        raise KeyError

                    nursery.start_soon(write)
        assert await texts() == ["kept"]


async def test_a_savepoint_that_is_kept_keeps_what_others_wrote_meanwhile() -> None:
    async with a_node(Leaf) as db:
        begun, written = trio.Event(), trio.Event()

        async def inside() -> None:
            async with db.transaction():
                await Leaf.create(text="inside")
                begun.set()
                await written.wait()

        async with db.transaction(), trio.open_nursery() as nursery:
            nursery.start_soon(inside)
            await begun.wait()
            await Leaf.create(text="beside")
            written.set()
        assert await texts() == ["beside", "inside"]


async def test_a_write_waits_for_another_tasks_write_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("debros.replica.transaction.TURN", 1)
    async with a_node(Leaf) as db:
        await Leaf.create(text="m9")
        order: list[str] = []

        async def many() -> None:
            with pytest.raises(debros.UniqueError):  # at the last one: all of it is taken back, and nothing else
                await Leaf.create_many([{"text": f"m{n}"} for n in range(10)])
            order.append("many")

        async def one(text: str) -> None:
            await Leaf.create(text=text)
            order.append(text)

        async def nested() -> None:
            async with db.transaction():
                await one("nested")

        async with db.transaction() as transaction, trio.open_nursery() as nursery:
            nursery.start_soon(many)
            while transaction._writing is None:
                await trio.lowlevel.checkpoint()
            nursery.start_soon(one, "one")
            nursery.start_soon(nested)
        assert order[0] == "many"
        assert await texts() == ["m9", "nested", "one"]


async def test_the_end_of_a_transaction_waits_for_a_write_of_many_that_another_task_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("debros.replica.transaction.TURN", 1)
    async with a_node(Leaf) as db, trio.open_nursery() as nursery:
        async with db.transaction() as transaction:
            with debros.current.choosing(node=db, transaction=transaction):
                nursery.start_soon(Leaf.create_many, [{"text": f"m{n}"} for n in range(10)])
            while transaction._writing is None:
                await trio.lowlevel.checkpoint()
        assert len(await texts()) == 10


async def test_whoever_closes_waits_until_what_is_folded_ahead_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("debros.replica.ahead.LARGE", 20)
    began, go = trio.Event(), threading.Event()
    order: list[str] = []
    end = Ahead.close

    def close(ahead: Ahead) -> None:
        end(ahead)
        order.append("taken back")

    def write_out(_: Ahead) -> None:  # in a thread
        trio.from_thread.run_sync(began.set)
        go.wait(20)

    async def write() -> None:
        with pytest.raises(ClosedError):
            await Leaf.query().update(likes=9)
        order.append("refused")

    async with trio.open_nursery() as nursery, debros.open(tmp_path, models=[Leaf]) as db:
        await Leaf.create_many([{"text": f"m{n}"} for n in range(60)])
        with monkeypatch.context() as patch:
            patch.setattr(Ahead, "close", close)
            patch.setattr(Ahead, "write_out", write_out)
            offload = db.store.env.offload

            async def told(function: Callable[..., Any], *args: Any) -> Any:
                order.extend(["closed"] if function == db.store.close else [])
                return await offload(function, *args)

            patch.setattr(db.store.env, "offload", told)
            with debros.current.choosing(node=db):
                nursery.start_soon(write)
            await began.wait()
            nursery.start_soon(db.store.aclose)
            await trio.testing.wait_all_tasks_blocked()
            assert order == []
            go.set()
            while "closed" not in order:
                await trio.lowlevel.checkpoint()
    assert order[0] == "taken back"
    assert sorted(order) == ["closed", "refused", "taken back"]
    async with debros.open(tmp_path, models=[Leaf]):
        assert await Leaf.where(Leaf.likes == 9).count() == 0


async def test_a_record_whose_row_cannot_be_read_behind_the_commit_does_not_say_that_it_is_unsaved(
    tmp_path: Path,
) -> None:
    async with debros.open(tmp_path, models=[Leaf]) as db:
        leaf = Leaf(text="a")

        def refuse() -> None:
            raise StorageError("the view is damaged")

        async def save() -> None:
            async with db.transaction() as transaction:
                await leaf.save()
                transaction.settled.insert(0, refuse)

        with pytest.raises(StorageError, match="written, but it cannot be read back"):
            await save()
        assert not leaf.is_new
        assert not leaf.changes
    async with debros.open(tmp_path, models=[Leaf]):
        assert await texts() == ["a"]
