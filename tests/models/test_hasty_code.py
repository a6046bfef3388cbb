"""What somebody in a hurry writes by habit is never silently something else, and the error says what to write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import pydantic
import pytest

import debros
from debros import (
    ArgumentError,
    Field,
    Many,
    Model,
    ModelError,
    One,
    QueryError,
    RelationError,
    ValidationError,
    before_save,
    belongs_to,
    computed,
    field,
    has_many,
    model,
)
from tests.support.nodes import a_node


@model(name="HastyUser")
class User(Model):
    name: Field[str]
    boss_id: Field[str | None] = field(default=None)
    boss: One[User | None] = belongs_to("boss_id")
    team: Many[User] = has_many("boss_id", order_by="name")


async def test_a_relation_is_neither_true_nor_equal_to_a_record_or_none() -> None:
    async with a_node(User):
        ana = await User.create(name="ana")
        bo = await User.create(name="bo", boss_id=ana.id)
        with pytest.raises(RelationError, match=r"`record\.boss_id` says whether there is one"):
            bool(bo.boss)
        with pytest.raises(RelationError, match=r"await record\.team"):
            bool(ana.team)
        wrong: list[Callable[[], object]] = [
            lambda: bo.boss == ana,
            lambda: ana == bo.boss,
            lambda: bo.boss == None,  # noqa: E711  # what is tried
            lambda: bo.boss != None,  # noqa: E711  # as above
            lambda: bo.boss in (ana,),
            lambda: ana.team == [bo],
        ]
        for one in wrong:
            with pytest.raises(RelationError, match="is a relation"):
                one()
        assert bo.boss == bo.boss
        assert bo.boss != ana.boss
        assert len({bo.boss, bo.boss}) == 1
        assert await bo.boss == ana


@pytest.mark.parametrize(
    ("wrong", "cure"),
    [
        (lambda ana: ana.boss.name, r"`\.value\.name`"),
        (lambda ana: ana.team.append(ana), "set the key"),
        (lambda ana: ana.team.create(name="x"), "create the other record"),
        (lambda ana: ana.team.filter(name="x"), r"relation\.query\(\)\.where"),
        (lambda ana: ana.team.whatever, "await record.team"),
        (lambda ana: list(ana.team), "before they are loaded"),
        (lambda ana: ana in ana.team, "before they are loaded"),
        (lambda ana: len(ana.team), r"query\(\)\.count\(\)"),
    ],
)
async def test_what_is_related_is_loaded_first(wrong: Callable[[Any], Any], cure: str) -> None:
    async with a_node(User):
        with pytest.raises((AttributeError, RelationError), match=cure):
            wrong(await User.create(name="ana"))


async def test_a_query_is_neither_true_nor_rows() -> None:
    query = User.where(User.name == "ana")
    with pytest.raises(QueryError, match=r"await query\.exists\(\)"):
        bool(query)
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: list(query), "in await query.all"),
        (lambda: len(query), r"query\.count\(\)"),
        (lambda: query[0], r"query\.limit"),
    ]
    for one, cure in wrong:
        with pytest.raises(ArgumentError, match=cure):
            one()
    with pytest.raises(ArgumentError, match=r"await query\.all\(\)"):
        await query  # type: ignore[misc]  # what is tried
    with pytest.raises(ArgumentError, match=r"query\.stream\(\)"):
        [row async for row in query]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("objects", r"`User\.query\(\)`"),
        ("filter", r"User\.where\(User\.field == value\)"),
        ("bulk_create", "create_many"),
        ("first", r"`User\.query\(\)\.first\(\.\.\.\)`"),
        ("order_by", r"`User\.query\(\)\.order_by\(\.\.\.\)`"),
        ("nmae", "did you mean 'name'"),
    ],
)
def test_names_that_a_model_does_not_have_name_the_one_that_does_it(name: str, cure: str) -> None:
    with pytest.raises(AttributeError, match=cure):
        getattr(User, name)
    assert not hasattr(User, "__dataclass_fields__")


@pytest.mark.parametrize(
    ("name", "cure"),
    [("model_dump", r"write `to_dict\(\)`"), ("nmae", "did you mean 'name'"), ("refresh_from_db", "record.refresh")],
)
def test_names_that_a_record_does_not_have_name_the_one_that_does_it(name: str, cure: str) -> None:
    with pytest.raises(AttributeError, match=cure):
        getattr(User(name="ana"), name)


@pytest.mark.parametrize(
    ("option", "cure"),
    [
        ("null", r"`Field\[str \| None\]"),
        ("choices", "Literal"),
        ("primary_key", "unique='derived'"),
        ("auto_now_add", r"default_factory=debros\.now"),
        ("min", "ge="),
        ("max_lenght", "did you mean 'max_length'"),
        ("zzz", "there are default, default_factory"),
    ],
)
def test_options_that_a_field_does_not_have_name_the_one_that_does_it(option: str, cure: str) -> None:
    with pytest.raises(ArgumentError, match=cure):
        field(**{option: True})  # type: ignore[call-overload]  # what is tried


def test_field_with_a_capital_takes_no_options() -> None:
    with pytest.raises(ModelError, match=r"`title: Field\[str\] = field\("):
        Field(default="")  # type: ignore[arg-type]  # what is tried


def test_what_other_libraries_look_at_in_a_class_body_is_refused() -> None:
    with pytest.raises(ModelError, match=r"validated: a model is none of pydantic's.*field\(validate="):

        class Validated(Model):
            name: Field[str]

            @pydantic.field_validator("name")
            def validated(cls, value: str) -> str:
                return value

    with pytest.raises(ModelError, match=r"Meta does nothing here.*@model\("):

        class WithMeta(Model):
            name: Field[str]

            class Meta:
                ordering = ("name",)

    with pytest.raises(ModelError, match=r"model_config does nothing here"):

        class Configured(Model):
            model_config = pydantic.ConfigDict(strict=False)
            name: Field[str]


def test_a_nested_value_may_be_called_as_the_options_of_others_are() -> None:
    @model(name="HastyConfigured")
    class Configured(Model):
        @dataclass
        class Config:
            n: int

        config: Field[Config]

    assert Configured(config=Configured.Config(3)).config.n == 3


def test_a_record_is_no_value_of_another_and_neither_are_two_types() -> None:
    with pytest.raises(ModelError, match=r"= belongs_to\('author_id'\)"):

        @model(name="HastyNested")
        class Nested(Model):
            users: Field[list[User]]

    with pytest.raises(ModelError, match="one type, or that and None"):

        @model(name="HastyBoth")
        class Both(Model):
            n: Field[int | str]

    with pytest.raises(ModelError, match=r"not int \| None"):

        @model(name="HastyCounter")
        class Counter(Model):
            n: Field[int | None] = field(merge="counter")


def test_values_go_by_name() -> None:
    with pytest.raises(ArgumentError, match=r"`User\.from_dict\(values\)`"):
        User({"name": "ana"})  # type: ignore[misc]  # what is tried


def test_text_for_a_value_that_has_a_form_in_text_and_bytes_for_a_file_name_the_way() -> None:
    @model(name="HastyValues")
    class Values(Model):
        at: Field[datetime]
        price: Field[Decimal]
        photos: Field[list[debros.File]]

    with pytest.raises(ValidationError) as caught:
        Values(at="2025-04-01", price="3.50", photos=[b"x"])  # type: ignore[arg-type, list-item]  # what is tried
    messages = {one.field: one.message for one in caught.value.errors}
    assert "`from_dict`" in messages["at"]
    assert "`from_dict`" in messages["price"]
    assert "`await File.add(...)`" in messages["photos.0"]


async def test_methods_of_records_are_not_those_of_their_class() -> None:
    async with a_node(User):
        ana = await User.create(name="ana")
        with pytest.raises(ArgumentError, match=r"await record\.delete\(\.\.\.\)"):
            await User.delete(ana.id)  # type: ignore[arg-type]  # what is tried
        with pytest.raises(ArgumentError, match=r"await Post\.where"):
            await User.update(ana.id, name="bo")  # type: ignore[arg-type]  # as above
        assert (await User.get(ana.id)).name == "ana"


async def test_find_one_takes_conditions_and_get_or_create_something_to_look_for() -> None:
    async with a_node(User):
        await User.create(name="ana")
        with pytest.raises(QueryError, match=r"User\.where\(User\.name == \.\.\.\)"):
            await User.find_one(name="bo")  # type: ignore[arg-type]  # what is tried
        with pytest.raises(ArgumentError, match="by name"):
            await User.get_or_create({"name": "bo"})
        assert await User.count() == 1


async def test_of_many_ids_that_are_missing_some_are_named() -> None:
    async with a_node(User):
        with pytest.raises(debros.NotFoundError, match="'9' and 990 more: deleted") as caught:
            await User.get_many([str(n) for n in range(1000)])
        assert len(caught.value.ids) == 1000


async def test_defaults_of_get_or_create_go_by_place() -> None:
    async with a_node(User):
        with pytest.raises(ArgumentError, match="first, by place"):
            await User.get_or_create(defaults={"boss_id": "a"}, name="ana")


async def test_a_constructor_of_ones_own_calls_the_models_first() -> None:
    @model(name="HastyMute")
    class Mute(Model):
        n: Field[int] = field(default=1)

        def __init__(self, n: int) -> None:
            self.n = n

    @model(name="HastyLate")
    class Late(Model):
        n: Field[int] = field(default=1)

        def __init__(self, n: int) -> None:
            self.n = n
            super().__init__()

    async with a_node(Mute, Late):
        with pytest.raises(ModelError, match=r"does not call `super\(\)"):
            await Mute(3).save()
        with pytest.raises(ModelError, match=r"assigned n before `super\(\)"):
            Late(3)


def test_a_computed_field_is_no_property() -> None:
    with pytest.raises(ModelError, match="leave `@property` out"):

        class Under(Model):
            @computed  # type: ignore[arg-type]
            @property
            def twice(self) -> int:
                return 2

    with pytest.raises(ModelError, match="leave `@property` out"):

        class Over(Model):
            @property  # type: ignore[arg-type]
            @computed
            def twice(self) -> int:
                return 2


async def test_a_model_given_twice_is_one_and_a_subclass_without_decorator_is_none() -> None:
    class Sub(User):
        pass

    async with debros.open(":memory:", models=[User, User]) as db:
        assert db.status().models == ("HastyUser",)
    with pytest.raises(ModelError, match=r"Sub.*is not a model"):
        async with debros.open(":memory:", models=[User, Sub]):
            pass


async def test_a_class_that_was_defined_again_is_told_apart_from_the_open_one() -> None:
    def define() -> Any:
        @model(name="HastyAgain")
        class Again(Model):
            n: Field[int] = field(default=1)

        return Again

    first, second = define(), define()
    async with a_node(first):
        with pytest.raises(ModelError, match="run again, after the node was opened"):
            await second.create()


def test_conditions_are_not_given_by_keyword() -> None:
    with pytest.raises(QueryError, match=r"User\.where\(User\.name == \.\.\.\)"):
        User.where(name="ana")  # type: ignore[call-overload]  # what is tried


async def test_a_hook_that_saves_what_is_being_saved_is_told_so_and_others_may_save() -> None:
    @model(name="HastyLoop")
    class Loop(Model):
        n: Field[int] = field(default=0)

        @before_save
        async def again(self) -> None:
            if self.n == 0:
                await self.save()
            elif self.n == 1:
                await Loop.create(n=2)

    async with a_node(Loop):
        with pytest.raises(ModelError, match="let it only assign"):
            await Loop.create()
        made = await Loop.create(n=1)
        assert await Loop.count() == 2
        made.n = 0
        with pytest.raises(ModelError, match="let it only assign"):
            await made.save()
        made.n = 3
        await made.save()
        assert (await Loop.get(made.id)).n == 3


async def test_a_node_is_opened_by_async_with() -> None:
    with pytest.raises(ArgumentError, match=r"`async with debros\.open"):
        await debros.open(":memory:")  # type: ignore[misc]  # what is tried
    with pytest.raises(ArgumentError, match=r"debros\.blocking"), debros.open(":memory:"):  # type: ignore[attr-defined]
        pass
    with pytest.raises(AttributeError, match=r"no 'status' here.*async with debros\.open"):
        debros.open(":memory:").status()  # type: ignore[attr-defined]


def test_a_star_gives_every_name_but_those_of_python() -> None:
    found: dict[str, Any] = {}
    exec("from debros import *", found)
    assert {"Model", "Field", "model", "has_many", "File", "NotFoundError", "count"} <= found.keys()
    assert not {"open", "sum", "min", "max", "asyncio", "annotations", "TYPE_CHECKING", "errors"} & found.keys()


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [1, datetime(2026, 1, 1)]}, r"\['a'\]\[1\] is a datetime; `Any` holds"),
        ({"a": {1: 2}}, r"\['a'\] has the key 1"),
        ({"a": float("nan")}, r"\['a'\] is nan"),
        ({"a": 2**63}, r"\['a'\] is 9223372036854775808"),
        ({"a": (1, 2)}, r"\['a'\] is a tuple"),
    ],
)
def test_what_cannot_be_stored_in_any_is_told_by_its_place(value: Any, place: str) -> None:
    @model(name="HastyAny")
    class Loose(Model):
        of: Field[dict[str, Any]] = field(default_factory=dict)

    with pytest.raises(ValidationError, match=place):
        Loose(of=value)


def test_a_value_that_holds_itself_is_told_too() -> None:
    @model(name="HastyRing")
    class Ring(Model):
        of: Field[dict[str, Any]] = field(default_factory=dict)

    ring: dict[str, Any] = {}
    ring["ring"] = [ring]
    with pytest.raises(ValidationError, match="nested more than 16 deep"):
        Ring(of=ring)


def of_many_fields(fields: int) -> Any:
    names = [f"f{n}" for n in range(fields)]
    body = {name: field(default=Decimal(0)) for name in names}
    return model(name="HastyWide")(
        type("Wide", (Model,), {"__annotations__": dict.fromkeys(names, Field[Decimal]), **body})
    )


async def test_as_many_fields_as_are_allowed_work_and_more_are_refused_where_they_are_declared() -> None:
    wide = of_many_fields(900)
    async with a_node(wide):
        await wide.create(f899=Decimal(3))
        assert [one.f899 for one in await wide.where(wide.f899 > 2).all()] == [3]
    with pytest.raises(ModelError, match="901 fields, and 900 are allowed"):
        of_many_fields(901)
