"""What only the models together can tell, when they are opened."""

from __future__ import annotations

from typing import Any

import pytest

import debros
from debros import Field, Many, Model, One, belongs_to, field, has_many, many_to_many, model
from debros.models.linking import check_models
from debros.models.registry import defined_models
from tests.support.nodes import a_node


@model(scope="global", name="people")
class Person(Model):
    name: Field[str]
    age: Field[int] = field(default=0)


@model(scope="global")
class Pet(Model):
    owner_id: Field[str]
    owner: One[Person] = belongs_to("owner_id")


async def test_relations_name_their_targets_as_stored() -> None:
    async with a_node(Person, Pet):
        assert [spec.target for spec in debros.schema_of(Pet).relations] == ["people"]
        ana = await Person.create(name="ana")
        pet = await Pet.create(owner_id=ana.id)
        assert await pet.owner == ana
        assert await Pet.where(Pet.owner.any(Person.name == "ana")).count() == 1
    async with a_node(Pet, Person):
        await Pet.create(owner_id="x")


def test_a_target_that_is_not_opened_is_named_with_the_cure() -> None:
    with pytest.raises(debros.ModelError, match=r"Pet\.owner leads to Person, which is not opened; add it"):
        check_models([Pet])


def test_a_target_that_does_not_exist_is_named() -> None:
    @model(scope="global")
    class Orphan(Model):
        parent_id: Field[str]
        parent: One[Persson] = belongs_to("parent_id")  # type: ignore[name-defined]  # noqa: F821 - wrong on purpose

    with pytest.raises(debros.ModelError, match=r"no model is called 'Persson'; did you mean 'Person'"):
        check_models([Orphan])


def test_two_models_of_one_stored_name_are_refused() -> None:
    @model(scope="global", name="PEOPLE")
    class Other(Model):
        name: Field[str]

    with pytest.raises(debros.ModelError, match="both stored as"):
        check_models([Person, Other])
    check_models([Person, Person])


@pytest.mark.parametrize(
    ("relation", "says"),
    [
        (has_many("ownr_id"), "did you mean 'owner_id'"),
        (has_many("owner_id", order_by="-nam"), "order_by names 'nam'"),
        (many_to_many(through=Pet, local="owner_id", remote="age"), "Pet has no field 'age'"),
        (many_to_many(through="Pat", local="owner_id", remote="x"), "no model is called 'Pat'"),
    ],
)
def test_a_key_that_the_other_model_lacks_is_named(relation: Any, says: str) -> None:
    @model(scope="global")
    class Keeper(Model):
        pets: Many[Pet] = relation

    with pytest.raises(debros.ModelError, match=rf"Keeper.*{says}"):
        check_models([Keeper, Pet, Person])


def test_a_key_holds_ids() -> None:
    @model(scope="global")
    class Counted(Model):
        people: Many[Person] = has_many("age")

    with pytest.raises(debros.ModelError, match=r"Person\.age holds ids"):
        check_models([Counted, Person])


def test_what_is_no_model_is_refused() -> None:
    class Abstract(Model):
        name: Field[str]

    for wrong in (Abstract, int, "Person"):
        with pytest.raises(debros.ModelError, match="is not a model"):
            check_models([wrong])


def test_running_a_definition_again_replaces_it() -> None:
    def define() -> type[Model]:
        @model(scope="global")
        class Again(Model):
            name: Field[str]

        return Again

    first, second = define(), define()
    assert second in defined_models()
    assert first not in defined_models()
    assert Person in defined_models()
