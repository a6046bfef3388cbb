"""Inside a transaction reads see what its own deletes do to other records; outside nobody does before the commit."""

from __future__ import annotations

import pytest

from debros import Field, Model, One, belongs_to, field, hash_shards, model
from tests.support.nodes import a_node


@model(scope="global")
class Shelf(Model):
    name: Field[str] = field(default="")


@model(scope="global")
class Box(Model):
    shelf_id: Field[str]
    shelf: One[Shelf] = belongs_to("shelf_id", on_delete="cascade")


@model(scope="global")
class Label(Model):
    box_id: Field[str | None]
    box: One[Box | None] = belongs_to("box_id", on_delete="set_null")


@model(scope="global", sharding=hash_shards("shelf_id", 3))
class Item(Model):
    shelf_id: Field[str]
    shelf: One[Shelf] = belongs_to("shelf_id", on_delete="cascade")


MODELS = (Shelf, Box, Label, Item)


async def test_children_are_hidden_at_once_and_for_the_block_only() -> None:
    async with a_node(*MODELS) as db:
        shelf = await Shelf.create()
        box, item = await Box.create(shelf_id=shelf.id), await Item.create(shelf_id=shelf.id)
        label = await Label.create(box_id=box.id)

        async def look() -> None:
            async with db.transaction():
                await shelf.delete()
                assert await Box.get_or_none(box.id) is None
                assert await Box.count() == 0
                assert await Item.get_or_none(item.id) is None
                assert (await Label.get(label.id)).box_id is None
                assert [one.box_id for one in await Label.all()] == [None]
                raise KeyError

        with pytest.raises(KeyError):
            await look()
        assert await Box.get(box.id) == box
        assert await Item.get(item.id) == item
        assert (await Label.get(label.id)).box_id == box.id
        async with db.transaction():
            await shelf.delete()
        assert await Box.count() == await Item.count() == 0
        assert (await Label.get(label.id)).box_id is None


async def test_a_restore_inside_brings_them_back_and_edits_of_hidden_children_keep_their_values() -> None:
    async with a_node(*MODELS) as db:
        shelf, other = await Shelf.create(), await Shelf.create()
        box = await Box.create(shelf_id=shelf.id)
        async with db.transaction():
            await shelf.delete()
            assert await Box.all() == []
            await shelf.restore()
            assert await Box.all() == [box]
            await shelf.delete()
            await box.update(shelf_id=other.id)
            assert await Box.all() == [box]
        assert (await Box.get(box.id)).shelf_id == other.id


async def test_a_savepoint_that_is_undone_takes_its_effects_with_it() -> None:
    async with a_node(*MODELS) as db:
        shelf = await Shelf.create()
        box = await Box.create(shelf_id=shelf.id)

        async def look() -> None:
            async with db.transaction():
                await shelf.delete()
                assert await Box.get_or_none(box.id) is None
                raise KeyError

        async with db.transaction():
            with pytest.raises(KeyError):
                await look()
            assert await Box.get(box.id) == box
        assert await Box.get(box.id) == box


async def test_a_record_that_came_back_inside_and_is_deleted_then_takes_its_children_with_it() -> None:
    async with a_node(*MODELS) as db:
        shelf = await Shelf.create()
        box = await Box.create(shelf_id=shelf.id)
        label = await Label.create(box_id=box.id)
        await shelf.delete()
        assert await Box.get_or_none(box.id) is None
        assert (await Label.get(label.id)).box_id is None
        async with db.transaction():
            await shelf.restore()
            assert (await Label.get(label.id)).box_id == box.id
            assert await Label.where(Label.box_id == box.id).count() == 1
            await (await Box.get(box.id)).delete()
            assert (await Label.get(label.id)).box_id is None
            assert await Label.where(Label.box_id == box.id).count() == 0
        assert (await Label.get(label.id)).box_id is None


async def test_a_child_that_is_made_behind_the_delete_of_its_target_is_hidden_at_once() -> None:
    async with a_node(*MODELS) as db:
        shelf = await Shelf.create()
        async with db.transaction():
            await shelf.delete()
            assert await Box.count() == 0  # so that queries see the block's rows
            box = await Box.create(shelf_id=shelf.id)
            assert await Box.count() == 0
            assert await Box.get_or_none(box.id) is None
        assert await Box.count() == 0
