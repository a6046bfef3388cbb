"""Tasks that save one record object at once: every difference is written once, and edits made meanwhile stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
import trio

import debros
from debros import Field, Model, after_update, before_save, field, model
from tests.support.nodes import a_node


@model(scope="global")
class Page(Model):
    text: Field[str] = field(default="")
    lines: Field[list[str]] = field(default_factory=list)
    tags: Field[set[str]] = field(default_factory=set, merge="set")
    likes: Field[int] = field(default=0, merge="counter")


@model(scope="global")
class Hooked(Model):
    lines: Field[list[str]] = field(default_factory=list)
    tags: Field[set[str]] = field(default_factory=set, merge="set")
    likes: Field[int] = field(default=0, merge="counter")

    @before_save
    async def wait(self) -> None:
        await trio.lowlevel.checkpoint()


TOLD: list[dict[str, Any]] = []


@model(scope="global")
class Told(Model):
    lines: Field[list[str]] = field(default_factory=list)

    @after_update
    async def tell(self) -> None:
        TOLD.append(dict(self.changes))


async def under_way(record: Model) -> None:
    """Wait until the save of a record has worked out what to write, and is writing."""
    for _ in range(1000):
        if "_turn" in vars(record):
            return
        await trio.lowlevel.checkpoint()
    raise AssertionError("the record is not being saved, or the save did not wait for the disk")


async def like(page: Page | Hooked) -> None:
    page.likes += 1
    await page.save()


@pytest.mark.parametrize("durability", ["disk", "process"])
@pytest.mark.parametrize("kind", [Page, Hooked])
async def test_a_counter_counts_each_step_once(
    durability: Literal["disk", "process"], kind: type[Page] | type[Hooked]
) -> None:
    async with a_node(Page, Hooked, durability=durability):
        page = await kind.create()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(like, page)
        assert page.likes == (await kind.get(page.id)).likes == 20
        assert not page.is_changed()
        page.likes += 10
        async with trio.open_nursery() as nursery:
            nursery.start_soon(page.save)
            nursery.start_soon(page.save)
        assert page.likes == (await kind.get(page.id)).likes == 30


async def test_an_edit_made_while_a_save_is_under_way_stays_unsaved() -> None:
    async with a_node(Page, Hooked, durability="disk"):
        page = await Page.create()
        page.text = "first"

        async def edit() -> None:
            page.text = "second"
            page.likes += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(page.save)
            nursery.start_soon(edit)
        await page.save()
        assert ((await Page.get(page.id)).text, (await Page.get(page.id)).likes) == ("second", 1)


async def test_a_new_record_that_tasks_save_at_once_is_created_once() -> None:
    async with a_node(Page, Hooked, durability="disk"):
        page = Page(text="new")
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(page.save)
        assert await Page.count() == 1
        assert len(await page.history()) == 1


@pytest.mark.parametrize("kind", [Page, Hooked])
async def test_an_edit_in_place_made_while_a_save_is_under_way_stays_unsaved(
    kind: type[Page] | type[Hooked], tmp_path: Path
) -> None:
    async with debros.open(tmp_path / "home", app="pages", models=[Page, Hooked, Told], durability="disk"):
        page = await kind.create(lines=["one"], tags={"a", "b"})
        lines, tags = page.lines, page.tags
        lines.append("two")
        tags.add("c")

        async def edit() -> None:
            await under_way(page)
            lines.append("three")
            tags.add("d")
            tags.discard("a")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(page.save)
            nursery.start_soon(edit)
        written = await kind.get(page.id)
        assert (written.lines, written.tags) == (["one", "two"], {"a", "b", "c"})
        assert page.lines is lines
        assert page.tags is tags
        assert (lines, tags) == (["one", "two", "three"], {"b", "c", "d"})
        assert page.is_changed("lines")
        assert page.is_changed("tags")
        await page.save()
        written = await kind.get(page.id)
        assert (written.lines, written.tags) == (["one", "two", "three"], {"b", "c", "d"})


async def test_a_set_edited_while_a_save_is_under_way_takes_what_others_added(tmp_path: Path) -> None:
    async with debros.open(tmp_path / "home", app="pages", models=[Page, Hooked, Told], durability="disk"):
        page = await Page.create(tags={"a"})
        other = await Page.get(page.id)
        other.tags.add("theirs")
        await other.save()
        page.tags.add("b")

        async def edit() -> None:
            await under_way(page)
            page.tags.add("c")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(page.save)
            nursery.start_soon(edit)
        assert page.tags == {"a", "b", "c", "theirs"}
        await page.save()
        assert (await Page.get(page.id)).tags == {"a", "b", "c", "theirs"}


async def test_an_edit_in_place_stays_where_the_save_under_way_is_cancelled(tmp_path: Path) -> None:
    async with debros.open(tmp_path / "home", app="pages", models=[Page, Hooked, Told], durability="disk") as db:
        page = await Hooked.create(lines=["one"])
        page.lines.append("two")
        async with trio.open_nursery() as nursery, db.store.writer.exclusive():  # so that the save waits for its turn
            nursery.start_soon(page.save)
            await under_way(page)
            page.lines.append("three")
            page.likes += 1
            nursery.cancel_scope.cancel()
        assert (page.lines, page.likes) == (["one", "two", "three"], 1)
        await page.save()
        assert ((await Hooked.get(page.id)).lines, (await Hooked.get(page.id)).likes) == (["one", "two", "three"], 1)


async def test_what_a_hook_is_told_is_what_was_written_not_what_was_edited_since(tmp_path: Path) -> None:
    async with debros.open(tmp_path / "home", app="pages", models=[Page, Hooked, Told], durability="disk"):
        told = await Told.create(lines=["one"])
        told.lines.append("two")

        async def edit() -> None:
            await under_way(told)
            told.lines.append("three")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(told.save)
            nursery.start_soon(edit)
        assert TOLD == [{"lines": (["one"], ["one", "two"])}]


async def test_records_with_given_ids_that_are_saved_together_keep_what_is_edited_meanwhile(tmp_path: Path) -> None:
    async with debros.open(tmp_path / "home", app="pages", models=[Page, Hooked, Told], durability="disk"):
        page = Page(id="p", lines=["one"])

        async def edit() -> None:
            await under_way(page)
            page.lines.append("two")
            page.text = "new"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(Page.create_many, [page])
            nursery.start_soon(edit)
        assert (page.lines, page.text) == (["one", "two"], "new")
        assert page.is_changed("lines")
        await page.save()
        assert ((await Page.get("p")).lines, (await Page.get("p")).text) == (["one", "two"], "new")
