"""What takes long on the loop lets other tasks have their turns: between rows, changes and entries, however few entries they come in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio

import debros
from debros import Debros, Field, Model, model
from debros.replica.changes import Change
from debros.replica.entries import EntryRow
from debros.replica.pacing import Pacing

RECORDS = 8000


@model(scope="global")
class Sample(Model):
    n: Field[int]


class Turns:
    """Another task, which counts its turns."""

    had = 0

    async def count(self) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            self.had += 1


async def stream(db: Debros, home: Path) -> None:
    assert len([sample async for sample in Sample.where(Sample.n >= 0).stream()]) == RECORDS


async def batches(db: Debros, home: Path) -> None:
    assert len([part async for part in Sample.where(Sample.n >= 0).batches(500)]) == RECORDS // 500


async def as_of(db: Debros, home: Path) -> None:
    at = datetime.now(UTC) + timedelta(minutes=1)
    assert await Sample.as_of(at).where(Sample.n >= 0).count() == RECORDS


async def fingerprint(db: Debros, home: Path) -> None:
    assert await db.fingerprint() == await db.fingerprint()


async def history(db: Debros, home: Path) -> None:
    assert len(await (await Sample.get("edited")).history()) == 600


@pytest.mark.parametrize(("work", "least"), [(stream, 30), (batches, 12), (as_of, 6), (fingerprint, 4), (history, 3)])
def test_others_have_their_turns(tmp_path: Path, work: Callable[[Debros, Path], Awaitable[None]], least: int) -> None:
    turns = Turns()

    async def main() -> None:
        home = tmp_path / "home"
        async with debros.open(home, models=[Sample], durability="process") as db:
            await Sample.create_many([{"n": n} for n in range(RECORDS - 1)])
            edited = await Sample.create(id="edited", n=0)
            for n in range(1, 600 if work is history else 1):
                await edited.update(n=n)
        async with debros.open(home, models=[Sample], durability="process") as db, trio.open_nursery() as nursery:
            nursery.start_soon(turns.count)
            await trio.lowlevel.checkpoint()
            before = turns.had
            await work(db, home)
            assert turns.had - before >= least
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_content_is_looked_for_in_turns(tmp_path: Path) -> None:
    turns, looked = Turns(), list[int]()

    async def main() -> None:
        async with debros.open(tmp_path, models=[Sample], durability="process"):
            await Sample.create_many([{"n": n} for n in range(RECORDS)])
        async with debros.open(tmp_path, models=[Sample]) as db, trio.open_nursery() as nursery:
            nursery.start_soon(turns.count)
            changes_of = db.store.changes_of

            def told(entry: EntryRow) -> Collection[Change]:
                looked.append(turns.had)
                return changes_of(entry)

            db.store.changes_of = told  # type: ignore[method-assign]
            await db.pins.ready()
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert len(looked) == RECORDS // 1000
    assert len(set(looked)) >= len(looked) // 2  # which of two tasks goes first is left to chance


async def test_a_turn_comes_after_so_much_work() -> None:
    pacing = Pacing(10)
    with trio.CancelScope() as scope:
        scope.cancel()
        await pacing.did(4)
        await pacing.did(5)
        await pacing.did(1)
        pytest.fail("a checkpoint was due")
    assert scope.cancelled_caught
