"""A cursor of pages holds values to sort by; where a migration makes these read otherwise, it is refused, and else goes on."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from debros import CursorError, Field, Migration, Model, field, migration, model
from debros.opening import open as open_node
from tests.migrations.test_following_peers import Item2, pair
from tests.support.versions import send


@model(name="Fee", version="1.0.0")
class Before(Model):
    rank: Field[int] = field(default=0)
    title: Field[str] = field(default="")


@model(name="Fee", version="1.1.0")
class Retyped(Model):
    rank: Field[str] = field(default="")
    title: Field[str] = field(default="")


@model(name="Fee", version="1.1.0")
class Same(Model):
    rank: Field[int] = field(default=0)
    title: Field[str] = field(default="")


@model(name="Fee", version="1.1.0")
class Renamed(Model):
    place: Field[int] = field(default=0)
    title: Field[str] = field(default="")
    lang: Field[str] = field(default="en")


RETYPE = migration("texts", "1.1.0").change_field("Fee", "rank", up=str, down=int, was=int)
TURN = migration("turn", "1.1.0").transform(
    "Fee", lambda row: {**row, "rank": -row["rank"]}, down=lambda row: {**row, "rank": -row["rank"]}
)
SHOUT = migration("shout", "1.1.0").change_field("Fee", "title", up=str.upper, down=str.lower)
RENAME = migration("rename", "1.1.0").rename_field("Fee", "rank", "place").add_field("Fee", "lang", default="de")


async def first_page(home: Path, order: str, direction: str = "asc") -> str:
    async with open_node(str(home), models=[Before]):
        await Before.create_many([{"id": f"f{n}", "rank": n, "title": f"t{n}"} for n in range(6)])
        page = await Before.query().order_by(order, direction).limit(2).page()
        assert page.next is not None
        return page.next


async def behind(
    home: Path, cls: Any, order: str, cursor: str, *migrations: Migration, direction: str = "asc"
) -> list[str]:
    async with open_node(str(home), models=[cls], migrations=migrations) as node:
        await node.migrations.apply()
        return [one.id for one in (await cls.query().order_by(order, direction).limit(9).page(cursor)).rows]


@pytest.mark.parametrize(("cls", "step"), [(Retyped, RETYPE), (Same, TURN)], ids=["type", "values"])
@pytest.mark.parametrize("direction", ["asc", "desc"])
async def test_a_cursor_of_before_a_migration_of_what_it_sorts_by_is_refused(
    cls: Any, step: Migration, direction: str, tmp_path: Path
) -> None:
    cursor = await first_page(tmp_path, "rank", direction)
    with pytest.raises(CursorError, match=r"of before a migration.*start again from the first page"):
        await behind(tmp_path, cls, "rank", cursor, step, direction=direction)


async def test_a_cursor_of_another_type_is_refused_without_any_migration(tmp_path: Path) -> None:
    cursor = await first_page(tmp_path, "rank")
    with pytest.raises(CursorError, match="another type"):
        await behind(tmp_path, Retyped, "rank", cursor)


async def test_a_cursor_goes_on_behind_migrations_of_other_fields_and_a_new_name(tmp_path: Path) -> None:
    cursor = await first_page(tmp_path, "rank")
    assert await behind(tmp_path, Same, "rank", cursor, SHOUT) == ["f2", "f3", "f4", "f5"]
    cursor = await first_page(tmp_path / "other", "rank")
    assert await behind(tmp_path / "other", Renamed, "place", cursor, RENAME) == ["f2", "f3", "f4", "f5"]


async def test_a_cursor_by_ids_goes_on_behind_any_migration(tmp_path: Path) -> None:
    cursor = await first_page(tmp_path, "id")
    assert await behind(tmp_path, Same, "id", cursor, TURN) == ["f2", "f3", "f4", "f5"]


async def test_a_cursor_of_a_migration_that_was_taken_back_is_refused(tmp_path: Path) -> None:
    await first_page(tmp_path, "rank")
    async with open_node(str(tmp_path), models=[Same], migrations=[TURN]) as node:
        await node.migrations.apply()
        query = Same.query().order_by("rank").limit(2)
        page = await query.page()
        assert [one.id for one in page.rows] == ["f5", "f4"]
        assert [one.id for one in (await query.page(page.next)).rows] == ["f3", "f2"]
        await node.migrations.rollback()
        with pytest.raises(CursorError, match="before a migration"):
            await query.page(page.next)
        raw = Same.query().order_by_raw("{rank} + 1").limit(2)
        page = await raw.page()
        await node.migrations.apply()
        with pytest.raises(CursorError, match="before a migration"):
            await raw.page(page.next)


async def test_a_page_waits_for_who_writes_into_the_view_while_a_peers_migration_is_about_to_turn_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("debros.replica.lifting.SHORT", 500)
    async with pair(tmp_path) as (here, there):
        await here.migrations.apply()
        other = there.store.view.another(writing=True)
        async with trio.open_nursery() as nursery:
            sizes: list[int] = []

            async def page() -> None:
                rows = (await Item2.query().order_by("size").limit(3).page()).rows
                sizes.extend(one.size for one in rows)

            with closing(other), there.store.taking():  # as an index is built, by a thread
                other.execute("BEGIN IMMEDIATE")
                await send(here, there)
                nursery.start_soon(page)
                await trio.testing.wait_all_tasks_blocked()
                assert sizes == []
                other.execute("ROLLBACK")
        assert sizes == [1, 2, 3]
