"""JSON forms of values: what `to_dict(mode="json")` shows and `from_dict` takes."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from debros import Ge, MaxLen
from debros.errors import ValidationError
from debros.models.validation import Validator
from debros.values import describe
from debros.values.json import from_json, to_json
from tests.support.typed import TYPES, Colour, Point

NOON = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)
ID = UUID("01999999-0000-7000-8000-00000000000a")


class Sealed(BaseModel):
    raw: bytes
    seals: set[bytes] = set()


UNTYPED = dict[str, Any]  # bytes in it are text in JSON, and stay text


@pytest.mark.parametrize("annotation", [each for each in TYPES if each != UNTYPED], ids=str)
@settings(max_examples=40)
@given(data=st.data())
def test_a_value_comes_back_from_json_text(annotation: Any, data: st.DataObject) -> None:
    info = describe(annotation)
    value = data.draw(TYPES[annotation])
    form = json.loads(json.dumps(to_json(info, value), allow_nan=False))
    back = from_json(info, form)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("annotation", TYPES, ids=str)
@settings(max_examples=30)
@given(data=st.data())
def test_a_value_in_python_s_form_is_left_as_it_is(annotation: Any, data: st.DataObject) -> None:
    value = data.draw(TYPES[annotation])
    assert from_json(describe(annotation), value) == value


FORMS: list[tuple[Any, Any, Any]] = [  # type, value, JSON form
    (dt.datetime, NOON.replace(microsecond=5), "2024-01-01T12:00:00.000005Z"),
    (dt.date, NOON.date(), "2024-01-01"),
    (dt.time, dt.time(1, 2, 3), "01:02:03"),
    (Decimal, Decimal("1.50"), "1.50"),
    (UUID, ID, str(ID)),
    (bytes, b"\xff\x00", "_wA="),
    (Colour, Colour.RED, "red"),
    (set[str], {"bb", "a", "c"}, ["a", "bb", "c"]),
    (set[int], {10, -1, 9}, [-1, 9, 10]),
    (tuple[int, str], (1, "a"), [1, "a"]),
    (Sealed, Sealed(raw=b"\xff", seals={b"b", b"a"}), {"raw": "_w==", "seals": ["YQ==", "Yg=="]}),
    (list[Sealed | None], [None, Sealed(raw=b"")], [None, {"raw": "", "seals": []}]),
    (Point, Point(1.5, NOON), {"x": 1.5, "at": "2024-01-01T12:00:00Z", "names": []}),
]


@pytest.mark.parametrize(("annotation", "value", "form"), FORMS, ids=[str(row[0]) for row in FORMS])
def test_a_value_has_this_form(annotation: Any, value: Any, form: Any) -> None:
    info = describe(annotation)
    assert to_json(info, value) == form
    assert from_json(info, form) == value


@pytest.mark.parametrize(
    ("annotation", "given", "value"),
    [
        (dt.datetime, "2024-01-01T13:00:00+01:00", NOON),
        (Decimal, 5, Decimal(5)),
        (float, 5, 5),
        (Decimal | None, "1.5", Decimal("1.5")),
        (list[Decimal], ["1.5", 2], [Decimal("1.5"), Decimal(2)]),
        (set[UUID], [str(ID)], {ID}),
    ],
    ids=str,
)
def test_other_spellings_of_json_are_understood(annotation: Any, given: Any, value: Any) -> None:
    assert from_json(describe(annotation), given) == value


@pytest.mark.parametrize(
    ("annotation", "given"),
    [
        (int, "3"), (str, 3), (bool, 1), (dt.datetime, "soon"), (bytes, "not base64!"), (UUID, "x"), (Decimal, "dear"),
        (Colour, "green"), (set[str], [1]), (tuple[int, str], [1]), (Point, {"x": "1"}), (list[int], float("nan")),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_json_form_is_left_for_the_validator_to_refuse(annotation: Any, given: Any) -> None:
    info = describe(annotation)
    found = from_json(info, given)
    assert found is given
    with pytest.raises(ValidationError):
        Validator("Thing", {"f": info}, strict=True, convert={}, validate={}).check_one("f", found)


@pytest.mark.parametrize(
    ("annotation", "given", "constraint"),
    [
        (Annotated[Decimal, Ge(0)], "-1", "greater_than_equal"),
        (Annotated[Decimal, Field(ge=0, json_schema_extra={"x": [1]})], "-1", "greater_than_equal"),
        (Annotated[set[str], MaxLen(1)], ["a", "b"], "too_long"),
        (list[Annotated[Decimal, Ge(0)]] | None, ["-1"], "greater_than_equal"),
        (dt.datetime, "2024-01-01T12:00:00", "timezone_aware"),
    ],
    ids=str,
)
def test_a_json_form_beyond_a_constraint_is_refused_for_that_constraint(
    annotation: Any, given: Any, constraint: str
) -> None:
    info = describe(annotation)
    with pytest.raises(ValidationError) as caught:
        Validator("Thing", {"f": info}, strict=True, convert={}, validate={}).check_one("f", from_json(info, given))
    assert [error.constraint for error in caught.value.errors] == [constraint]
