"""Annotations without `from __future__ import annotations`: types, quoted parts, wholly quoted, local classes."""

from enum import Enum
from typing import Annotated, Any, List, Optional  # noqa: UP035 - the old spellings are tested

import pytest

import debros
from debros import Field, Many, MaxLen, Model, One, belongs_to, computed, field, has_many, model
from tests.support.nodes import a_node


@model(scope="global")
class Writer(Model):
    class Mood(Enum):  # a name of the class body
        CALM = "calm"

    name: Field[Annotated[str, MaxLen(5)]]
    nick: "Field[str | None]" = field(default=None)
    mood: Field["Mood | None"] = field(default=Mood.CALM)
    texts: Many["Text"] = has_many("writer_id")
    first: "Many[Text]" = has_many("writer_id")


@model(scope="global")
class Text(Model):
    writer_id: Field[str]
    numbers: Field["list[int]"] = field(default_factory=list)
    writer: One[Writer] = belongs_to("writer_id")
    maybe: One["Writer | None"] = belongs_to("writer_id")
    optional: One[Optional["Writer"]] = belongs_to("writer_id")
    whole: "One[Optional[Writer]]" = belongs_to("writer_id")  # noqa: UP045 - as above

    @belongs_to("writer_id")
    def author(self) -> "Writer": ...

    @has_many("writer_id")
    def others(self) -> List["Text"]: ...  # noqa: UP006 - as above

    @computed
    def size(self) -> "int":
        return len(self.numbers)


def relations(of: Any) -> dict[str, tuple[str, bool]]:
    return {spec.name: (spec.target, spec.nullable) for spec in debros.schema_of(of).relations}


def test_targets_are_found_however_they_are_written() -> None:
    assert relations(Writer) == {"texts": ("Text", False), "first": ("Text", False)}
    assert relations(Text) == {
        "writer": ("Writer", False),
        "maybe": ("Writer", True),
        "optional": ("Writer", True),
        "whole": ("Writer", True),
        "author": ("Writer", False),
        "others": ("Text", False),
    }


async def test_they_lead_to_records() -> None:
    async with a_node(Writer, Text):
        writer = await Writer.create(name="ana")
        text = await Text.create(writer_id=writer.id, numbers=[1])
        assert await text.optional == await text.author == writer
        assert await writer.texts == await writer.first == [text]
        assert text.size == 1
        assert writer.mood is Writer.Mood.CALM


async def test_models_local_to_a_function_find_each_other() -> None:
    class Colour(Enum):
        RED = "red"

    @model(scope="global")
    class Left(Model):
        colour: Field[Colour]
        right_id: Field["str | None"] = field(default=None)
        right: One["Right | None"] = belongs_to("right_id")
        parent: One["Left | None"] = belongs_to("right_id")

    @model(scope="global")
    class Right(Model):
        lefts: Many[Left] = has_many("right_id")

    async with a_node(Left, Right):
        right = await Right.create()
        left = await Left.create(colour=Colour.RED, right_id=right.id)
        assert await left.right == right
        assert await right.lefts == [left]
        assert await left.parent is None


def test_a_name_that_is_known_nowhere_is_a_model_error() -> None:
    with pytest.raises(debros.ModelError, match=r"Lost\.x: the name 'Nowhere'"):

        class Lost(Model):
            x: Field["Nowhere"]  # type: ignore[name-defined]  # noqa: F821 - wrong on purpose

    with pytest.raises(debros.ModelError, match=r"Inner\.x: the name 'Nowhere'"):

        class Inner(Model):
            x: Field[list["Nowhere"]]  # type: ignore[name-defined]  # noqa: F821 - wrong on purpose


def test_an_older_run_of_a_function_does_not_leak_into_a_newer_one() -> None:
    def define() -> tuple[Any, Any]:
        @model(scope="global")
        class A(Model):
            b_id: Field[str]

        @model(scope="global")
        class B(Model):
            a_id: Field[str]
            a: One[A] = belongs_to("a_id")

        return A, B

    (first_a, first_b), (second_a, second_b) = define(), define()
    assert first_b.__subject__.related("a").model is first_a
    assert second_b.__subject__.related("a").model is second_a
