"""Records that were read inside a transaction are as good as any afterwards, whether it was written or not."""

from __future__ import annotations

import contextlib

import pytest
import trio

import debros
from debros import Field, Model, field, model
from debros.current import choosing
from tests.support.nodes import a_node


@model(scope="global")
class Quill(Model):
    text: Field[str]
    tags: Field[set[str]] = field(default_factory=set)


async def test_a_removal_after_the_commit_ends_what_the_transaction_added() -> None:
    async with a_node(Quill) as db:
        quill = await Quill.create(text="old")
        async with db.transaction():
            inside = await Quill.get(quill.id)
            inside.tags.add("t")
            await inside.save()
            found = await Quill.where(Quill.text == "old").one()
        found.tags.discard("t")
        await found.save()
        assert (await Quill.get(quill.id)).tags == set()


async def test_if_unchanged_holds_for_a_record_read_in_the_transaction_that_wrote_it() -> None:
    async with a_node(Quill) as db:
        quill = await Quill.create(text="old")
        async with db.transaction():
            await (await Quill.get(quill.id)).update(text="new")
            found = await Quill.where(Quill.text == "new").one()
        found.text = "newer"
        await found.save(if_unchanged=True)
        assert (await Quill.get(quill.id)).text == "newer"


async def test_a_rollback_gives_records_read_inside_the_values_that_are_there() -> None:
    async with a_node(Quill) as db:
        quill = await Quill.create(text="old")
        with contextlib.suppress(KeyError):
            async with db.transaction():
                await (await Quill.get(quill.id)).update(text="new")
                found = await Quill.where(Quill.text == "new").one()
                raise KeyError
        assert found.text == "old"
        assert found.changes == {}


async def test_a_savepoint_that_is_undone_gives_back_what_the_transaction_around_wrote() -> None:
    async with a_node(Quill) as db:
        async with db.transaction():
            quill = await Quill.create(text="outer")
            with contextlib.suppress(KeyError):
                async with db.transaction():
                    await (await Quill.get(quill.id)).update(text="inner")
                    found = await Quill.get(quill.id)
                    raise KeyError
            assert found.text == "outer"
        assert (await Quill.get(quill.id)).text == "outer"


async def test_savepoints_of_two_tasks_that_overlap_write_nothing() -> None:
    async with a_node(Quill) as db:
        begun, ended = trio.Event(), trio.Event()

        async def first() -> None:
            async with db.transaction():
                await Quill.create(text="first")
                begun.set()
                await ended.wait()

        async def second() -> None:
            await begun.wait()
            async with db.transaction():
                await Quill.create(text="second")
                ended.set()
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()

        async def both() -> None:
            async with db.transaction(), trio.open_nursery() as nursery:
                nursery.start_soon(first)
                nursery.start_soon(second)

        with pytest.RaisesGroup(debros.TransactionError):
            await both()
        assert await Quill.count() == 0
        await Quill.create(text="afterwards")


async def test_others_see_nothing_of_an_open_transaction_in_the_fingerprint() -> None:
    async with a_node(Quill) as db:
        await Quill.create(text="there")
        before = await db.fingerprint()
        seen: list[str] = []
        async with trio.open_nursery() as nursery, db.transaction():
            await Quill.create(text="not yet")
            assert await Quill.count() == 2
            nursery.start_soon(look, db, seen)
            while not seen:
                await trio.lowlevel.checkpoint()
            assert await Quill.count() == 2
        assert seen == [before]


async def look(db: debros.Debros, seen: list[str]) -> None:
    with choosing(transaction=None):  # a task of somebody else
        seen.append(await db.fingerprint())


async def test_grants_and_revocations_are_refused_inside_a_transaction() -> None:
    admin = debros.Identity.generate()
    async with a_node(Quill, identity=admin, admins=[admin.did]) as db, db.transaction():
        for act in (db.grant, db.revoke):
            with pytest.raises(debros.TransactionError, match="before or after"):
                await act(debros.Identity.generate().did)
