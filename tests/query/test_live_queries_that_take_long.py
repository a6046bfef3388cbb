"""What a live query reads may take long: it reads beside the loop, and misses nothing that is written meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import debros
from debros import Field, Model, One, belongs_to, field, model
from debros.replica.reading import Reader
from debros.replica.tables import Row

Meanwhile = Callable[[], Awaitable[object]]


@model(name="SlowUser")
class User(Model):
    name: Field[str]


@model(name="SlowNote")
class Note(Model):
    room: Field[str] = field(index=True)
    stars: Field[int] = field(default=0)
    user_id: Field[str | None] = field(default=None)
    user: One[User | None] = belongs_to("user_id")


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> list[Meanwhile]:
    """Every query of the loop is broken off, and what is in the list is done, once each, when a thread has read."""
    waiting: list[Meanwhile] = []
    beside = Reader.beside

    async def slowly(self: Reader, sql: str, bindings: Sequence[Any], *, by_id: bool = False) -> list[Row]:
        found = await beside(self, sql, bindings, by_id=by_id)
        if waiting:
            await waiting.pop(0)()
        return found

    monkeypatch.setattr(Reader, "quick", lambda self, sql, bindings, until: None)
    monkeypatch.setattr(Reader, "beside", slowly)
    return waiting


def opened(home: Path) -> Any:
    return debros.open(home, app="slow", models=[User, Note], durability="process")


async def ids_once_settled(view: Any, changes: int) -> list[str]:
    for _ in range(changes):
        with trio.fail_after(5):
            await anext(view)
    return [note.id for note in view.rows]


@pytest.mark.parametrize("includes", [False, True])
async def test_a_row_that_leaves_while_the_first_rows_are_read_is_removed(
    tmp_path: Path, meanwhile: list[Meanwhile], includes: bool
) -> None:
    async with opened(tmp_path / "home"):
        await User.create(id="u", name="Ana")
        a, _ = await Note.create(id="a", room="x", user_id="u"), await Note.create(id="b", room="x", user_id="u")
        query = Note.where(Note.room == "x")
        meanwhile.append(lambda: a.update(room="y"))
        async with (query.include(Note.user) if includes else query).live() as view:
            assert [note.id for note in view.rows] == ["a", "b"], "as it was read"
            assert await ids_once_settled(view, 1) == ["b"]


async def test_a_row_that_comes_while_the_first_rows_are_read_is_added(
    tmp_path: Path, meanwhile: list[Meanwhile]
) -> None:
    async with opened(tmp_path / "home"):
        await Note.create(id="a", room="x")
        meanwhile.append(lambda: Note.create(id="b", room="x"))
        async with Note.where(Note.room == "x").live() as view:
            assert [note.id for note in view.rows] == ["a"]
            assert await ids_once_settled(view, 1) == ["a", "b"]


async def test_rows_that_change_while_a_limited_result_is_filled_up_end_where_a_fresh_query_has_them(
    tmp_path: Path, meanwhile: list[Meanwhile]
) -> None:
    async with opened(tmp_path / "home"):
        await Note.create_many([{"id": id, "room": "x", "stars": n} for n, id in enumerate("abcdef")])
        query = Note.where(Note.room == "x").order_by(Note.stars.asc()).limit(3)

        async def move() -> None:
            await (await Note.get("b")).update(stars=10)  # it was held, and comes last
            await (await Note.get("d")).update(room="y")  # what the thread has just found

        async with query.live() as view:
            meanwhile.append(move)
            await (await Note.get("a")).delete()
            fresh: list[str] = []
            with trio.move_on_after(1):
                while fresh != ["c", "e", "f"]:
                    await anext(view)
                    fresh = [note.id for note in view.rows]
            assert fresh == ["c", "e", "f"] == [note.id for note in await query.all()]


async def test_a_view_that_is_left_while_it_reads_holds_nothing(tmp_path: Path, meanwhile: list[Meanwhile]) -> None:
    async with opened(tmp_path / "home") as db, trio.open_nursery() as nursery:
        note = await Note.create(id="a", room="x")
        view = Note.where(Note.room == "x").limit(1).live()
        live = await view.__aenter__()

        async def leave() -> None:
            await view.__aexit__(None, None, None)

        meanwhile.append(leave)
        await note.delete()
        nursery.start_soon(read_to_the_end, live)
        await trio.testing.wait_all_tasks_blocked()
    assert db.watchers.is_idle


async def read_to_the_end(live: Any) -> None:
    with pytest.raises(debros.ClosedError):
        async for _ in live:
            pass
