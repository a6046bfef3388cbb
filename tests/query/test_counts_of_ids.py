"""`with_count` of a relation over a field of ids tells how many records `include` gives, repeated and missing ones as there."""

from __future__ import annotations

from debros import Field, Many, Model, field, many_to_many, model
from tests.support.nodes import a_node


@model(scope="global", name="CountedItem")
class Item(Model):
    name: Field[str]


@model(scope="global", name="CountingBox")
class Box(Model):
    item_ids: Field[list[str]] = field(default_factory=list)
    set_ids: Field[set[str]] = field(default_factory=set)
    items: Many[Item] = many_to_many(ids="item_ids")
    sorted: Many[Item] = many_to_many(ids="item_ids", order_by="name")
    once: Many[Item] = many_to_many(ids="set_ids")


async def test_a_count_is_that_of_what_an_include_gives() -> None:
    async with a_node(Item, Box):
        first, second = [await Item.create(name=name) for name in "ab"]
        ids = [second.id, first.id, second.id, "gone"]
        await Box.create(item_ids=ids, set_ids=set(ids))
        box = await Box.query().with_count(Box.items, Box.sorted, Box.once).one()
        counts = [box.items.count, box.sorted.count, box.once.count]
        box = await Box.query().include(Box.items, Box.sorted, Box.once).one()
        assert counts == [len(box.items.value), len(box.sorted.value), len(box.once.value)] == [3, 2, 2]
