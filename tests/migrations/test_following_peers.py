"""A migration that a peer applied: rows of long tables follow beside the program, all of them old or all of them new."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from debros import Field, Identity, Model, One, StorageError, belongs_to, field, migration, model
from debros.migrations import turning
from debros.node import Debros
from debros.opening import open as open_node
from debros.replica import lifting, relifting
from tests.support.versions import send

COUNT = 45


@model(name="Item", version="1.0.0")
class Item1(Model):
    text: Field[str] = field(default="")
    slug: Field[str | None] = field(default=None, unique=True)


@model(name="Item", version="1.2.0")
class Item2(Model):
    text: Field[str] = field(default="")
    slug: Field[str | None] = field(default=None, unique=True)
    size: Field[int] = field(default=0, index=True)


SIZE = migration("size", "1.1.0").add_field("Item", "size", make=lambda row: len(row["text"]) + 1)
DOUBLE = migration("double", "1.2.0").transform(
    "Item", up=lambda row: {**row, "size": row["size"] * 2}, down=lambda row: {**row, "size": row["size"] // 2}
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are many, and a batch is smaller still."""
    monkeypatch.setattr(lifting, "SHORT", 10)
    monkeypatch.setattr(relifting, "BATCH", 5)
    monkeypatch.setattr(turning, "BATCH", 5)


@asynccontextmanager
async def pair(tmp_path: Path, *steps: Any, count: int = COUNT) -> AsyncIterator[tuple[Debros, Debros]]:
    """Two nodes with the same old records; both know the migrations, the first one applies them."""
    steps = steps or (SIZE,)
    async with open_node(str(tmp_path / "old"), models=[Item1]) as old:
        await Item1.create_many({"id": f"i{n:02}", "text": "x" * n} for n in range(count))
        for name in ("here", "there"):
            async with open_node(str(tmp_path / name), models=[Item1]) as node:
                await send(old, node)
    options: dict[str, Any] = {"models": [Item2], "migrations": steps}
    async with (
        open_node(str(tmp_path / "here"), **options) as here,
        open_node(str(tmp_path / "there"), **options) as there,
    ):
        with there.current():
            yield here, there


async def sizes() -> dict[str, int]:
    return {item.id: item.size for item in await Item2.all()}


async def sizes_of(node: Debros) -> dict[str, int]:
    with node.current():
        return await sizes()


class Gate:
    """Where the making of rows waits behind its first batch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._open, self.is_reached = trio.Event(), trio.Event()
        lowlevel = SimpleNamespace(checkpoint=self._pass)
        monkeypatch.setattr(turning, "trio", SimpleNamespace(lowlevel=lowlevel, CancelScope=trio.CancelScope))

    async def _pass(self) -> None:
        self.is_reached.set()
        await self._open.wait()

    def open(self) -> None:
        self._open.set()


OLD = {f"i{n:02}": 0 for n in range(COUNT)}
NEW = {f"i{n:02}": n + 1 for n in range(COUNT)}


async def test_readers_see_old_rows_then_new_ones_and_the_loop_is_free_between_batches(tmp_path: Path) -> None:
    async with pair(tmp_path) as (here, there):
        await here.migrations.apply()
        await send(here, there)
        assert await sizes() == OLD, "it follows beside the program"
        assert there.migrations.pending_names() == []
        seen, told = [await sizes()], 0
        while there.migrations.following.behind():
            await trio.lowlevel.checkpoint()
            told += there.migrations.active is not None
            seen.append(await sizes())
        assert [rows for rows in seen if rows not in (OLD, NEW)] == []
        assert (seen[-1], await sizes()) == (NEW, NEW)
        assert len(seen) > COUNT // 5
        assert told
        assert await here.fingerprint() == await there.fingerprint()


async def test_rows_of_a_short_table_follow_in_the_flush(tmp_path: Path) -> None:
    async with pair(tmp_path, count=8) as (here, there):
        await here.migrations.apply()
        await send(here, there)
        assert await sizes() == {id: size for id, size in NEW.items() if id < "i08"}


async def test_what_is_written_and_what_arrives_meanwhile_is_followed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(tmp_path) as (here, there), open_node(":memory:", models=[Item1]) as old:
        with here.current():
            await here.migrations.apply()
        await send(here, old)
        gate = Gate(monkeypatch)
        await send(here, there)
        there.store.flush()
        await gate.is_reached.wait()
        for n in range(4):
            await (await Item2.get(f"i{n:02}")).update(text="changed", slug=f"s{n}")
            await (await Item2.get(f"i{n + 40:02}")).delete()
            await Item2.create(id=f"new {n}", text="fresh", size=7)
            with old.current():
                await (await Item1.get("i20")).update(text="o" * n)
                await Item1.create(id=f"late {n}", text="late")
            await send(old, there)
        assert there.migrations.following.behind()
        gate.open()
        await there.migrations.caught_up()
        found = await sizes()
        assert [found[f"i{n:02}"] for n in range(6)] == [8, 8, 8, 8, 5, 6]
        assert (found["i20"], found["new 2"], found["late 2"]) == (4, 7, 5)
        assert not {"i40", "i41", "i42", "i43"} & found.keys()
        assert await Item2.where(Item2.size == 5).count() == 5
        await send(there, here)
        assert await here.fingerprint() == await there.fingerprint()


async def test_effects_on_rows_that_are_being_made_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    @model(name="Box")
    class Box(Model):
        name: Field[str] = field(default="")

    @model(name="Part", version="1.0.0")
    class Old(Model):
        box_id: Field[str] = field()
        box: One[Box] = belongs_to("box_id", on_delete="cascade")

    @model(name="Part", version="1.1.0")
    class New(Model):
        box_id: Field[str] = field()
        size: Field[int] = field(default=0)
        box: One[Box] = belongs_to("box_id", on_delete="cascade")

    step = migration("size", "1.1.0").add_field("Part", "size", default=3)
    async with (
        open_node(":memory:", models=[Box, Old]) as old,
        open_node(":memory:", models=[Box, New], migrations=[step]) as here,
        open_node(":memory:", models=[Box, New], migrations=[step]) as there,
    ):
        with old.current():
            await Box.create_many({"id": id} for id in ("full", "gone"))
            await Old.create_many({"id": f"p{n}", "box_id": ("full", "gone")[n % 2]} for n in range(30))
        for node in (here, there):
            await send(old, node)
        with here.current():
            await here.migrations.apply()
        gate = Gate(monkeypatch)
        await send(here, there)
        with there.current():
            there.store.flush()
            await gate.is_reached.wait()
            await (await Box.get("gone")).delete()
            assert await New.count() == 15
            assert there.migrations.following.behind()
            gate.open()
            await there.migrations.caught_up()
            assert {part.size for part in await New.all()} == {3}
            assert await New.count() == 15
        await send(there, here)
        assert await here.fingerprint() == await there.fingerprint()


async def test_a_second_migration_that_arrives_meanwhile_is_followed_with_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(tmp_path, SIZE, DOUBLE) as (here, there):
        with here.current():
            await here.migrations.apply("size")
            async with open_node(":memory:", models=[Item2], migrations=[SIZE, DOUBLE]) as third:
                await send(here, third)
                await here.migrations.apply()
                gate = Gate(monkeypatch)
                await send(third, there)
                there.store.flush()
                await gate.is_reached.wait()
                await send(here, there)
                assert await sizes_of(there) == OLD
                gate.open()
        await there.migrations.caught_up()
        assert await sizes() == {id: 2 * size for id, size in NEW.items()}


async def test_a_rollback_by_a_peer_is_followed_and_applying_it_here_waits_for_that(tmp_path: Path) -> None:
    async with pair(tmp_path) as (here, there):
        with here.current():
            await here.migrations.apply()
            await send(here, there)
            await there.migrations.caught_up()
            await here.migrations.rollback()
        await send(here, there)
        assert await sizes() == NEW
        await there.migrations.apply()
        assert await sizes() == NEW
        assert [event.state for event in await there.migrations.history()] == ["applied", "rolled back", "applied"]


async def test_a_function_that_fails_on_a_record_leaves_it_as_stored_and_flagged(tmp_path: Path) -> None:
    picky = migration("size", "1.1.0").add_field("Item", "size", make=lambda row: {"odd": None}.get(row["text"], 4))
    async with pair(tmp_path, picky) as (here, there):
        with here.current():
            await here.migrations.apply()
        async with open_node(":memory:", models=[Item1]) as old:
            with old.current():
                await Item1.create(id="odd", text="odd")
            await send(old, there)
        await send(here, there)
        await there.migrations.caught_up()
        assert (await sizes())["i00"] == 4
        odd = await Item2.get("odd")
        assert (odd.size, odd.meta.flagged) == (0, True)


async def test_a_cut_of_the_author_takes_a_long_tables_rows_back(tmp_path: Path) -> None:
    admin, guest = Identity.generate(), Identity.generate()
    options: dict[str, Any] = {"admins": [admin.did, guest.did], "models": [Item2], "migrations": [SIZE]}
    async with (
        open_node(":memory:", models=[Item1], admins=[admin.did, guest.did]) as old,
        open_node(":memory:", identity=guest, **options) as here,
        open_node(":memory:", identity=admin, **options) as there,
    ):
        with old.current():
            await Item1.create_many({"id": f"i{n:02}", "text": "x" * n} for n in range(COUNT))
        await send(old, here)
        with here.current():
            await here.migrations.apply()
        await send(here, there)
        with there.current():
            await there.migrations.caught_up()
            assert await sizes() == NEW
        with here.current():
            await here.revoke(_did(here.device().public), keep=False)
        await send(here, there)
        with there.current():
            await there.migrations.caught_up()
            assert await sizes() == OLD


def _did(key: bytes) -> str:
    from debros.identity.did import did_of

    return did_of(key)


async def test_a_disk_that_refuses_meanwhile_leaves_the_old_rows_and_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(tmp_path) as (here, there):
        with here.current():
            await here.migrations.apply()
        failing = [True, True]

        def refuse(*arguments: Any) -> Any:
            if failing:
                failing.pop()
                raise StorageError("no room")
            return project_again(*arguments)

        project_again = turning.project_again
        monkeypatch.setattr(turning, "project_again", refuse)
        await send(here, there)
        while there.store.flush_failure is None:
            await trio.lowlevel.checkpoint()
        assert (await there.health())["view"].last_error == "no room"
        assert await sizes() == OLD
        await Item2.create(id="after", text="")
        await there.migrations.caught_up()
        assert await sizes() == NEW | {"after": 0}
        assert there.store.flush_failure is None


async def test_who_waits_for_rows_is_told_that_the_disk_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise StorageError("no room")

    async with pair(tmp_path) as (here, there):
        with here.current():
            await here.migrations.apply()
        with monkeypatch.context() as patched:
            patched.setattr(turning, "project_again", refuse)
            await send(here, there)
            with pytest.raises(StorageError, match="no room"), trio.fail_after(5):
                await there.migrations.caught_up()
        with trio.fail_after(5):
            await there.migrations.caught_up()
        assert await sizes() == NEW


async def test_a_process_that_dies_at_any_batch_finds_old_rows_or_new_ones(tmp_path: Path) -> None:
    copies: list[Path] = []
    async with pair(tmp_path) as (here, there):
        with here.current():
            await here.migrations.apply()
        await send(here, there)
        there.store.flush()
        while there.migrations.following.behind():
            copies.append(tmp_path / f"dead {len(copies)}")
            shutil.copytree(tmp_path / "there", copies[-1])
            await trio.lowlevel.checkpoint()
        copies.append(tmp_path / "dead at the end")
        shutil.copytree(tmp_path / "there", copies[-1])
        expected = await there.fingerprint()
    assert len(copies) > COUNT // 5
    for home in copies:
        async with open_node(str(home), models=[Item2], migrations=[SIZE]) as node:
            assert await sizes() == NEW
            assert await node.fingerprint() == expected
            left = node.store.view.read("SELECT name FROM sqlite_master WHERE name LIKE 's\\_%' ESCAPE '\\'", ())
            assert left == []


async def test_closing_meanwhile_does_not_wait_and_the_next_opening_shows_the_new_rows(tmp_path: Path) -> None:
    async with pair(tmp_path) as (here, there):
        with here.current():
            await here.migrations.apply()
        await send(here, there)
        await trio.lowlevel.checkpoint()
        assert there.migrations.following.behind()
    async with open_node(str(tmp_path / "there"), models=[Item2], migrations=[SIZE]):
        assert await sizes() == NEW
