"""What a deleted target does to the records that refer to it."""

from __future__ import annotations

import pytest

import debros
from debros import Field, Model, One, belongs_to, field, model
from tests.support.nodes import a_node


@model(scope="global")
class Folder(Model):
    name: Field[str] = field(default="")


@model(scope="global")
class Document(Model):
    folder_id: Field[str]
    folder: One[Folder] = belongs_to("folder_id", on_delete="restrict")


@model(scope="global")
class Page(Model):
    folder_id: Field[str]
    folder: One[Folder] = belongs_to("folder_id", on_delete="cascade")


@model(scope="global")
class Link(Model):
    folder_id: Field[str | None]
    folder: One[Folder | None] = belongs_to("folder_id", on_delete="set_null")


MODELS = (Folder, Document, Page, Link)


async def test_restrict_refuses_while_others_refer_to_the_record() -> None:
    async with a_node(*MODELS):
        folder = await Folder.create()
        document = await Document.create(folder_id=folder.id)
        with pytest.raises(debros.RestrictedError) as caught:
            await folder.delete()
        assert caught.value.by == "Document.folder"
        assert not folder.meta.is_deleted
        await document.delete()
        await folder.delete()


async def test_a_cascading_target_hides_its_children_until_it_is_restored() -> None:
    async with a_node(*MODELS):
        folder = await Folder.create()
        page = await Page.create(folder_id=folder.id)
        await folder.delete()
        assert await Page.get_or_none(page.id) is None
        assert (await Page.get(page.id, deleted=True)).folder_id == folder.id
        await folder.restore()
        assert await Page.get(page.id) == page


async def test_a_set_null_key_reads_null_until_its_target_is_restored() -> None:
    async with a_node(*MODELS):
        folder = await Folder.create()
        link = await Link.create(folder_id=folder.id)
        await folder.delete()
        assert (await Link.get(link.id)).folder_id is None
        await folder.restore()
        assert (await Link.get(link.id)).folder_id == folder.id
