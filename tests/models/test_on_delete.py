"""What a deleted target does to the records that refer to it."""

from __future__ import annotations

from typing import Any

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


@model(scope="global")
class Sheet(Model):
    folder_id: Field[str]
    other_id: Field[str | None]
    folder: One[Folder] = belongs_to("folder_id", on_delete="cascade")
    other: One[Folder | None] = belongs_to("other_id", on_delete="set_null")


@model(scope="global")
class Mark(Model):
    sheet_id: Field[str]
    sheet: One[Sheet] = belongs_to("sheet_id", on_delete="cascade")


async def test_what_went_with_a_record_comes_with_it_though_another_target_of_it_comes_back_too() -> None:
    async with a_node(Folder, Sheet, Mark) as db:
        folders = await Folder.create_many([{} for _ in range(24)])  # in a set they have any order
        sheets = await Sheet.create_many(
            {"folder_id": one.id, "other_id": other.id} for one, other in zip(folders[::2], folders[1::2], strict=True)
        )
        await Mark.create_many({"sheet_id": sheet.id} for sheet in sheets)
        for folder in folders:
            await folder.delete()
        assert (await Sheet.count(), await Mark.count()) == (0, 0)
        for folder in folders:
            await folder.restore()
        assert [sheet.other_id for sheet in await Sheet.all()] == [folder.id for folder in folders[1::2]]
        assert (await Sheet.count(), await Mark.count()) == (12, 12)
        async with db.transaction():
            await Folder.query().delete()
            assert await Mark.count() == 0
            for folder in folders:
                await folder.restore()
            assert await Mark.count() == 12
        assert await Mark.count() == 12


@model(scope="user")
class Box(Model):
    inside_id: Field[str | None] = field(default=None)
    inside: One[Box | None] = belongs_to("inside_id", on_delete="cascade")
    topics: Field[list[str]] = field(default_factory=list, index=True)


@model(scope="user")
class Thing(Model):
    box_id: Field[str | None]
    box: One[Box | None] = belongs_to("box_id", on_delete="cascade")
    size: Field[int] = field(default=0, index=True)


async def test_more_children_than_are_looked_at_at_once_go_and_come_with_their_targets(monkeypatch: Any) -> None:
    monkeypatch.setattr("debros.replica.effects.TURN", 4)
    async with a_node(Box, Thing):
        root = await Box.create()
        boxes = await Box.create_many([{"inside_id": root.id, "topics": ["wood"]} for _ in range(9)])
        other = await Box.create(topics=["wood"])
        await Thing.create_many([{"box_id": box.id, "size": n} for n, box in enumerate(boxes)])
        kept = await Thing.create(box_id=other.id, size=3)
        for _ in range(2):
            await root.delete()
            assert await Box.where(Box.topics.contains("wood")).all() == [other]
            assert await Thing.where(Thing.size >= 0).all() == [kept]
            await root.restore()
            assert await Box.where(Box.topics.contains("wood")).count() == 10
            assert await Thing.where(Thing.size >= 0).count() == 10
