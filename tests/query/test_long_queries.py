"""A query that takes long does not hold the loop, and ends when nobody waits for it any more."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import apsw
import pytest
import trio

import debros
from debros import DeadlineError, Field, Model, field, model
from debros.replica import reading
from debros.shards import source

SLOW = "^(a|b)*c$"


@model()
class Word(Model):
    text: Field[str]
    n: Field[int] = field(default=0, index=True)


@pytest.fixture(params=["memory", "disk"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return ":memory:" if request.param == "memory" else str(tmp_path)


async def fill(count: int = 2_000) -> None:
    await Word.create_many([{"text": "ab" * 100 + str(n), "n": n} for n in range(count)])


def slow() -> Any:
    """A query that looks at every row for some tens of microseconds."""
    return Word.where(Word.text.matches(SLOW) | Word.text.matches("x+y+z$") | Word.text.matches("(ba)+q"))


async def test_a_long_query_goes_on_beside_the_loop_and_sees_the_same(
    home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "QUICK_S", 0.0)
    monkeypatch.setattr(reading, "STEPS", 100)
    async with debros.open(home, models=[Word], app="long", durability="process") as db:
        await fill()
        assert await Word.where(Word.text.contains("99")).count() == sum("99" in str(n) for n in range(2_000))
        assert db.store.reader.long_ones == 1
        assert len(await Word.where(Word.text.matches("7$")).all()) == 200
        await Word.create(text="unflushed 777", n=-1)
        assert await Word.where(Word.text.matches("unflushed")).count() == 1
        assert db.store.reader.long_ones == 3
        async with db.transaction():
            await Word.create(text="provisional", n=-2)
            assert await Word.where(Word.text.matches("provisional")).count() == 1
        assert db.store.reader.long_ones == 3


async def test_a_runaway_query_is_left_when_its_scope_is_cancelled(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "QUICK_S", 0.0)
    monkeypatch.setattr(reading, "STEPS", 100)
    async with debros.open(home, models=[Word], app="long", durability="process") as db:
        await fill()
        ticks = 0
        endless = slow().all
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(endless)
                await trio.lowlevel.checkpoint()  # it has begun, and the loop goes on
                ticks += 1
                scope.cancel()
        assert scope.cancelled_caught
        assert ticks == 1
        assert await slow().limit(1).all() == []
        assert await Word.query().count() == 2_000
        assert db.store.reader.long_ones >= 2


async def test_a_runaway_query_ends_that_was_left_before_its_thread_began(
    home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "QUICK_S", 0.0)
    begun, left, ended, rows = Event(), Event(), Event(), reading._rows

    def late(db: apsw.Connection, sql: str, bindings: tuple[Any, ...]) -> list[Any]:
        begun.set()
        left.wait(60)
        try:
            return rows(db, "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c", ())
        finally:
            ended.set()

    monkeypatch.setattr(reading, "_rows", late)
    monkeypatch.setattr(reading, "STEPS", 100)
    async with debros.open(home, models=[Word], app="long", durability="process"):
        await fill()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(slow().all)
                while not begun.is_set():
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        left.set()
        assert await trio.to_thread.run_sync(ended.wait, 20)


async def test_a_deadline_ends_a_query_inside_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "STEPS", 10)
    async with debros.open(":memory:", models=[Word], app="long", durability="process") as db:
        await fill(300)
        async with db.transaction():
            await Word.create(text="x")
            with trio.move_on_after(0.0001) as scope:
                while True:
                    await slow().all()
            assert scope.cancelled_caught
            assert await Word.query().count() == 301


async def test_a_query_may_say_how_long_it_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "QUICK_S", 0.0)
    monkeypatch.setattr(reading, "STEPS", 100)
    async with debros.open(":memory:", models=[Word], app="long", durability="process"):
        await fill()
        with pytest.raises(DeadlineError, match="explain"):
            await slow().timeout(0.000001).all()
        assert await slow().timeout(0.000001).fallback(lambda error: []).first() is None
        assert issubclass(DeadlineError, TimeoutError)


async def test_slow_queries_are_noted(caplog: pytest.LogCaptureFixture) -> None:
    async with debros.open(":memory:", models=[Word], app="long", durability="process", slow_query_s=1e-9) as db:
        await fill(10)
        assert db.slow_queries.newest() == []
        with caplog.at_level("WARNING", logger="debros.query"):
            await Word.where(Word.n == 3).all()
        [found] = db.slow_queries.newest()
        assert (found.model, found.rows, db.slow_queries.count) == ("Word", 1, 1)
        assert '"f_n" = ?' in found.sql
        assert found.seconds > 0
        assert "slow query" in caplog.text
        assert db.slow_queries.average_s == pytest.approx(found.seconds)
        for _ in range(150):
            await Word.where(Word.n == 3).count()
        assert len(db.slow_queries.newest()) == 100
    async with debros.open(":memory:", models=[Word], app="long", slow_query_s=1000) as db:
        await Word.query().all()
        assert (db.slow_queries.count, db.slow_queries.queries) == (0, 1)


async def test_a_closed_node_ends_long_queries_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "QUICK_S", 0.0)
    monkeypatch.setattr(reading, "STEPS", 100)
    async with debros.open(str(tmp_path), models=[Word], app="long", durability="process") as db:
        await fill()
        for _ in range(3):
            await slow().all()
        assert len(db.store.reader._idle) == 1
    assert db.store.reader._idle == []


async def test_a_plan_counts_the_rows_of_a_long_query_once(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "QUICK_S", 0.0)
    monkeypatch.setattr(reading, "STEPS", 100)
    async with debros.open(home, models=[Word], app="long", durability="process") as db:
        await fill(500)
        plan = await Word.where(Word.text.matches("7$")).explain()
        assert (plan.rows_examined, plan.rows) == (500, 50)
        assert db.store.reader.long_ones > 0
