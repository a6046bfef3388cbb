"""What a model lets in: nothing is coerced, everything wrong is told at once, and nothing is shared with the caller."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import AfterValidator

from debros import MaxLen, MinLen, Pattern
from debros.errors import FieldError, ValidationError
from debros.models.validation import Validator
from debros.values import describe
from tests.support.typed import Address, Colour, Level, Point


def validator(*, strict: bool = True, convert: Any = None, validate: Any = None, **annotations: Any) -> Validator:
    types = {name: describe(annotation) for name, annotation in annotations.items()}
    return Validator("Thing", types, strict=strict, convert=convert or {}, validate=validate or {})


def checked(annotation: Any, value: Any, **options: Any) -> Any:
    return validator(f=annotation, **options).check_one("f", value)


def errors_of(call: Callable[[], object]) -> tuple[FieldError, ...]:
    with pytest.raises(ValidationError) as caught:
        call()
    assert caught.value.model == "Thing"
    return caught.value.errors


class Status(StrEnum):
    OPEN = "open"


class Text(str):
    """A text of a derived class."""


class Raw(bytes):
    """Bytes of a derived class."""


class Moment(dt.datetime):
    """A datetime of a derived class."""


class Nowhere(dt.tzinfo):
    def utcoffset(self, when: dt.datetime | None) -> dt.timedelta | None:
        return None


@dataclass
class Place(Point):
    country: str = ""


NOON = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)
CET = dt.timezone(dt.timedelta(hours=1))
EAST = dt.timezone(dt.timedelta(hours=14))
ID = UUID("01999999-0000-7000-8000-00000000000a")
LOOP: list[Any] = []
LOOP.append(LOOP)

GOOD: list[tuple[Any, Any, Any]] = [  # type, given, kept
    (str, "", ""),
    (str, "é\0", "é\0"),
    (str, Status.OPEN, "open"),
    (str, Text("a"), "a"),
    (str | None, None, None),
    (int, -(2**63), -(2**63)),
    (int, Level.HIGH, 3),
    (bool, True, True),
    (float, 1, 1.0),
    (float, 1.5, 1.5),
    (float | None, None, None),
    (bytes, Raw(b"x"), b"x"),
    (dt.datetime, NOON, NOON),
    (dt.datetime, dt.datetime(2024, 1, 1, 13, tzinfo=CET), NOON),
    (dt.datetime, Moment(2024, 1, 1, 13, tzinfo=CET), NOON),
    (dt.datetime | None, None, None),
    (list[dt.datetime], [dt.datetime(2024, 1, 1, 13, tzinfo=CET)], [NOON]),
    (dt.date, NOON.date(), NOON.date()),
    (dt.time, dt.time(1, 2, 3), dt.time(1, 2, 3)),
    (dt.timedelta, dt.timedelta(microseconds=2**63 - 1), dt.timedelta(microseconds=2**63 - 1)),
    (Decimal, Decimal("1.50"), Decimal("1.50")),
    (Decimal, Decimal("9" * 38), Decimal("9" * 38)),
    (UUID, ID, ID),
    (Colour, Colour.RED, Colour.RED),
    (Literal["a", 1], 1, 1),
    (list[int], [1], [1]),
    (set[str], {"a"}, {"a"}),
    (dict[str, int | None], {"a": None}, {"a": None}),
    (tuple[int, str], (1, "a"), (1, "a")),
    (tuple[int, ...], (), ()),
    (Point, Point(1.5, NOON), Point(1.5, NOON)),
    (Address, Address(street="s", price=Decimal(1)), Address(street="s", price=Decimal(1))),
    (dict[str, Any], {"a": [1, None, {"b": b"x"}]}, {"a": [1, None, {"b": b"x"}]}),
]


@pytest.mark.parametrize(("annotation", "given", "kept"), GOOD, ids=[f"{a}-{v!r}"[:60] for a, v, _ in GOOD])
def test_a_good_value_is_kept_in_its_plain_type(annotation: Any, given: Any, kept: Any) -> None:
    for found in (checked(annotation, given), validator(f=annotation).check_all({"f": given})["f"]):
        assert found == kept
        assert repr(found) == repr(kept)  # 1 is not 1.0 and not True, 13:00+01:00 is not 12:00 UTC


def test_bytes_of_a_derived_class_are_written_as_bytes() -> None:
    codec = describe(bytes).codec
    assert codec.to_wire is not None
    assert type(codec.to_wire(Raw(b"x"))) is bytes


BAD: list[tuple[Any, Any, str]] = [
    (str, 1, "string_type"),
    (str, None, "string_type"),
    (str, b"a", "string_type"),
    (str, "\ud800", "string_unicode"),
    (Annotated[str, MaxLen(3)], "abcd", "string_too_long"),
    (Annotated[str, MinLen(1)], "", "string_too_short"),
    (Annotated[str, Pattern("^a")], "b", "string_pattern_mismatch"),
    (int, "3", "int_type"),
    (int, 3.0, "int_type"),
    (int, True, "int_type"),
    (int, 2**63, "less_than_equal"),
    (int, -(2**63) - 1, "greater_than_equal"),
    (bool, 1, "bool_type"),
    (float, "1.5", "float_type"),
    (float, True, "float_type"),
    (float, float("nan"), "finite_number"),
    (float, float("-inf"), "finite_number"),
    (float, 10**400, "float_type"),
    (bytes, "x", "bytes_type"),
    (bytes, bytearray(b"x"), "bytes_type"),
    (dt.datetime, "2024-01-01T00:00:00Z", "datetime_type"),
    (dt.datetime, 0, "datetime_type"),
    (dt.datetime, NOON.date(), "datetime_type"),
    (dt.datetime, NOON.replace(tzinfo=None), "timezone_aware"),
    (dt.datetime, NOON.replace(tzinfo=Nowhere()), "timezone_aware"),
    (dt.datetime, dt.datetime.min.replace(tzinfo=EAST), "datetime_object_invalid"),
    (list[dt.datetime], [NOON.replace(tzinfo=None)], "not_storable"),
    (dt.date, NOON, "date_type"),
    (dt.time, dt.time(1, tzinfo=dt.UTC), "timezone_naive"),
    (dt.timedelta, dt.timedelta.max, "int_too_large"),
    (dt.timedelta, 1, "time_delta_type"),
    (Decimal, "1.5", "is_instance_of"),
    (Decimal, 1.5, "is_instance_of"),
    (Decimal, Decimal("NaN"), "finite_number"),
    (Decimal, Decimal("Infinity"), "finite_number"),
    (Decimal, Decimal("9" * 39), "decimal_max_digits"),
    (Decimal, Decimal("1E+3000000000"), "decimal_max_digits"),
    (UUID, str(ID), "is_instance_of"),
    (Colour, "red", "is_instance_of"),
    (Literal["a"], "b", "literal_error"),
    (list[int], (1,), "list_type"),
    (list[int], [2**63], "not_storable"),
    (list[str], ["\ud800"], "string_unicode"),
    (list[float], [float("nan")], "not_storable"),
    (Point, Point(float("inf")), "not_storable"),
    (Address, Address(street="\ud800", price=Decimal(1)), "not_storable"),
    (set[str], ["a"], "set_type"),
    (set[str], {"\ud800"}, "string_unicode"),
    (dict[str, int], {1: 1}, "string_type"),
    (dict[str, int], {"\ud800": 1}, "string_unicode"),
    (tuple[int, str], [1, "a"], "tuple_type"),
    (tuple[int, str], (1,), "missing"),
    (Point, {"x": 1.0}, "dataclass_exact_type"),
    (Point, Point("1"), "not_storable"),  # type: ignore[arg-type]  # wrong on purpose
    (Point, Point(1.0, NOON.replace(tzinfo=None)), "not_storable"),
    (Point, Place(1.0, country="pt"), "not_storable"),
    (Address, {"street": "s", "price": "1"}, "is_instance_of"),
    (Address, Address.model_construct(street=3, price=Decimal(1)), "not_storable"),
    (Address, Address.model_construct(street="s"), "not_storable"),
    (dict[str, Any], {"a": float("nan")}, "not_storable"),
    (dict[str, Any], {"a": {1: 2}}, "not_storable"),
    (dict[str, Any], {"a": (1,)}, "not_storable"),
    (dict[str, Any], {"a": "\ud800"}, "not_storable"),
    (dict[str, Any], {"a": 2**63}, "not_storable"),
    (dict[str, Any], {"a": object()}, "not_storable"),
    (dict[str, Any], {"a": LOOP}, "not_storable"),
]


@pytest.mark.parametrize(
    ("annotation", "given", "constraint"), BAD, ids=[f"{a}-{c}-{n}" for n, (a, _, c) in enumerate(BAD)]
)
def test_a_bad_value_is_refused_with_the_name_of_what_is_wrong(annotation: Any, given: Any, constraint: str) -> None:
    thing = validator(f=annotation)
    for call in (lambda: thing.check_one("f", given), lambda: thing.check_all({"f": given})):
        assert [error.constraint for error in errors_of(call)] == [constraint]


def test_a_naive_datetime_is_refused_with_the_cure() -> None:
    [error] = errors_of(lambda: checked(dt.datetime, dt.datetime(2024, 1, 1)))
    assert error.field == "f"
    assert error.value == dt.datetime(2024, 1, 1)
    assert "tzinfo=UTC" in error.message
    assert "debros.now()" in error.message


def test_everything_wrong_is_told_at_once() -> None:
    thing = validator(
        title=Annotated[str, MaxLen(3)], likes=int, at=dt.datetime, price=Decimal, length=dt.timedelta, slot=dt.time,
        tags=set[str], where=Point, slug=str, body=str,
        validate={"slug": lambda slug: slug.islower()}, convert={"body": str.strip},
    )  # fmt: skip
    given = {
        "title": "long", "likes": "3", "at": NOON.replace(tzinfo=None), "price": Decimal("9" * 39),
        "length": dt.timedelta.max, "slot": dt.time(1, tzinfo=dt.UTC), "tags": {1}, "slug": "UP", "body": 3, "titel": "x",
    }  # fmt: skip
    found = {error.field: error.constraint for error in errors_of(lambda: thing.check_all(given))}
    assert found == {
        "title": "string_too_long", "likes": "int_type", "at": "timezone_aware", "price": "decimal_max_digits",
        "length": "int_too_large", "slot": "timezone_naive", "tags.0": "string_type", "where": "missing",
        "slug": "validate", "body": "convert", "titel": "extra_forbidden",
    }  # fmt: skip


def test_an_unknown_name_is_answered_with_the_nearest_one() -> None:
    [error] = errors_of(lambda: validator(title=str).check_all({"title": "a", "titel": "b"}))
    assert (error.field, error.value, error.constraint) == ("titel", "b", "extra_forbidden")
    assert "did you mean 'title'?" in error.message


def test_a_missing_value_is_told_without_the_values_of_the_others() -> None:
    [error] = errors_of(lambda: validator(title=str, body=str).check_all({"body": "a secret"}))
    assert (error.field, error.value, error.constraint) == ("title", None, "missing")


def test_an_error_inside_a_collection_names_its_place() -> None:
    errors = errors_of(lambda: checked(dict[str, list[int]], {"a": [1, "2"], "b": ["3"]}))
    assert [(error.field, error.value) for error in errors] == [("f.a.1", "2"), ("f.b.0", "3")]


def test_without_strictness_values_are_coerced_as_pydantic_does() -> None:
    thing = validator(strict=False, n=int, at=dt.datetime, price=Decimal, tags=set[str], where=Point)
    found = thing.check_all(
        {"n": "3", "at": "2024-01-01T13:00:00+01:00", "price": "1.50", "tags": ["a"], "where": {"x": "1.5"}}
    )
    assert found == {"n": 3, "at": NOON, "price": Decimal("1.50"), "tags": {"a"}, "where": Point(1.5)}
    assert thing.check_one("n", "3") == 3
    [error] = errors_of(lambda: thing.check_one("at", "2024-01-01T13:00:00"))
    assert error.constraint == "timezone_aware"


def test_a_converter_runs_before_the_type_check_and_a_validator_after_it() -> None:
    seen: list[Any] = []
    thing = validator(n=int, convert={"n": int}, validate={"n": seen.append})
    assert thing.check_one("n", "3") == 3
    assert thing.check_all({"n": "4"}) == {"n": 4}
    assert seen == [3, 4]


def test_a_validator_is_not_asked_about_a_value_of_another_type() -> None:
    seen: list[Any] = []
    errors_of(lambda: validator(n=int, validate={"n": seen.append}).check_one("n", "3"))
    assert seen == []


def refuse(value: object) -> None:
    raise LookupError("no {such} thing")


@pytest.mark.parametrize(
    ("validate", "message"),
    [
        (lambda value: False, "the value is refused"),
        (lambda value: "it is {odd}", "it is {odd}"),
        (refuse, "no {such} thing"),
        (lambda value: 1 / 0, "division by zero"),
    ],
)
def test_a_validator_refuses_by_false_a_message_or_a_raise(validate: Callable[[Any], Any], message: str) -> None:
    thing = validator(n=int, validate={"n": validate})
    for call in (lambda: thing.check_one("n", 3), lambda: thing.check_all({"n": 3})):
        [error] = errors_of(call)
        assert (error.field, error.value, error.constraint, error.message) == ("n", 3, "validate", message)


@pytest.mark.parametrize("answer", [True, None, 1, 0], ids=repr)
def test_a_validator_accepts_by_anything_else(answer: Any) -> None:
    assert checked(int, 3, validate={"f": lambda value: answer}) == 3


def test_a_converter_that_raises_refuses_the_value() -> None:
    thing = validator(n=int, convert={"n": int})
    for call in (lambda: thing.check_one("n", "x"), lambda: thing.check_all({"n": "x"})):
        [error] = errors_of(call)
        assert (error.field, error.value, error.constraint) == ("n", "x", "convert")


def test_pydantic_s_own_validators_inside_a_type_are_asked_too() -> None:
    def even(number: int) -> int:
        if number % 2:
            raise ValueError("odd")
        return number

    assert checked(list[Annotated[int, AfterValidator(even)]], [2]) == [2]
    [error] = errors_of(lambda: checked(list[Annotated[int, AfterValidator(even)]], [2, 3]))
    assert (error.field, error.constraint) == ("f.1", "value_error")


def test_the_caller_s_values_are_neither_changed_nor_shared() -> None:
    inner, names = [1], ["a"]
    given: dict[str, Any] = {
        "numbers": [1], "tags": {"a"}, "counts": {"a": 1}, "nested": [[1]], "data": {"a": inner},
        "point": Point(1.0, NOON, names), "points": [Point(1.0, NOON, names)], "pair": ([1], 2), "any": inner,
    }  # fmt: skip
    thing = validator(
        convert={"tags": lambda tags: tags | {"b"}}, numbers=list[int], tags=set[str], counts=dict[str, int],
        nested=list[list[int]], data=dict[str, Any], point=Point, points=list[Point], pair=tuple[list[int], int], any=Any,
    )  # fmt: skip
    found = thing.check_all(given)
    single = {name: thing.check_one(name, value) for name, value in given.items()}
    for kept in (found, single):
        kept["numbers"].append(2)
        kept["tags"].add("c")
        kept["counts"]["b"] = 2
        kept["nested"][0].append(2)
        kept["data"]["a"].append(2)
        kept["point"].names.append("b")
        kept["points"][0].names.append("b")
        kept["pair"][0].append(2)
        kept["any"].append(2)
    assert given == {
        "numbers": [1], "tags": {"a"}, "counts": {"a": 1}, "nested": [[1]], "data": {"a": [1]},
        "point": Point(1.0, NOON, ["a"]), "points": [Point(1.0, NOON, ["a"])], "pair": ([1], 2), "any": [1],
    }  # fmt: skip
