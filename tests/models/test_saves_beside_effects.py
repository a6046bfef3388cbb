"""A key that reads null because its target is gone comes back with the target, whatever was saved meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from debros import Field, Model, One, belongs_to, field, model
from tests.support.nodes import a_node


@model(name="Author")
class Author(Model):
    name: Field[str] = field(default="")


class _Page(Model):
    title: Field[str] = field(default="")
    author_id: Field[str | None] = field(default=None)
    author: One[Author | None] = belongs_to("author_id", on_delete="set_null")


@model(name="Page")
class Page(_Page):
    pass


@model(name="Setting", store="keyvalue")
class Setting(_Page):
    pass


@pytest.mark.parametrize("cls", [Page, Setting])
async def test_a_save_of_another_field_leaves_the_key_that_reads_null(cls: Any) -> None:
    async with a_node(Author, Page, Setting):
        author = await Author.create(name="ana")
        loaded_before = await cls.create(title="a", author_id=author.id)
        await author.delete()
        page = await cls.get(loaded_before.id)
        assert page.author_id is None
        await page.update(title="b")
        await cls.where(cls.id == page.id).update(title="c")
        await cls.upsert(page.id, title="d")
        await author.restore()
        found = await cls.get(page.id)
        assert (found.title, found.author_id) == ("d", author.id)
        await found.update(author_id=None)
        assert (await cls.get(page.id)).author_id is None, "who takes the key away has taken it away"
        await author.delete()
        await author.restore()
        assert (await cls.get(page.id)).author_id is None


@pytest.mark.parametrize("cls", [Page, Setting])
async def test_another_target_is_set_over_the_one_that_is_gone(cls: Any) -> None:
    async with a_node(Author, Page, Setting):
        ana, bo = await Author.create(name="ana"), await Author.create(name="bo")
        page = await cls.create(author_id=ana.id)
        await ana.delete()
        await (await cls.get(page.id)).update(author_id=bo.id)
        await ana.restore()
        assert (await cls.get(page.id)).author_id == bo.id
