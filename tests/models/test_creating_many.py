"""`create_many` makes of dicts what the constructor would make of each, in a batch."""

from __future__ import annotations

import gc
from typing import Any, Self

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from debros import Field, Model, ModelError, UniqueError, ValidationError, field, model
from tests.support.nodes import a_node


@model(name="ManyNote")
class Note(Model):
    text: Field[str] = field(max_length=20)
    tags: Field[set[str]] = field(default_factory=set)
    parts: Field[list[int]] = field(default_factory=list)
    likes: Field[int] = field(default=0, merge="counter")
    real: Field[float] = field(default=0.5)


@model(name="ManyOwned", write="owner")
class Owned(Model):
    text: Field[str]


@model(name="ManyNamed")
class Named(Model):
    slug: Field[str] = field(unique="derived")


NOTES = st.fixed_dictionaries(
    {"text": st.text(max_size=20)},
    optional={
        "tags": st.sets(st.text(max_size=3), max_size=3),
        "parts": st.lists(st.integers(-9, 9), max_size=3),
        "likes": st.integers(-5, 5),
        "real": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-3, 3),
    },
)


@settings(max_examples=25)
@given(values=st.lists(NOTES, max_size=4))
def test_a_record_of_a_dict_has_what_its_constructor_gives_it(values: list[dict[str, Any]]) -> None:
    async def check() -> None:
        async with a_node(Note):
            made = await Note.create_many(values)
            for record, one in zip(made, values, strict=True):
                assert values_of(record) == values_of(Note(**one))
            shown = {record.id: record.to_dict() for record in await Note.all()}
            assert shown == {record.id: record.to_dict() for record in made}
            assert [record.id for record in made] == sorted(shown)

    trio.run(check)


def values_of(record: Note) -> dict[str, tuple[type, Any]]:
    """Return what a record holds under the names of its fields."""
    return {name: (type(value), value) for name, value in vars(record).items() if name[0] != "_" and name != "id"}


async def test_the_dicts_stay_as_they_were_and_share_nothing_with_the_records() -> None:
    async with a_node(Note):
        tags, parts = {"a"}, [1]
        values: dict[str, Any] = {"id": "n", "text": "x", "tags": tags, "parts": parts}
        before = dict(values)
        [note] = await Note.create_many([values])
        note.tags.add("b")
        note.parts.append(2)
        assert values == before
        assert (tags, parts) == ({"a"}, [1])


async def test_an_id_that_is_given_is_taken_and_the_others_rise_around_it() -> None:
    async with a_node(Note):
        made = await Note.create_many([{"text": "a"}, {"text": "b", "id": "mine"}, {"text": "c"}, Note(text="d")])
        assert made[1].id == "mine"
        assert made[0].id < made[2].id
        assert len({note.id for note in made}) == 4
        with pytest.raises(UniqueError):
            await Note.create_many([{"text": "e"}, {"text": "f", "id": made[0].id}])
        assert len(await Note.all()) == 4


async def test_ids_that_the_model_makes_are_made_for_each() -> None:
    async with a_node(Owned, Named):
        owned = await Owned.create_many([{"text": "a"}, {"text": "b"}])
        assert owned[0].id < owned[1].id
        assert owned[0].id.partition("~")[2] == owned[1].id.partition("~")[2] != ""
        assert [one.id for one in await Named.create_many([{"slug": "x"}, {"slug": "y"}])] == ["x", "y"]


async def test_a_constructor_of_ones_own_is_asked_for_each_dict() -> None:
    @model(name="ManyInit")
    class Init(Model):
        text: Field[str]

        def __init__(self, **values: Any) -> None:
            super().__init__(**{**values, "text": values["text"].upper()})

    @model(name="ManyNew")
    class New(Model):
        text: Field[str]
        made = 0

        def __new__(cls, **values: Any) -> Self:
            cls.made += 1
            return super().__new__(cls)

    async with a_node(Init, New):
        assert [one.text for one in await Init.create_many([{"text": "a"}, {"text": "b"}])] == ["A", "B"]  # type: ignore[attr-defined]
        await New.create_many([{"text": "a"}, {"text": "b"}])
        assert New.made == 2


async def test_what_is_no_field_is_told_by_its_place_whatever_it_is_called() -> None:
    async with a_node(Note):
        for name in ("self", "cls", "ids", "values", "_row"):
            with pytest.raises(ValidationError) as caught:
                await Note.create_many([{"text": "a"}, {"text": "b", name: 1}])
            assert [error.field for error in caught.value.errors] == [f"1.{name}"]
        with pytest.raises(ValidationError, match="names of fields are text") as caught:
            await Note.create_many([{"text": "a", 1: 2}])  # type: ignore[dict-item]  # wrong on purpose
        assert [error.field for error in caught.value.errors] == ["0.1"]
        assert len(await Note.all()) == 0


async def test_records_of_an_abstract_model_are_not_made() -> None:
    class Bare(Model):
        text: Field[str]

    with pytest.raises(ModelError, match="is abstract"):
        await Bare.create_many([{"text": "a"}])


async def test_the_collector_is_as_it_was_also_after_what_is_refused() -> None:
    async with a_node(Note):
        assert gc.isenabled()
        await Note.create_many([{"text": "a"}])
        assert gc.isenabled()
        with pytest.raises(ValidationError):
            await Note.create_many([{"text": 1}])
        assert gc.isenabled()
