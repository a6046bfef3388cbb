"""Assigning to a record's attributes."""

from __future__ import annotations

import pytest

import debros
from debros import Field, Model, One, belongs_to, computed, field, model


@model(scope="global")
class Node(Model):
    name: Field[str] = field(max_length=5)
    parent_id: Field[str | None] = field(default=None)
    slug: Field[str] = field(default="x", convert=str.lower)
    parent: One[Node | None] = belongs_to("parent_id")

    @computed
    def upper(self) -> str:
        return self.name.upper()


def test_an_assigned_value_is_checked_and_converted() -> None:
    node = Node(name="a")
    node.name = "b"
    node.slug = "ABC"
    assert (node.name, node.slug, node.upper) == ("b", "abc", "B")


def test_a_refused_assignment_leaves_the_old_value() -> None:
    node = Node(name="a")
    with pytest.raises(debros.ValidationError) as caught:
        node.name = "too long"
    assert caught.value.errors[0].constraint == "string_too_long"
    with pytest.raises(debros.ValidationError):
        node.name = 3  # type: ignore[assignment]  # wrong on purpose
    assert node.name == "a"


@pytest.mark.parametrize(
    ("name", "constraint"), [("id", "id"), ("parent", "relation"), ("upper", "computed"), ("nane", "extra_forbidden")]
)
def test_only_fields_can_be_assigned(name: str, constraint: str) -> None:
    node = Node(name="a")
    with pytest.raises(debros.ValidationError) as caught:
        setattr(node, name, "x")
    assert [error.constraint for error in caught.value.errors] == [constraint]
    assert not hasattr(node, "nane")


def test_a_misspelt_assignment_names_the_nearest_field() -> None:
    with pytest.raises(debros.ValidationError, match="did you mean 'name'"):
        Node(name="a").nane = "b"  # type: ignore[attr-defined]  # wrong on purpose


def test_names_that_begin_with_an_underscore_are_the_programs_own() -> None:
    node = Node(name="a")
    node._note = 3  # type: ignore[attr-defined]  # not declared
    assert node._note == 3  # type: ignore[attr-defined]  # as above
    assert "_note" not in node.to_dict()


def test_a_field_cannot_be_deleted() -> None:
    node = Node(name="a")
    with pytest.raises(AttributeError, match="cannot be deleted"):
        del node.name
    assert node.name == "a"


def test_an_attribute_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        Node(name="a").nothing  # type: ignore[attr-defined]  # noqa: B018 - wrong on purpose
