"""What a model takes from its parents: abstract and concrete models, and plain mixins."""

from __future__ import annotations

import datetime as dt

import pytest

import debros
from debros import Field, Many, Model, One, belongs_to, computed, field, has_many, model
from tests.support.nodes import a_node


class Timestamped:
    """A plain mixin: no Model."""

    created_at: Field[dt.datetime] = field(default_factory=debros.now)
    note: Field[str | None]


class Named(Model):
    """Abstract: nothing is stored."""

    name: Field[str] = field(index=True)
    owner_id: Field[str | None] = field(default=None)
    owner: One[Person | None] = belongs_to("owner_id")

    @computed(index=True)
    def initial(self) -> str:
        return self.name[:1]


@model(scope="global")
class Person(Named):
    things: Many[Thing] = has_many("owner_id")


@model(scope="global", version="2.0.0")
class Thing(Timestamped, Named):
    size: Field[int] = field(default=1)


@model(scope="user", name="Jewel")
class Gem(Thing):
    name: Field[str] = field(unique=True)
    size = None  # type: ignore[assignment]  # taken out
    carat: Field[float]


def names(of: type[Model]) -> list[str]:
    return [spec.name for spec in debros.schema_of(of).fields]


def test_fields_are_inherited_in_the_order_of_the_parents() -> None:
    assert names(Person) == ["name", "owner_id"]
    assert names(Thing) == ["name", "owner_id", "created_at", "note", "size"]
    assert names(Gem) == ["name", "owner_id", "created_at", "note", "carat"]


def test_an_inheriting_model_is_a_model_of_its_own() -> None:
    gem, thing = debros.schema_of(Gem), debros.schema_of(Thing)
    assert (gem.name, gem.scope, gem.version) == ("Jewel", "user", 1_000_000)
    assert (thing.name, thing.scope, thing.version) == ("Thing", "global", 2_000_000)
    assert gem.by_name["name"].unique
    assert not thing.by_name["name"].unique
    assert repr(Gem.name) != repr(Thing.name)


def test_a_class_below_a_model_without_the_decorator_is_abstract() -> None:
    class Special(Thing):
        colour: Field[str]

    with pytest.raises(debros.ModelError, match="abstract"):
        Special(name="x", note=None, colour="red")  # type: ignore[call-arg]  # `note` is of a plain mixin
    with pytest.raises(debros.ModelError):
        debros.schema_of(Special)


async def test_inherited_fields_relations_and_computed_fields_work() -> None:
    async with a_node(Person, Thing, Gem):
        ana = await Person.create(name="ana")
        thing = await Thing.create(name="cup", owner_id=ana.id, note=None)  # type: ignore[call-arg]  # of a plain mixin
        assert thing.initial == "c"
        assert await thing.owner == ana
        assert await ana.things == [thing]
        assert await Thing.where(Thing.initial == "c", Thing.created_at <= debros.now()).count() == 1
        gem = await Gem.create(name="ruby", carat=1.5, note="x", owner_id=ana.id)  # type: ignore[call-arg]  # as above
        assert await gem.owner == ana
        assert (await Gem.get(gem.id)).initial == "r"
        assert not hasattr(Gem(name="x", carat=1.0, note=None), "sizes")  # type: ignore[call-arg]  # as above


def test_a_missing_value_of_a_mixin_is_missing() -> None:
    with pytest.raises(debros.ValidationError) as caught:
        Thing(name="x")
    assert [error.field for error in caught.value.errors] == ["note"]
