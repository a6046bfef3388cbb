"""Many new rows take the place of the old ones in a thread: a reader sees all of them or none, and so does a crash."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio

from debros import Field, Model, StorageError, field, migration, model
from debros.migrations import turning
from debros.node import Debros
from debros.opening import open as open_node
from debros.replica import lifting, swapping
from tests.support.versions import send

COUNT = 60


@model(name="Log", version="1.0.0")
class Log1(Model):
    text: Field[str] = field(default="", index=True)
    tags: Field[set[str]] = field(default_factory=set, index=True)


@model(name="Log", version="1.1.0")
class Log2(Model):
    text: Field[str] = field(default="", index=True)
    tags: Field[set[str]] = field(default_factory=set, index=True)
    size: Field[int] = field(default=0, index=True)


@model(name="Other")
class Other(Model):
    text: Field[str] = field(default="", index=True)


SIZE = migration("size", "1.1.0").add_field("Log", "size", make=lambda row: len(row["text"]) + 1)
OLD, NEW = [0] * COUNT, list(range(1, COUNT + 1))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are many."""
    monkeypatch.setattr(lifting, "SHORT", 10)
    monkeypatch.setattr(turning, "SHORT", 10)


@asynccontextmanager
async def upgraded(home: Path, **options: Any) -> AsyncIterator[Debros]:
    async with open_node(str(home), models=[Log2], migrations=[SIZE], **options) as node:
        await trio.lowlevel.checkpoint()  # who follows has begun
        yield node


@pytest.fixture
def home(tmp_path: Path) -> Path:
    async def fill() -> None:
        async with open_node(str(tmp_path / "home"), models=[Log1]):
            await Log1.create_many({"id": f"l{n:02}", "text": "x" * n, "tags": {f"t{n % 3}"}} for n in range(COUNT))

    trio.run(fill)
    return tmp_path / "home"


async def sizes() -> list[int]:
    return [log.size for log in await Log2.query().order_by("id").all()]


@pytest.fixture
def swaps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often a thread put rows in place."""
    counted: list[int] = []

    def put(*arguments: Any) -> None:
        real(*arguments)
        counted.append(1)

    real = swapping._put
    monkeypatch.setattr(swapping, "_put", put)
    return counted


async def test_readers_by_query_and_by_id_see_the_same_all_the_time(home: Path, swaps: list[int]) -> None:
    seen: list[tuple[int, int]] = []
    async with upgraded(home) as node:

        async def read() -> None:
            while True:
                known = node.collection(Log2.__schema__).row("l59")
                assert known is not None
                seen.append((known[3], sum(await sizes())))
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await node.migrations.apply()
            assert (await Log2.get("l59")).size == COUNT
            assert await sizes() == NEW
            nursery.cancel_scope.cancel()
        assert swaps == [1]
        assert (0, 0) in seen
        assert set(seen) <= {(0, 0), (COUNT, sum(NEW))}
        assert await Log2.where(Log2.size > 30).count() == 30
        assert await Log2.where(Log2.tags.contains("t1")).count() == COUNT // 3
        await (await Log2.get("l00")).update(text="edited")
        assert (await Log2.get("l00")).size == 7
        before = await node.fingerprint()
    (home / "view.sqlite").unlink()
    async with upgraded(home) as node:
        assert await node.fingerprint() == before


async def test_rolled_back_and_applied_again(home: Path, swaps: list[int]) -> None:
    async with upgraded(home) as node:
        await node.migrations.apply()
        await node.migrations.rollback()
        assert await sizes() == OLD
        await node.migrations.apply()
        assert await sizes() == NEW
    assert swaps == [1, 1, 1]


async def test_a_peers_migration_is_swapped_in_like_ones_own(home: Path, tmp_path: Path, swaps: list[int]) -> None:
    shutil.copytree(home, tmp_path / "other", ignore=shutil.ignore_patterns("device*", "lock"))
    told: list[Any] = []
    async with upgraded(home) as here, upgraded(tmp_path / "other") as there:
        with here.current():
            await here.migrations.apply()
        there.store.on_moved.append(lambda places, models: told.append(list(models)))
        await send(here, there)
        await there.migrations.caught_up()
        with there.current():
            assert await sizes() == NEW
        assert told == [["Log"]]
        assert await here.fingerprint() == await there.fingerprint()
    assert swaps == [1, 1]


async def test_a_process_that_dies_while_the_thread_is_at_it_finds_old_rows_or_new_ones(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied(when: str) -> None:
        shutil.copytree(home, tmp_path / when)

    def put(*arguments: Any) -> None:
        copied("begun")
        real(*arguments)
        copied("not committed")

    real = swapping._put
    async with upgraded(home) as node:
        monkeypatch.setattr(swapping, "_put", put)
        await node.migrations.apply()
        copied("committed")
        expected = await node.fingerprint()
    for when in ("begun", "not committed", "committed"):
        async with upgraded(tmp_path / when) as node:
            assert await sizes() == NEW, "that it is applied was in the log"
            assert await node.fingerprint() == expected


async def test_a_disk_that_is_full_leaves_the_old_rows_and_who_follows_makes_them(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise apsw.FullError("no room")

    async with upgraded(home) as node:
        with monkeypatch.context() as patched:
            patched.setattr(swapping, "_put", full)
            with pytest.raises(StorageError, match="no room"):
                await node.migrations.apply()
            assert await sizes() == OLD
        await node.migrations.caught_up()
        assert await sizes() == NEW
        assert node.migrations.pending_names() == []
        await Log2.create(text="new", size=4)


async def test_rows_with_unique_values_and_those_in_memory_are_swapped_by_the_flush(swaps: list[int]) -> None:
    async with (
        open_node(":memory:", models=[Log1]) as old,
        open_node(":memory:", models=[Log2], migrations=[SIZE]) as new,
    ):
        with old.current():
            await Log1.create_many({"id": f"l{n:02}", "text": "x" * n} for n in range(COUNT))
        await send(old, new)
        with new.current():
            await new.migrations.apply()
            assert await sizes() == NEW
    assert swaps == []


@pytest.mark.parametrize("ahead", [0, 2, 8, 20])
async def test_many_other_records_may_be_written_at_once_while_rows_are_made_beside_the_old_ones(
    home: Path, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    monkeypatch.setattr("debros.replica.relifting.BATCH", 5)
    monkeypatch.setattr("debros.replica.ahead.LARGE", 10)
    monkeypatch.setattr("debros.replica.ahead.TURN", 3)
    async with open_node(str(home), models=[Log2, Other], migrations=[SIZE]) as node:
        node.store.view.db.set_busy_timeout(0)  # nobody waits for another connection with the loop in its hands
        await Other.create_many({"text": "a"} for _ in range(COUNT))

        async def write() -> None:
            for text in "bcde":
                await Other.query().update(text=text)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            for _ in range(ahead):
                await trio.lowlevel.checkpoint()
            await node.migrations.apply()
        assert await sizes() == NEW
        assert await Other.where(Other.text == "e").count() == COUNT
