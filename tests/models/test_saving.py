"""Creating, reading and saving records."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import pytest
import trio

import debros
from debros import Field, Model, Pattern, field, model
from tests.support.nodes import a_node


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@model(scope="global")
class Everything(Model):
    """One field of each kind of value."""

    text: Field[str] = field(default="x")
    number: Field[int] = field(default=0)
    real: Field[float] = field(default=0.5)
    flag: Field[bool] = field(default=False)
    data: Field[bytes] = field(default=b"")
    at: Field[dt.datetime] = field(default=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    day: Field[dt.date] = field(default=dt.date(2026, 1, 1))
    clock: Field[dt.time] = field(default=dt.time(12))
    span: Field[dt.timedelta] = field(default=dt.timedelta(hours=1))
    price: Field[Decimal] = field(default=Decimal("1.50"))
    key: Field[UUID] = field(default=UUID(int=7))
    colour: Field[Colour] = field(default=Colour.RED)
    names: Field[list[str]] = field(default_factory=list)
    tags: Field[set[str]] = field(default_factory=set)
    extra: Field[dict[str, int]] = field(default_factory=dict)
    note: Field[str | None] = field(default=None)
    likes: Field[int] = field(merge="counter", default=0)
    kept: Field[str] = field(default="k", merge="keep")


@model(scope="global")
class Item(Model):
    sku: Field[str] = field(unique=True)
    stock: Field[int] = field(default=0, merge="counter")
    price: Field[int] = field(default=0, ge=0)
    tags: Field[set[str]] = field(default_factory=set)
    notes: Field[list[str]] = field(default_factory=list)


VALUES: dict[str, Any] = {
    "text": "é",
    "number": -3,
    "real": 2.25,
    "flag": True,
    "data": b"\x00\xff",
    "at": dt.datetime(2020, 2, 29, 1, 2, 3, 456789, tzinfo=dt.UTC),
    "day": dt.date(1999, 12, 31),
    "clock": dt.time(1, 2, 3, 4),
    "span": dt.timedelta(days=-1, microseconds=5),
    "price": Decimal("12345678901234567890.12"),
    "key": UUID(int=2**127),
    "colour": Colour.BLUE,
    "names": ["b", "a", "b"],
    "tags": {"p", "q"},
    "extra": {"z": 1, "a": 2},
    "note": "",
    "likes": 5,
    "kept": "other",
}


async def test_every_kind_of_value_comes_back_as_it_was_given() -> None:
    async with a_node(Everything):
        made = await Everything.create(**VALUES)
        found = await Everything.get(made.id)
    for name, value in VALUES.items():
        assert getattr(found, name) == value
        assert type(getattr(found, name)) is type(value)
        assert getattr(made, name) == value


async def test_defaults_come_back_too() -> None:
    async with a_node(Everything):
        made = await Everything().save()
        found = await Everything.get(made.id)
    assert found.to_dict() == made.to_dict() == Everything(id=made.id).to_dict()


async def test_a_loaded_record_has_no_changes_until_one_is_made() -> None:
    async with a_node(Everything):
        made = await Everything.create(**VALUES)
        for record in (made, await Everything.get(made.id)):
            assert record.changes == {}
            assert not record.is_changed()
            assert not record.is_new
            for name, value in VALUES.items():
                setattr(record, name, value)
            assert record.changes == {}


@pytest.mark.parametrize(("name", "value"), list({**VALUES, "note": "n"}.items()))
async def test_a_change_of_any_kind_of_value_is_noticed_and_saved(name: str, value: object) -> None:
    async with a_node(Everything):
        record = await Everything.create()
        old = getattr(record, name)
        setattr(record, name, value)
        assert record.changes == {name: (old, value)}
        await record.save()
        assert record.changes == {}
        found = await Everything.get(record.id)
        assert getattr(found, name) == value
        assert [list(version.changes) for version in await record.history()][1:] == [[name]]


async def test_changes_in_place_are_noticed() -> None:
    async with a_node(Item):
        item = await Item.create(sku="1", tags={"a", "b"}, notes=["x"])
        item.tags.add("c")
        item.tags.discard("a")
        item.notes.append("y")
        assert item.changes == {"tags": ({"a", "b"}, {"b", "c"}), "notes": (["x"], ["x", "y"])}
        await item.save()
        found = await Item.get(item.id)
        assert (found.tags, found.notes) == ({"b", "c"}, ["x", "y"])


async def test_a_list_that_the_program_holds_stays_the_records_after_a_save() -> None:
    async with a_node(Item):
        item = await Item.create(sku="1")
        tags, notes = item.tags, item.notes
        for n in range(3):
            tags.add(str(n))
            notes.append(str(n))
            await item.save()
        found = await Item.get(item.id)
        assert (found.tags, found.notes) == ({"0", "1", "2"}, ["0", "1", "2"])


async def test_a_wrong_value_put_in_place_is_refused_at_save_and_stays_unsaved() -> None:
    async with a_node(Item):
        item = await Item.create(sku="1")
        item.notes.append(3)  # type: ignore[arg-type]  # wrong on purpose
        with pytest.raises(debros.ValidationError) as caught:
            await item.save()
        assert caught.value.errors[0].field.startswith("notes")
        assert item.notes == [3]  # type: ignore[comparison-overlap]  # as put in above
        assert (await Item.get(item.id)).notes == []


async def test_what_cannot_be_stored_at_all_is_refused_like_any_wrong_value() -> None:
    async with a_node(Item):
        item = await Item.create(sku="1")
        item.notes.append(object())  # type: ignore[arg-type]  # wrong on purpose
        item.tags.add(3)  # type: ignore[arg-type]  # wrong on purpose
        with pytest.raises(debros.ValidationError) as caught:
            await item.save()
        assert {error.field.partition(".")[0] for error in caught.value.errors} == {"notes", "tags"}
        assert item.is_changed("notes", "tags")


async def test_a_value_that_a_merge_took_beyond_its_bound_does_not_keep_others_from_saving() -> None:
    @model(scope="global")
    class Shelf(Model):
        stock: Field[int] = field(default=0, merge="counter", ge=0)
        label: Field[str] = field(default="", max_length=3)

    async with a_node(Shelf):
        shelf = await Shelf.create(stock=1)
        await Shelf.increment(shelf.id, stock=-3)
        await shelf.refresh()
        assert (shelf.stock, shelf.meta.flagged) == (-2, True)
        await shelf.update(label="x")
        assert (await Shelf.get(shelf.id)).label == "x"
        with pytest.raises(debros.ValidationError) as caught:
            await shelf.update(stock=-1)
        assert [error.field for error in caught.value.errors] == ["stock"]
        await shelf.update(stock=0)
        assert not shelf.meta.flagged


async def test_a_save_asks_the_rules_of_what_changed_and_of_nothing_else() -> None:
    asked: list[str] = []

    @model(scope="global", name="Asked")
    class Asked(Model):
        a: Field[str] = field(validate=lambda value: asked.append(value))
        b: Field[str] = field(validate=lambda value: asked.append(value))
        real: Field[float] = field(default=0.5)

    async with a_node(Asked):
        made = await Asked.create(a="a", b="b")
        made.__dict__["a"], made.__dict__["real"] = "new", 1  # as an edit in place, which nobody has seen yet
        asked.clear()
        await made.save()
        assert asked == ["new"]
        assert (made.a, made.real, type(made.real)) == ("new", 1.0, float)
        assert await Asked.where(Asked.real == 1.0).count() == 1


async def test_only_changed_fields_are_written_so_two_copies_merge() -> None:
    async with a_node(Item):
        one = await Item.create(sku="1", stock=10, tags={"a"})
        other = await Item.get(one.id)
        one.price, one.stock = 5, 12
        one.tags.add("b")
        other.sku, other.stock = "2", 9
        other.tags.discard("a")
        await one.save()
        await other.save()
        assert (other.sku, other.price, other.stock, other.tags) == ("2", 5, 11, {"b"})
        assert (one.sku, one.stock) == ("1", 12)
        await one.refresh()
        assert one.to_dict() == other.to_dict()


async def test_a_save_without_changes_writes_nothing() -> None:
    async with a_node(Item) as node:
        item = await Item.create(sku="1")
        before = node.status().entries
        assert await item.save() is item
        assert node.status().entries == before


async def test_if_unchanged_refuses_over_a_newer_version() -> None:
    async with a_node(Item):
        one = await Item.create(sku="1")
        other = await Item.get(one.id)
        await other.update(price=3)
        one.stock = 4
        with pytest.raises(debros.ConflictError) as caught:
            await one.save(if_unchanged=True)
        assert caught.value.changed_fields == ("price",)
        assert one.changes == {"stock": (0, 4)}
        await one.save()
        assert (one.price, one.stock) == (3, 4)
        await one.update(stock=5)
        one.price = 1
        await one.save(if_unchanged=True)


async def test_update_assigns_all_or_nothing_and_saves() -> None:
    async with a_node(Item):
        item = await Item.create(sku="1")
        assert await item.update(sku="2", price=3) is item
        with pytest.raises(debros.ValidationError) as caught:
            await item.update(sku="3", price=-1, colour="red")
        assert {error.field for error in caught.value.errors} == {"price", "colour"}
        assert item.changes == {}
        assert (await Item.get(item.id)).sku == "2"


async def test_a_failed_save_leaves_the_changes_unsaved() -> None:
    async with a_node(Item):
        await Item.create(sku="1")
        item = await Item.create(sku="2")
        item.sku, item.stock = "1", 7
        with pytest.raises(debros.UniqueError) as caught:
            await item.save()
        assert caught.value.fields == ("sku",)
        assert item.changes == {"sku": ("2", "1"), "stock": (0, 7)}
        item.sku = "3"
        await item.save()
        assert (await Item.get(item.id)).stock == 7


async def test_a_new_record_that_could_not_be_saved_is_still_new() -> None:
    async with a_node(Item):
        await Item.create(sku="1")
        item = Item(sku="1")
        with pytest.raises(debros.UniqueError):
            await item.save()
        assert item.is_new
        item.sku = "2"
        await item.save()
        assert not item.is_new


async def test_a_cancelled_save_writes_nothing() -> None:
    async with a_node(Item):
        item = await Item.create(sku="1")
        item.price = 9
        with trio.CancelScope() as scope:
            scope.cancel()
            await item.save()
        assert scope.cancelled_caught
        assert item.changes == {"price": (0, 9)}
        assert (await Item.get(item.id)).price == 0


async def test_a_living_id_is_not_created_again_and_a_deleted_one_is() -> None:
    async with a_node(Item):
        first = await Item.create(id="a", sku="1", stock=5, tags={"x"})
        with pytest.raises(debros.UniqueError) as caught:
            await Item.create(id="a", sku="2")
        assert caught.value.fields == ("id",)
        await first.delete()
        again = await Item.create(id="a", sku="2")
        assert (again.stock, again.tags, again.sku) == (0, set(), "2")
        assert (await Item.get("a")).to_dict() == again.to_dict()


async def test_saving_a_record_that_was_deleted_is_not_found() -> None:
    async with a_node(Item):
        item = await Item.create(sku="1")
        await (await Item.get(item.id)).delete()
        item.price = 1
        with pytest.raises(debros.NotFoundError):
            await item.save()
        assert item.changes == {"price": (0, 1)}


async def test_get_finds_by_id_or_says_what_is_missing() -> None:
    async with a_node(Item):
        items = await Item.create_many([{"sku": str(n), "id": str(n)} for n in range(3)])
        assert await Item.get("1") == items[1]
        assert await Item.get_or_none("7") is None
        assert await Item.get_many(["2", "0", "2"]) == [items[2], items[0], items[2]]
        first, _, last = await Item.get_many(["2", "0", "2"])
        assert first is last
        assert await Item.get_many(["2", "7"], missing_ok=True) == [items[2]]
        with pytest.raises(debros.NotFoundError) as caught:
            await Item.get_many(["8", "1", "7"])
        assert caught.value.ids == ("8", "7")
        with pytest.raises(LookupError):
            await Item.get("7")


async def test_all_count_and_find_one_ask_for_records() -> None:
    async with a_node(Item):
        await Item.create_many([{"sku": str(n), "price": n} for n in range(3)])
        assert [item.sku for item in await Item.all()] == ["0", "1", "2"]
        assert await Item.count() == 3
        found = await Item.find_one(Item.price > 0)
        assert found is not None
        assert found.sku == "1"
        assert await Item.find_one(Item.price > 7) is None


async def test_create_many_is_one_entry_for_many_records() -> None:
    async with a_node(Item) as node:
        before = node.status().entries
        made = await Item.create_many([Item(sku="a"), {"sku": "b", "stock": 3}])
        assert [(item.sku, item.stock, item.is_new) for item in made] == [("a", 0, False), ("b", 3, False)]
        assert node.status().entries == before + 1
        assert await Item.create_many([]) == []


async def test_create_many_validates_everything_before_it_writes_anything() -> None:
    async with a_node(Item):
        with pytest.raises(debros.ValidationError) as caught:
            await Item.create_many([{"sku": "a"}, {"sku": 3}, {"price": -1}])
        assert [error.field for error in caught.value.errors] == ["1.sku", "2.sku", "2.price"]
        with pytest.raises(debros.UniqueError):
            await Item.create_many([{"sku": "a"}, {"sku": "b"}, {"sku": "a"}])
        with pytest.raises(debros.UniqueError):
            await Item.create_many([{"id": "1", "sku": "a"}, {"id": "1", "sku": "b"}])
        with pytest.raises(TypeError):
            await Item.create_many([Everything()])  # type: ignore[list-item]  # wrong on purpose
        assert await Item.count() == 0


async def test_upsert_creates_or_changes() -> None:
    async with a_node(Item):
        made = await Item.upsert("a", sku="1", price=3)
        assert (made.id, made.price) == ("a", 3)
        changed = await Item.upsert("a", price=4)
        assert (changed.sku, changed.price) == ("1", 4)
        with pytest.raises(debros.ValidationError):
            await Item.upsert("b", price=4)
        assert await Item.count() == 1


async def test_get_or_create_says_which() -> None:
    async with a_node(Item):
        made, created = await Item.get_or_create({"price": 3}, sku="1")
        assert (made.price, created) == (3, True)
        found, created = await Item.get_or_create({"price": 9}, sku="1")
        assert (found, found.price, created) == (made, 3, False)


async def test_tasks_that_get_or_create_at_once_make_one_record() -> None:
    async with a_node(Item):
        made: list[tuple[Item, bool]] = []

        async def attempt() -> None:
            made.append(await Item.get_or_create(sku="1"))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(attempt)
        assert len({item.id for item, _ in made}) == 1
        assert sum(created for _, created in made) == 1


async def test_increment_adds_without_reading() -> None:
    async with a_node(Item):
        item = await Item.create(sku="1", stock=1)
        await Item.increment(item.id, stock=4)
        await Item.increment(item.id, stock=-2)
        await Item.increment(item.id, stock=0)
        assert (await item.refresh()).stock == 3


async def test_increment_takes_counters_and_whole_numbers_only() -> None:
    async with a_node(Item):
        item = await Item.create(sku="1")
        with pytest.raises(debros.ValidationError) as caught:
            await Item.increment(item.id, price=1, stok=2, stock=1.5)  # type: ignore[arg-type]  # wrong on purpose
        assert [error.field for error in caught.value.errors] == ["price", "stok", "stock"]
        await item.delete()
        with pytest.raises(debros.NotFoundError):
            await Item.increment(item.id, stock=1)


async def test_a_counter_is_written_as_a_difference() -> None:
    async with a_node(Item):
        item = await Item.create(sku="1", stock=10)
        other = await Item.get(item.id)
        other.stock += 1
        item.stock = 0
        await other.save()
        await item.save()
        assert item.stock == 1


async def test_refresh_takes_present_values_and_drops_changes() -> None:
    async with a_node(Item):
        item = await Item.create(sku="1")
        await (await Item.get(item.id)).update(price=3)
        item.sku = "zzz"
        assert await item.refresh() is item
        assert (item.sku, item.price, item.changes) == ("1", 3, {})
        with pytest.raises(debros.NotFoundError):
            await Item(sku="2").refresh()


async def test_the_facts_of_the_log_are_under_meta() -> None:
    async with a_node(Item) as node:
        item = await Item.create(sku="1")
        meta = item.meta
        assert meta.created_by == node.identity.did
        assert meta.owner is None
        assert meta.created_at <= meta.updated_at <= debros.now() + dt.timedelta(milliseconds=1)
        assert (meta.is_deleted, meta.flagged, meta.version) == (False, False, "1.0.0")
        assert meta.address.startswith("/debros/bafyrei")
        await item.update(price=1)
        assert item.meta.cid != meta.cid
        assert item.meta.clock > meta.clock
        assert await Item.where(Item.meta.created_by == node.identity.did).count() == 1
        with pytest.raises(debros.NotFoundError):
            Item(sku="2").meta  # noqa: B018 - the access raises


async def test_without_a_node_nothing_is_read_or_written() -> None:
    with pytest.raises(debros.NoNodeError):
        await Item.create(sku="1")
    with pytest.raises(debros.NoNodeError):
        await Item.get("1")
    async with a_node(Item):
        item = await Item.create(sku="1")
    item.price = 3
    with pytest.raises(debros.ClosedError):
        await item.save()
    assert item.price == 3


async def test_a_model_that_is_not_opened_is_a_model_error() -> None:
    async with a_node(Item):
        with pytest.raises(debros.ModelError, match="Everything"):
            await Everything.create()


async def test_a_record_keeps_the_node_it_came_from() -> None:
    async with a_node(Item) as one, a_node(Item) as other:
        with one.current():
            item = await Item.create(sku="1")
        with other.current():
            await item.update(price=3)
            assert await Item.count() == 0
        with one.current():
            assert (await Item.get(item.id)).price == 3


def test_a_pattern_can_be_annotated() -> None:
    @model(scope="global")
    class Coded(Model):
        code: Field[Annotated[str, Pattern(r"^[a-z]+$")]]

    assert Coded(code="abc").code == "abc"
    with pytest.raises(debros.ValidationError):
        Coded(code="ABC")


async def test_what_a_constructor_changes_in_place_is_checked_like_any_edit() -> None:
    @model(name="OfItsOwnMaking")
    class Made(Model):
        tags: Field[set[str]] = field(default_factory=set)

        def __init__(self, **values: Any) -> None:
            super().__init__(**values)
            self.tags.add(5)  # type: ignore[arg-type]  # the fault

    async with a_node(Made):
        for create in (
            lambda: Made.create(),
            lambda: Made.create_many([{}]),
            lambda: Made.upsert("a"),
            lambda: Made().save(),
        ):
            with pytest.raises(debros.ValidationError):
                await create()
        assert await Made.count() == 0
