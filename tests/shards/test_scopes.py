"""Global and user scope: one log that everybody shares, one for each user; thousands of them on one node."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
import trio

import debros
from debros import Field, Model, PermissionDeniedError, UniqueError, field, model
from debros.identity.keys import Identity
from debros.replica.logs import KEPT
from tests.support.nodes import a_node


@model(scope="user")
class Memo(Model):
    text: Field[str]
    topic: Field[str] = field(default="", index="global")
    place: Field[str] = field(default="", index=True)
    slug: Field[str | None] = field(default=None, unique=True)


@model(scope="global")
class Topic(Model):
    name: Field[str]


async def test_a_user_scoped_model_means_the_acting_identitys_records() -> None:
    bo = Identity.generate()
    async with a_node(Memo, Topic) as db:
        mine = await Memo.create(text="mine", topic="t")
        async with db.acting_as(bo):
            his = await Memo.create(text="his", topic="t")
            assert [memo.text for memo in await Memo.all()] == ["his"]
            assert await Memo.get_or_none(mine.id) is None
            await Topic.create(name="shared")
        assert [memo.text for memo in await Memo.all()] == ["mine"]
        assert [memo.text for memo in await Memo.query().where_user(bo.did).all()] == ["his"]
        both = await Memo.query().where_user(bo.did, db.identity.did).order_by("text").all()
        assert [memo.text for memo in both] == ["his", "mine"]
        assert [memo.text for memo in await Memo.query().all_users().order_by("text").all()] == ["his", "mine"]
        assert await Topic.count() == 1, "a global log is everybody's"
        assert his.meta.address != mine.meta.address
        assert (his.meta.owner, mine.meta.owner) == (bo.did, db.identity.did)
        with pytest.raises(PermissionDeniedError):
            await his.update(text="stolen")


async def test_two_nodes_that_never_met_find_the_same_log_of_a_user() -> None:
    ana = Identity.generate()
    addresses = []
    for _ in range(2):
        async with a_node(Memo, identity=ana, app="notes-k3x9q7"):
            addresses.append((await Memo.create(text="x")).meta.address)
    assert addresses[0] == addresses[1]


async def test_unique_means_unique_among_one_users_records() -> None:
    bo = Identity.generate()
    async with a_node(Memo) as db:
        await Memo.create(text="mine", slug="s")
        with pytest.raises(UniqueError):
            await Memo.create(text="again", slug="s")
        async with db.acting_as(bo):
            await Memo.create(text="his", slug="s")


async def test_a_global_index_finds_records_of_all_users_at_once() -> None:
    async with a_node(Memo) as db:
        for n in range(50):
            async with db.acting_as(Identity.generate()):
                await Memo.create(text=str(n), topic=f"t{n % 10}", place=f"p{n % 10}")
        found = await Memo.query().all_users().where(Memo.topic == "t3").all()
        assert sorted(memo.text for memo in found) == ["13", "23", "3", "33", "43"]
        plan = await Memo.query().all_users().where(Memo.topic == "t3").explain()
        assert plan.rows_examined == 5, "through the index, not log by log"
        assert (await Memo.query().all_users().where(Memo.place == "p3").explain()).rows_examined == 50
        assert (await Memo.where(Memo.topic == "t3").explain()).shards == (0,)
        assert len(found.coverage.heads) == 50


async def test_reading_of_users_that_are_not_here_remembers_nothing() -> None:
    async with a_node(Memo, Topic) as db:
        await Topic.create(name="x")
        before = len(db.store.by_number)
        for _ in range(20):
            assert await Memo.query().where_user(Identity.generate().did).all() == []
        assert len(db.store.by_number) == before
        rows = await Memo.query().where_user(Identity.generate().did).all()
        assert rows.coverage.heads == {}


async def test_owners_are_the_users_whose_logs_are_here(tmp_path: Path) -> None:
    users = [Identity.generate() for _ in range(3)]
    async with debros.open(tmp_path, models=[Memo, Topic]) as db:
        assert await db.owners() == []
        for user in users:
            async with db.acting_as(user):
                await Memo.create(text="x")
        assert await db.owners() == sorted(user.did for user in users), "before a flush, too"
        assert db.status().logs == 3
    async with debros.open(tmp_path, models=[Memo, Topic]) as db:
        assert await db.owners() == sorted(user.did for user in users)
        assert await Memo.query().where_user(users[1].did).count() == 1


async def test_many_users_logs_are_open_within_bounds(tmp_path: Path) -> None:
    users = [Identity.generate() for _ in range(KEPT + 200)]
    async with a_node(Memo) as db:
        for n, user in enumerate(users):
            async with db.acting_as(user):
                await Memo.create(text=str(n), topic=f"t{n % 100}")
        db.store.flush()
        live = db.store.by_number._live
        gc.collect()  # a log and its rights refer to each other
        files = len(os.listdir("/proc/self/fd"))
        assert len(live) <= KEPT + 8
        assert await Memo.query().all_users().count() == len(users)
        for user in users[:: len(users) // 20]:
            [memo] = await Memo.query().where_user(user.did).all()
            async with db.acting_as(user):
                await (await Memo.get(memo.id)).update(text="again")
        assert await Memo.query().all_users().where(Memo.text == "again").count() == 21
        gc.collect()
        assert len(live) <= KEPT + 8
        assert len(os.listdir("/proc/self/fd")) == files
        assert len(await db.owners()) == len(users)


async def test_a_log_that_was_let_go_of_goes_on_where_it_was() -> None:
    ana = Identity.generate()
    async with a_node(Memo) as db:
        async with db.acting_as(ana):
            await Memo.create(text="1")
        for _ in range(KEPT + 1):
            db.store.by_number.make(db._map.manifest(Memo.__schema__, Identity.generate().user))
        db._replicas.clear()
        async with db.acting_as(ana):
            await Memo.create(text="2")
            history = [memo.text for memo in await Memo.query().order_by("text").all()]
        assert history == ["1", "2"]
        assert db.status().entries == 2
        [n] = db.store.entries.logs_of(ana.user)
        assert len(db.store.by_number[n].heads) == 1, "the chain goes on, it is not forked"


async def test_a_thousand_tasks_write_to_different_users_at_once() -> None:
    async with a_node(Memo) as db:

        async def write(n: int, user: Identity) -> None:
            async with db.acting_as(user):
                memo = await Memo.create(text=str(n))
                assert [one.id for one in await Memo.all()] == [memo.id]

        async with trio.open_nursery() as nursery:
            for n in range(1000):
                nursery.start_soon(write, n, Identity.generate())
        assert await Memo.query().all_users().count() == 1000
        assert len(await db.owners()) == 1000


async def test_a_page_of_all_users_has_everybodys_record_of_one_id() -> None:
    async with a_node(Memo) as db:
        for n in range(5):
            async with db.acting_as(Identity.generate()):
                await Memo.create(id="same", text=str(n))
        found, after = [], None
        for _ in range(10):
            page = await Memo.query().all_users().limit(2).page(after)
            found += [memo.text for memo in page.rows]
            after = page.next
            if after is None:
                break
        assert sorted(found) == ["0", "1", "2", "3", "4"]
