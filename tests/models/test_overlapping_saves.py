"""Tasks that save one record object at once: every difference is written once, and edits made meanwhile stay."""

from __future__ import annotations

from typing import Literal

import pytest
import trio

from debros import Field, Model, before_save, field, model
from tests.support.nodes import a_node


@model(scope="global")
class Page(Model):
    text: Field[str] = field(default="")
    likes: Field[int] = field(default=0, merge="counter")


@model(scope="global")
class Hooked(Model):
    likes: Field[int] = field(default=0, merge="counter")

    @before_save
    async def wait(self) -> None:
        await trio.lowlevel.checkpoint()


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
