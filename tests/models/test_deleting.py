"""Deleting and restoring."""

from __future__ import annotations

import pytest

import debros
from debros import Field, Many, Model, One, after_delete, belongs_to, field, has_many, has_one, model
from tests.support.nodes import a_node

deleted: list[str] = []


@model(scope="global")
class Folder(Model):
    name: Field[str] = field(unique=True)
    parent_id: Field[str | None] = field(default=None)
    parent: One[Folder | None] = belongs_to("parent_id")
    folders: Many[Folder] = has_many("parent_id", limit=1)
    files: Many[Document] = has_many("folder_id")
    cover: One[Cover | None] = has_one("folder_id")

    @after_delete
    def note(self) -> None:
        deleted.append(self.name)


@model(scope="global")
class Document(Model):
    folder_id: Field[str]
    folder: One[Folder] = belongs_to("folder_id", on_delete="restrict")


@model(scope="global")
class Cover(Model):
    folder_id: Field[str]


MODELS = (Folder, Document, Cover)


@pytest.fixture(autouse=True)
def forget() -> None:
    deleted.clear()


async def test_a_deleted_record_does_not_show_and_can_be_restored() -> None:
    async with a_node(*MODELS):
        folder = await Folder.create(name="a")
        await folder.delete()
        assert folder.meta.is_deleted
        assert await Folder.get_or_none(folder.id) is None
        assert await Folder.count() == 0
        assert (await Folder.get(folder.id, deleted=True)).name == "a"
        assert await folder.restore() is folder
        assert not folder.meta.is_deleted
        assert (await Folder.get(folder.id)).name == "a"


async def test_deleting_twice_and_restoring_twice_is_harmless() -> None:
    async with a_node(*MODELS) as node:
        folder = await Folder.create(name="a")
        other = await Folder.get(folder.id)
        await folder.delete()
        entries = node.status().entries
        await folder.delete()
        await other.delete()
        assert other.meta.is_deleted
        assert node.status().entries == entries
        assert deleted == ["a"]
        await folder.restore()
        await folder.restore()
        assert node.status().entries == entries + 1


async def test_a_record_that_was_never_saved_cannot_be_deleted_or_restored() -> None:
    async with a_node(*MODELS):
        with pytest.raises(debros.NotFoundError):
            await Folder(name="a").delete()
        with pytest.raises(debros.NotFoundError):
            await Folder(name="a").restore()
        with pytest.raises(debros.NotFoundError):
            await Folder.get("never", deleted=True)


async def test_restoring_a_value_since_taken_is_a_unique_error() -> None:
    async with a_node(*MODELS):
        folder = await Folder.create(name="a")
        await folder.delete()
        await Folder.create(name="a")
        with pytest.raises(debros.UniqueError):
            await folder.restore()
        assert folder.meta.is_deleted


async def test_cascade_deletes_what_the_record_has_in_one_transaction() -> None:
    async with a_node(*MODELS) as node:
        root = await Folder.create(name="root")
        inner = await Folder.create_many([{"name": f"in {n}", "parent_id": root.id} for n in range(3)])
        await root.update(parent_id=inner[0].id)  # a cycle
        await Document.create_many([{"folder_id": inner[n].id} for n in (0, 0, 2)])
        await Cover.create(folder_id=root.id)
        other = await Folder.create(name="other")
        entries = node.status().entries
        await root.delete(cascade=True)
        assert node.status().entries == entries + 1
        assert await Folder.all() == [other]
        assert (await Document.count(), await Cover.count()) == (0, 0)
        assert sorted(deleted) == ["in 0", "in 1", "in 2", "root"]


async def test_a_cascade_that_fails_deletes_nothing() -> None:
    async with a_node(*MODELS):
        root = await Folder.create(name="root")
        inner = await Folder.create(name="inner", parent_id=root.id)
        await Document.create(folder_id=inner.id)

        class Boom(Exception):
            pass

        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(Folder.__hooks__, "before_delete", (lambda self: (_ for _ in ()).throw(Boom()),))
            with pytest.raises(Boom):
                await root.delete(cascade=True)
        assert await Folder.count() == 2
        assert await Document.count() == 1
        assert not root.meta.is_deleted


async def test_a_cascade_of_more_than_one_entry_holds_is_refused_before_any_record_is_deleted() -> None:
    async with a_node(*MODELS):
        root = await Folder.create(name="root")
        await Folder.create_many([{"name": f"in {n}", "parent_id": root.id} for n in range(3)])
        begun: list[str] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("debros.models.deleting.MAX_CHANGES", 2)
            patch.setitem(Folder.__hooks__, "before_delete", (lambda self: begun.append(self.name),))
            with pytest.raises(debros.TooLargeError, match="more than 2 records"):
                await root.delete(cascade=True)
        assert begun == []
        assert await Folder.count() == 4
