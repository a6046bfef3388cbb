"""The past of a record."""

from __future__ import annotations

import pytest

import debros
from debros import Field, Model, field, model
from debros.identity.keys import Identity
from tests.support.nodes import a_node


@model(scope="global")
class Page(Model):
    title: Field[str]
    views: Field[int] = field(default=0, merge="counter")
    tags: Field[set[str]] = field(default_factory=set)


async def test_history_lists_every_version_oldest_first() -> None:
    async with a_node(Page) as node:
        page = await Page.create(title="a")
        async with node.acting_as(Identity.generate()) as bo:
            await (await Page.get(page.id)).update(title="b", views=2)
        await page.refresh()
        await page.update(tags={"x"})
        await page.delete()
        await page.restore()
        versions = await page.history()
        assert [version.kind for version in versions] == ["create", "update", "update", "delete", "restore"]
        assert [version.author for version in versions][:3] == [node.identity.did, bo.did, node.identity.did]
        assert versions[1].changes == {"title": ("a", "b"), "views": (0, 2)}
        assert versions[2].changes == {"tags": (set(), {"x"})}
        assert [version.row.title for version in versions] == ["a", "b", "b", "b", "b"]
        assert versions[4].cid == page.meta.cid
        assert versions[0].at == page.meta.created_at
        assert versions == sorted(versions, key=lambda version: version.at)


async def test_a_version_says_who_created_the_record_and_not_who_wrote_last() -> None:
    async with a_node(Page) as node:
        page = await Page.create(title="a")
        async with node.acting_as(Identity.generate()) as bo:
            await (await Page.get(page.id)).update(title="b")
            await (await Page.get(page.id)).delete()
            again = await Page.create(id=page.id, title="c")
        versions = await again.history()
        assert versions[-1].author == bo.did
        assert {version.row.meta.created_by for version in versions} == {again.meta.created_by} == {node.identity.did}
        assert versions[1].row.meta.created_at == versions[0].at


async def test_a_version_of_before_the_creation_that_counts_has_its_facts_too() -> None:
    async with a_node(Page, identity=(ana := Identity.generate()), admins=[ana.did]) as node:
        async with node.acting_as(Identity.generate()) as bo:
            page = await Page.create(title="a")
        await (await Page.get(page.id)).update(title="b")
        await node.revoke(bo.did, keep=False)
        again = await Page.create(id=page.id, title="c")
        edited, created = await again.history()
        assert (edited.kind, edited.row.title, created.kind) == ("update", "b", "create")
        assert edited.row.meta.created_at == edited.at
        assert {version.row.meta.created_by for version in (edited, created)} == {ana.did}


async def test_blame_names_the_version_of_each_fields_value() -> None:
    async with a_node(Page):
        page = await Page.create(title="a")
        await page.update(title="b")
        await page.update(views=3)
        first, second, third = await page.history()
        blame = await page.blame()
        assert blame["title"] == second
        assert blame["views"] == third
        assert first.changes["title"] == (None, "a")


async def test_a_record_that_nobody_changed_at_once_has_no_conflicts() -> None:
    async with a_node(Page):
        page = await Page.create(title="a")
        await page.update(title="b")
        assert await page.conflicts() == {}


async def test_an_unsaved_record_has_no_past() -> None:
    page = Page(title="a")
    for call in (page.history, page.blame, page.conflicts):
        with pytest.raises(debros.NotFoundError):
            await call()
