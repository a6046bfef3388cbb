"""Application code that raises, cancels, keeps records too long or mixes nodes: the store stays whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

import debros
from debros import (
    Field,
    Many,
    Model,
    One,
    after_create,
    after_delete,
    before_create,
    before_delete,
    before_update,
    belongs_to,
    computed,
    has_many,
    model,
)
from debros import field as declared
from debros.node import Debros
from tests.support.nodes import a_node

Act = Callable[[Any], object]
plan: dict[str, Act] = {}  # what the hooks of `Trap` do


async def act(name: str, record: Any) -> None:
    if (what := plan.get(name)) is not None:
        result = what(record)
        if isinstance(result, Awaitable):
            await result


def refuse_bad(value: str) -> bool:
    if value == "raise":
        raise ZeroDivisionError("of a validator")
    return value != "bad"


@model(scope="global")
class Trap(Model):
    name: Field[str] = declared(validate=refuse_bad)
    n: Field[int] = declared(default=0, merge="counter")

    @before_create
    async def first(self) -> None:
        await act("before_create", self)

    @after_create
    async def last(self) -> None:
        await act("after_create", self)

    @before_update
    async def changing(self) -> None:
        await act("before_update", self)

    @before_delete
    async def going(self) -> None:
        await act("before_delete", self)

    @after_delete
    async def gone(self) -> None:
        await act("after_delete", self)

    @computed(index=True)
    def inverse(self) -> float:
        return 1 / len(self.name.removesuffix("nought"))


@model(scope="global")
class Branch(Model):
    parent_id: Field[str | None] = declared(default=None, index=True)
    parent: One[Branch | None] = belongs_to("parent_id", on_delete="cascade")
    children: Many[Branch] = has_many("parent_id")


@pytest.fixture(autouse=True)
def no_plan() -> None:
    plan.clear()


def fail(record: Any) -> None:
    record.name = "changed by the hook"
    raise RuntimeError("of a hook")


def entries(db: Debros) -> int:
    return db.status().entries


async def test_a_hook_that_raises_before_stops_the_write_and_leaves_the_record() -> None:
    async with a_node(Trap) as db:
        trap = await Trap.create(name="one")
        before = entries(db)
        plan.update(dict.fromkeys(("before_create", "before_update", "before_delete"), fail))
        new = Trap(name="new")
        with pytest.raises(RuntimeError):
            await new.save()
        with pytest.raises(RuntimeError):
            await trap.update(n=5)
        with pytest.raises(RuntimeError):
            await trap.delete()
        with pytest.raises(RuntimeError):
            await Trap.create_many([Trap(name="many"), Trap(name="more")])
        assert (new.is_new, new.name, trap.name, trap.changes) == (True, "new", "one", {"n": (0, 5)})
        assert entries(db) == before
        plan.clear()
        await trap.save()
        assert [(one.name, one.n) for one in await Trap.all()] == [("one", 5)]


async def test_a_hook_that_raises_after_a_write_leaves_it_written() -> None:
    async with a_node(Trap) as db:
        plan.update(dict.fromkeys(("after_create", "after_delete"), fail))
        trap = Trap(name="one")
        with pytest.raises(RuntimeError):
            await trap.save()
        assert not trap.is_new
        with pytest.raises(RuntimeError):
            await trap.delete()
        assert (entries(db), await Trap.count()) == (2, 0)
        plan.clear()
        await Trap.create(name="and it goes on")


@pytest.mark.parametrize("where", ["before_create", "after_create"])
async def test_a_hook_that_cancels_leaves_all_or_nothing(where: str) -> None:
    async with a_node(Trap) as db:
        with trio.CancelScope() as scope:
            plan[where] = lambda record: scope.cancel()
            await Trap.create(name="one")
            await trio.lowlevel.checkpoint()
        plan.clear()
        assert scope.cancelled_caught
        assert await Trap.count() == entries(db) == (where == "after_create")
        await Trap.create(name="two")


async def test_a_hook_that_writes_and_reads_does_so_outside_of_its_own_write() -> None:
    async with a_node(Trap):
        plan["before_create"] = lambda record: _another(record)
        await Trap.create(name="outer")
        assert sorted(trap.name for trap in await Trap.all()) == ["inner", "outer"]


async def _another(record: Trap) -> None:
    plan.clear()
    assert await Trap.count() == 0
    await Trap.create(name="inner")


async def test_a_validator_that_raises_refuses_the_value() -> None:
    async with a_node(Trap) as db:
        for bad in ("bad", "raise"):
            with pytest.raises(debros.ValidationError, match="name"):
                Trap(name=bad)
        trap = await Trap.create(name="good")
        with pytest.raises(debros.ValidationError, match="name"):
            trap.name = "raise"
        with pytest.raises(debros.ValidationError, match=r"1\.name"):
            await Trap.create_many([{"name": "fine"}, {"name": "raise"}])
        assert (trap.name, entries(db)) == ("good", 1)


async def test_a_computed_value_that_raises_is_null_in_queries_and_raises_on_access() -> None:
    async with a_node(Trap):
        trap = await Trap.create(name="nought")
        await Trap.create(name="ab")
        assert [one.name for one in await Trap.query().where("inverse", ">", 0.0).all()] == ["ab"]
        assert [one.name for one in await Trap.query().order_by("inverse").all()] == ["nought", "ab"]
        with pytest.raises(ZeroDivisionError):
            _ = trap.inverse
        await trap.update(name="abcd")
        assert trap.inverse == 0.25


async def test_everything_that_is_used_after_the_end_is_refused_as_closed() -> None:
    async with a_node(Trap, Branch) as db:
        trap = await Trap.create(name="one")
        root = await Branch.create(id="root")
        leaf = await Branch.create(parent_id="root")
        query = root.children.query()
    trap.n += 1
    late: list[Callable[[], Awaitable[object]]] = [
        trap.save,
        trap.refresh,
        trap.delete,
        trap.restore,
        trap.history,
        trap.blame,
        trap.conflicts,
        lambda: root.delete(cascade=True),
        lambda: leaf.parent,
        db.fingerprint,
        db.owners,
        lambda: db.grant(db.identity.did),
        lambda: db.revoke(db.identity.did),
        db.transaction().__aenter__,
    ]
    for work in late:
        with pytest.raises(debros.ClosedError):
            await work()
    with db.current():
        for work in (
            Trap.all,
            Trap.count,
            lambda: Trap.get("x"),
            lambda: Trap.create(name="late"),
            Trap(name="x").save,
            query.all,
        ):
            with pytest.raises(debros.ClosedError):
                await work()
    with pytest.raises(debros.NoNodeError):
        await Trap.all()
    assert (trap.name, trap.changes) == ("one", {"n": (0, 1)})
    await db.close()


async def test_records_go_back_to_the_node_that_they_came_from() -> None:
    async with a_node(Trap, Branch) as ana, a_node(Trap, Branch) as bo:
        with ana.current():
            hers = await Trap.create(name="hers")
        with bo.current():
            his = await Trap.create(name="his")
            await hers.update(n=1)
            async with bo.transaction():
                await his.update(n=2)
                await hers.update(n=7)
                with pytest.raises(debros.NotFoundError):
                    await Trap.get(hers.id)
            with suppress(KeyError):
                async with bo.transaction():
                    await his.update(n=9)
                    await hers.update(name="not a part of it")
                    raise KeyError
            assert [(one.name, one.n) for one in await Trap.all()] == [("his", 2)]
        with ana.current():
            assert [(one.name, one.n) for one in await Trap.all()] == [("not a part of it", 7)]


async def test_transactions_of_two_nodes_may_lie_inside_each_other() -> None:
    async with a_node(Trap) as ana, a_node(Trap) as bo:
        async with ana.transaction():
            await Trap.create(name="hers")
            with suppress(KeyError):
                async with bo.transaction():
                    await Trap.create(name="his")
                    raise KeyError
            await Trap.create(name="hers too")
        for node, names in ((ana, ["hers", "hers too"]), (bo, [])):
            with node.current():
                assert [one.name for one in await Trap.all()] == names


async def test_a_chain_of_relations_longer_than_the_stack_of_python() -> None:
    async with a_node(Branch):
        length = 1500
        await Branch.create_many(Branch(id=f"b{n}", parent_id=f"b{n - 1}" if n else None) for n in range(length))
        root = await Branch.get("b0")
        await root.delete()
        assert await Branch.count() == 0
        await root.restore()
        assert await Branch.count() == length
        await root.delete(cascade=True)
        assert await Branch.count() == 0
        assert (await Branch.get(f"b{length - 1}", deleted=True)).meta.is_deleted


async def test_a_circle_of_relations_is_deleted_once() -> None:
    async with a_node(Branch) as db:
        await Branch.create_many({"id": f"b{n}", "parent_id": f"b{(n + 1) % 3}"} for n in range(3))
        await (await Branch.get("b1")).delete(cascade=True)
        assert await Branch.count() == 0
        assert entries(db) == 2


async def test_what_is_too_large_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    async with debros.open(tmp_path, models=[Trap]) as db:
        mib = 1 << 20
        largest = await Trap.create(name="x" * (mib - 1000))
        before, size = entries(db), db.status().log_bytes
        with pytest.raises(debros.TooLargeError, match=r"record .* has .* bytes encoded"):
            await Trap.create(name="x" * mib)
        with pytest.raises(debros.TooLargeError):
            await Trap.create_many([Trap(name="small"), Trap(name="x" * mib)])
        with pytest.raises(debros.TooLargeError, match="10001 changes"):
            async with db.transaction():
                await Trap.create_many(Trap(name="x") for _ in range(10_001))
        with pytest.raises(debros.TooLargeError):
            async with db.transaction():
                await Trap.create_many(Trap(name="x" * 500_000) for _ in range(3))
        assert (entries(db), db.status().log_bytes, await Trap.count()) == (before, size, 1)
        async with db.transaction():
            await Trap.create_many(Trap(name="x") for _ in range(10_000))
        assert entries(db) == before + 1
    async with debros.open(tmp_path, models=[Trap]):
        assert await Trap.count() == 10_001
        assert len((await Trap.get(largest.id)).name) == mib - 1000
