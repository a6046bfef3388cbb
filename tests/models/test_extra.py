"""`extra="keep"`: undeclared values are stored with the record."""

from __future__ import annotations

import pytest

import debros
from debros import Field, Model, model
from tests.support.nodes import a_node


@model(scope="global", extra="keep")
class Form(Model):
    name: Field[str]


async def test_undeclared_values_are_kept_and_come_back() -> None:
    async with a_node(Form):
        form = await Form.create(name="a", colour="red", sizes=[1, 2])  # type: ignore[call-arg]  # undeclared
        found = await Form.get(form.id)
        assert found.colour == "red"  # type: ignore[attr-defined]  # undeclared
        assert found.to_dict() == {"id": form.id, "name": "a", "colour": "red", "sizes": [1, 2]}
        assert Form.from_dict(found.to_dict()).to_dict() == found.to_dict()
        found.colour = "blue"  # type: ignore[attr-defined]  # undeclared
        assert found.is_changed()
        await found.save()
        assert (await form.refresh()).to_dict()["colour"] == "blue"


def test_declared_fields_are_still_checked_and_reserved_names_refused() -> None:
    with pytest.raises(debros.ValidationError) as caught:
        Form(name=3, save=1, _x=2)  # type: ignore[call-arg, arg-type]  # wrong on purpose
    assert [error.field for error in caught.value.errors] == ["save", "_x", "name"]


def test_a_value_that_cannot_be_stored_is_refused() -> None:
    with pytest.raises(debros.ValidationError):
        Form(name="a", thing=object())  # type: ignore[call-arg]  # wrong on purpose


def test_what_was_never_given_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        Form(name="a").colour  # type: ignore[attr-defined]  # noqa: B018 - undeclared
