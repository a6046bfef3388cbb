"""The feature tables on scopes, databases, sharding and execution, row by row; each test is named after its row."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

import debros
from debros import Field, Model, ModelError, field, hash_shards, model, schema_of, user_shards
from debros.errors import DeadlineError, PermissionDeniedError
from debros.identity.keys import Identity
from debros.log.layout import of_hash
from debros.net.memory import MemoryNetwork
from tests.shards.test_scopes import Memo, Topic
from tests.shards.test_writes_are_routed import Wall
from tests.support.events import told
from tests.support.nodes import a_node
from tests.support.peers import in_virtual_time, peer
from tests.support.sharded import SHARDED, START, Hashed, Plain, Ranged, Sized, some_notes

# -- model options -------------------------------------------------------------------------------------------------


async def test_scope() -> None:
    assert schema_of(Memo).scope == "user"
    assert schema_of(Plain).scope == "global", "the default"
    async with a_node(Memo, Topic) as db:
        shared = (await Topic.create(name="x")).meta.address
        own = (await Memo.create(text="x")).meta.address
        async with db.acting_as(Identity.generate()):
            assert (await Topic.create(name="y")).meta.address == shared
            assert (await Memo.create(text="y")).meta.address != own
    with pytest.raises(ModelError, match="scope='world'"):
        model(scope="world")(type("Wrong", (Model,), {}))  # type: ignore[arg-type]  # wrong on purpose


async def test_sharding() -> None:
    spec = schema_of(Hashed).sharding
    assert spec is not None
    assert (spec.kind, spec.key, spec.n) == ("hash", "author", 4)
    async with a_node(Hashed) as db:
        await Hashed.create_many(some_notes())
        stats = await db.shards[Hashed].stats()
        assert sum(shard.records > 0 for shard in stats) == 4, "records lie in several logs"
    with pytest.raises(ModelError, match="no strategy"):

        @model(sharding={"strategy": "hash"})  # type: ignore[arg-type]  # wrong on purpose
        class Wrong(Model):
            author: Field[str]


async def test_inheritance_may_override_scope_and_sharding() -> None:
    @model(name="Base", scope="global", sharding=hash_shards("author", 2))
    class Base(Model):
        author: Field[str]

    @model(name="Child", scope="user")
    class Child(Base):
        pass

    assert (schema_of(Child).scope, schema_of(Child).sharding) == ("user", None)


# -- query execution -----------------------------------------------------------------------------------------------


async def test_single_user_and_several_users() -> None:
    bo, cy = Identity.generate(), Identity.generate()
    async with a_node(Memo) as db:
        for who, text in ((bo, "bo"), (cy, "cy"), (db.identity, "me")):
            async with db.acting_as(who):
                await Memo.create(text=text)
        one = Memo.query().where_user(bo.did)
        two = Memo.query().where_user(bo.did, cy.did).order_by("text")
        assert [memo.text for memo in await one.all()] == ["bo"]
        assert [memo.text for memo in await two.all()] == ["bo", "cy"]
        assert len((await two.all()).coverage.heads) == 2, "just those users' logs were read"


async def test_global_index_of_execution() -> None:
    async with a_node(Memo) as db:
        for n in range(20):
            async with db.acting_as(Identity.generate()):
                await Memo.create(text=str(n), topic=f"t{n % 4}")
        plan = await Memo.query().all_users().where(Memo.topic == "t1").explain()
        assert plan.rows_examined == 5
        assert plan.index != (None,)


async def test_all_users() -> None:
    async with a_node(Memo) as db:
        for n in range(20):
            async with db.acting_as(Identity.generate()):
                await Memo.create(text=str(n))
        assert await Memo.query().all_users().count() == 20
        batches = [len(batch) async for batch in Memo.query().all_users().batches(8)]
        assert batches == [8, 8, 4]


async def test_one_some_and_all_shards() -> None:
    async with a_node(Hashed):
        assert (await Hashed.where(Hashed.author == "ana").explain()).shards == (1,)
        assert (await Hashed.where(Hashed.author.in_(["ana", "eve"])).explain()).shards == (0, 1)
        assert (await Hashed.query().explain()).shards == (0, 1, 2, 3)


@pytest.mark.parametrize("of", SHARDED, ids=lambda of: of.__name__)
async def test_aggregation_is_merged_ordered_and_cut_once(of: Any) -> None:
    async with a_node(Plain, of):
        await Plain.create_many(some_notes())
        await of.create_many(some_notes())
        for n, (mine, its) in enumerate(((of.likes, Plain.likes), (of.price, Plain.price), (of.score, Plain.score))):
            assert await of.query().avg(mine) == await Plain.query().avg(its), n
            assert await of.query().sum(mine) == await Plain.query().sum(its), n
        ordered = [row.id for row in await of.query().order_by("likes", "desc").offset(7).limit(9).all()]
        assert ordered == [row.id for row in await Plain.query().order_by("likes", "desc").offset(7).limit(9).all()]


async def test_control_timeout_and_cache() -> None:
    async with a_node(Hashed) as db:
        await Hashed.create_many(some_notes())
        for _ in range(2):
            assert await Hashed.where(Hashed.author == "ana").cache(60).count() == 8
        assert db.cache.stats().hits == 1
        await Hashed.create(author="ana")
        assert await Hashed.where(Hashed.author == "ana").cache(60).count() == 9, "never stale"
        with pytest.raises(DeadlineError):
            await Hashed.query().timeout(1e-9).all()


async def test_plan_optimizer_and_advice() -> None:
    async with a_node(Hashed):
        await Hashed.create_many(some_notes())
        plan = await Hashed.where(Hashed.author == "ana", Hashed.author == "ana").explain()
        assert (plan.shards, plan.strategy, len(plan.index)) == ((1,), "index", 1)
        assert plan.rows_examined == 8
        scan = await Hashed.where(Hashed.score > 100).explain()
        assert scan.shards == (0, 1, 2, 3)
        assert any("an index on what it filters by would help" in warning for warning in scan.warnings)


# -- sharding ------------------------------------------------------------------------------------------------------


async def test_hash() -> None:
    async with a_node(Hashed) as db:
        assert [db.shards[Hashed].for_key(f"a{n}") for n in range(50)] == [of_hash(f"a{n}", 4) for n in range(50)]


async def test_range() -> None:
    async with a_node(Ranged) as db:
        days = (-9, 2, 3, 5, 6, 400)
        assert [db.shards[Ranged].for_key(START + timedelta(days=day)) for day in days] == [0, 0, 1, 1, 2, 2]


async def test_user_and_groups() -> None:
    async with a_node(Wall, Sized) as db:
        wall = await Wall.create(text="x")
        assert db.shards[Wall].for_key(db.identity.did) == of_hash(db.identity.tag, 4)
        assert wall.meta.owner == db.identity.did
        assert db.shards[Sized].for_key("four") == 1, "groups are a strategy of the program's own"


async def test_manager() -> None:
    async with a_node(Hashed, Ranged, Plain) as db:
        assert list(db.shards) == ["Hashed", "Ranged"], "models with shards"
        shards = db.shards[Hashed]
        assert (shards.count, shards.held) == (4, (0, 1, 2, 3))
        await Hashed.create_many(some_notes())
        stats = await shards.stats()
        assert stats.records == await Hashed.count() == 40, "query all"
        assert [shard.number for shard in stats] == [0, 1, 2, 3], "shard by index"
        assert stats[shards.for_key("ana")].records == 8 * 2, "shard for key (bo is there, too)"


async def test_global_index() -> None:
    @model(scope="global", name="Entry", sharding=hash_shards("word", 4))
    class Entry(Model):
        word: Field[str] = field(index=True)
        record: Field[str]

    async with a_node(Entry) as db:  # an index of one's own over records anywhere, itself sharded
        entry = await Entry.create(word="tree", record="r1")
        assert [one.record for one in await Entry.where(Entry.word == "tree").all()] == ["r1"]
        await entry.delete()
        assert await Entry.where(Entry.word == "tree").count() == 0
        assert db.shards[Entry].count == 4


async def test_scaling_and_errors() -> None:
    async with a_node(Hashed, Plain) as db:
        await Hashed.create_many(some_notes())
        await db.shards[Hashed].resize(8)
        assert await Hashed.count() == 40
        with pytest.raises(ModelError, match="is not sharded"):
            db.shards[Plain]
    with pytest.raises(ModelError, match="1 to 1024"):

        @model(sharding=user_shards(0))
        class Wrong(Model):
            text: Field[str]


# -- databases and user directory ----------------------------------------------------------------------------------


async def test_initialisation(tmp_path: Path) -> None:
    for _ in range(2):
        async with debros.open(tmp_path, models=[Memo, Topic, Hashed]) as db:
            assert db.shards[Hashed].count == 4, "global logs are known at once"
            before = len(db.store.by_number)
            async with db.acting_as(Identity.generate()):
                await Memo.create(text="x")
            assert len(db.store.by_number) == before + 1, "a user's is made on demand"


async def test_user_mappings() -> None:
    bo = Identity.generate()
    async with a_node(Memo) as one, a_node(Memo) as other:
        found = []
        for node in (one, other):
            async with node.acting_as(bo):
                found.append((await Memo.create(text="x")).meta.address)
        assert found[0] == found[1], "the address of a user's log follows from the declaration; no directory is asked"


async def test_methods(tmp_path: Path) -> None:
    bo = Identity.generate()
    async with debros.open(tmp_path, models=[Memo, Topic]) as db:
        await Topic.create(name="x")
        async with db.acting_as(bo):
            await Memo.create(text="x")
        assert await db.owners() == [bo.did]
        assert db.status().logs == 2
        rows = await Memo.query().where_user(bo.did).all()
        assert list(rows.coverage.heads) == [rows[0].meta.address]
        await db.close()
        with pytest.raises(debros.ClosedError):
            await Topic.count()


@pytest.mark.parametrize("of", [Memo, Hashed, Plain], ids=lambda of: of.__name__)
async def test_records(of: Any) -> None:
    values = {"text": "x"} if of is Memo else {"author": "ana"}
    async with a_node(of):
        one = await of.create(**values)
        assert (await of.get(one.id)).id == one.id
        assert [each.id for each in await of.all()] == [one.id]
        name = "place" if of is Memo else "likes"
        await one.update(**{name: "y" if of is Memo else 2})
        await one.delete()
        assert await of.count() == 0


async def test_shared_discovery() -> None:
    addresses = []
    for app in ("one-app", "one-app", "another"):
        async with a_node(Hashed, Topic, app=app) as db:
            shards = [shard.address for shard in (await db.shards[Hashed].stats())]
            addresses.append([(await Topic.create(name="x")).meta.address, *shards])
    assert addresses[0] == addresses[1]
    assert not set(addresses[0]) & set(addresses[2])


@in_virtual_time
async def test_events_of_databases() -> None:
    """Database created, opened, closed, replicated."""
    network = MemoryNetwork()
    async with peer(network, "a", models=[Topic]) as a, a.events.subscribe("node.*") as notices:
        assert a.status().logs == 0
        with a.current():
            address = (await Topic.create(name="x")).meta.address
        async with peer(network, "b", peers=["a"], models=[Topic]) as b, b.events.subscribe("node.*") as elsewhere:
            await trio.sleep(5)
            there = [(message.topic, message.data.get("log")) for message in await told(elsewhere)]
        assert ("node.log_opened", address) in there, "opened where it came from elsewhere"
        here = [(message.topic, message.data.get("log")) for message in await told(notices)]
        assert here[0] == ("node.log_opened", address), "created"
        assert ("node.synced", address) in here, "replicated"
    with pytest.raises(debros.ClosedError):
        a.store.check_open()


async def test_somebody_elses_log_cannot_be_written() -> None:
    async with a_node(Memo) as db:
        mine = await Memo.create(text="mine")
        async with db.acting_as(Identity.generate()):
            with pytest.raises(PermissionDeniedError):
                await mine.delete()
        assert (await Memo.get(mine.id)).text == "mine"
