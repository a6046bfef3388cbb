"""Laws of values: Python -> wire -> column -> Python gives the value back, and order survives the journey."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.blocks import dagcbor
from debros.models.validation import Validator
from debros.schema import Codec
from debros.values import describe
from tests.support.typed import DURATIONS, FLOATS, INSTANTS, INT64, PLAIN, TYPES, decimals


def wire_of(codec: Codec, value: Any) -> Any:
    return value if codec.to_wire is None else codec.to_wire(value)


def column_of(codec: Codec, wire: Any) -> Any:
    return wire if codec.to_column is None else codec.to_column(wire)


def read(codec: Codec, column: Any) -> Any:
    return column if codec.from_column is None else codec.from_column(column)


def checked(annotation: Any, value: Any) -> Any:
    validator = Validator("Thing", {"f": describe(annotation)}, strict=True, convert={}, validate={})
    return validator.check_one("f", value)


@pytest.mark.parametrize("annotation", TYPES, ids=str)
@settings(max_examples=60)
@given(data=st.data())
def test_a_value_comes_back_from_the_wire_and_from_the_column(annotation: Any, data: st.DataObject) -> None:
    codec = describe(annotation).codec
    value = data.draw(TYPES[annotation])
    wire = wire_of(codec, value)
    assert codec.accepts(wire)
    sent = dagcbor.decode(dagcbor.encode(wire))  # what a peer gets
    assert codec.accepts(sent)
    assert (sent if codec.from_wire is None else codec.from_wire(sent)) == value
    back = read(codec, column_of(codec, sent))
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("annotation", TYPES, ids=str)
@settings(max_examples=40)
@given(data=st.data())
def test_what_validation_lets_through_is_an_operand_and_has_a_wire_form(annotation: Any, data: st.DataObject) -> None:
    codec = describe(annotation).codec
    value = checked(annotation, data.draw(TYPES[annotation]))
    assert codec.is_operand(value)
    wire = wire_of(codec, value)
    assert codec.accepts(wire)
    dagcbor.encode(wire)


@pytest.mark.parametrize("annotation", TYPES, ids=str)
@settings(max_examples=40)
@given(data=st.data())
def test_equal_values_have_one_column(annotation: Any, data: st.DataObject) -> None:
    codec = describe(annotation).codec
    value = data.draw(TYPES[annotation])
    once = column_of(codec, wire_of(codec, value))
    again = column_of(codec, dagcbor.decode(dagcbor.encode(wire_of(codec, value))))
    assert once == again
    assert type(once) is type(again)


@pytest.mark.parametrize("annotation", TYPES, ids=str)
@settings(max_examples=60)
@given(wire=PLAIN | st.text(alphabet="0123456789-:.TZE+", max_size=12))
def test_any_wire_value_is_accepted_or_not_and_what_is_accepted_can_be_read(annotation: Any, wire: Any) -> None:
    codec = describe(annotation).codec
    if codec.accepts(wire):
        read(codec, column_of(codec, wire))
        if codec.to_key is not None:
            codec.to_key(wire)


@pytest.mark.parametrize("annotation", TYPES, ids=str)
@settings(max_examples=60)
@given(value=PLAIN | DURATIONS | INSTANTS | st.decimals() | st.floats() | st.sets(st.integers()) | st.tuples(FLOATS))
def test_an_operand_of_any_kind_is_told_and_has_a_wire_form(annotation: Any, value: Any) -> None:
    codec = describe(annotation).codec
    if value is not None and codec.is_operand(value):
        assert codec.accepts(wire_of(codec, value))


def before(codec: Codec, one: Any, other: Any) -> bool:
    """Whether the column (or its key) of one value sorts before the other's, as SQLite compares them."""

    def sortable(value: Any) -> Any:
        wire = wire_of(codec, value)
        if codec.to_key is not None:
            return codec.to_key(wire)
        column = column_of(codec, wire)
        return column.encode() if type(column) is str else column  # SQLite compares text as UTF-8

    return bool(sortable(one) < sortable(other))


ORDERED: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, INT64),
    (float, FLOATS),
    (Decimal, decimals()),
    (dt.datetime, INSTANTS),
    (dt.date, st.dates()),
    (dt.time, st.times()),
    (dt.timedelta, DURATIONS),
    (str, st.text()),
    (bytes, st.binary()),
]


@pytest.mark.parametrize(("annotation", "values"), ORDERED, ids=lambda given: str(given)[:24])
@settings(max_examples=150)
@given(data=st.data())
def test_columns_sort_like_the_values(annotation: Any, values: st.SearchStrategy[Any], data: st.DataObject) -> None:
    codec = describe(annotation).codec
    one, other = data.draw(values), data.draw(values)
    assert before(codec, one, other) is (one < other)


@given(decimals(), st.integers(0, 5))
def test_decimals_that_differ_only_in_scale_have_one_key_and_keep_their_scale(value: Decimal, zeros: int) -> None:
    codec = describe(Decimal).codec
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    longer = Decimal((sign, (*digits, *[0] * zeros), exponent - zeros))
    assert codec.to_key is not None
    assert codec.to_key(str(longer)) == codec.to_key(str(value))
    assert str(read(codec, column_of(codec, str(value)))) == str(value)


def test_a_set_is_written_in_the_order_of_the_encodings_whatever_python_s_order() -> None:
    codec = describe(set[str]).codec
    assert wire_of(codec, {"bb", "a", "é", "c", ""}) == ["", "a", "c", "bb", "é"]
    numbers = describe(set[int]).codec
    assert wire_of(numbers, {-1, 24, 300, 0}) == [0, 24, 300, -1]


@pytest.mark.parametrize("raw", [bytes.fromhex("01711220") + bytes(32), bytes.fromhex("1220") + bytes(32)])
@pytest.mark.parametrize("annotation", [list[bytes], set[bytes], dict[str, bytes], tuple[bytes, int], list[Any]])
def test_bytes_that_look_like_a_content_address_stay_bytes(annotation: Any, raw: bytes) -> None:
    codec = describe(annotation).codec
    wire: Any = {"k": raw} if annotation == dict[str, bytes] else [raw, 1] if annotation == tuple[bytes, int] else [raw]
    column = column_of(codec, wire)
    assert column == dagcbor.encode(wire)
    back = read(codec, column)
    assert raw in (back.values() if isinstance(back, dict) else back)


@pytest.mark.parametrize("annotation", [list[float], list[Any], set[float], Any], ids=str)
def test_a_negative_zero_from_a_peer_reads_as_zero(annotation: Any) -> None:
    codec = describe(annotation).codec
    wire = -0.0 if annotation is Any else [-0.0]
    assert codec.accepts(wire)
    assert dagcbor.encode(0.0) in column_of(codec, wire)
    assert str(read(codec, column_of(codec, wire))) in ("0.0", "[0.0]", "{0.0}")


@pytest.mark.parametrize("annotation", [float, Any, list[float]], ids=str)
def test_a_negative_zero_is_written_as_zero(annotation: Any) -> None:
    given = [-0.0] if annotation == list[float] else -0.0
    wire = wire_of(describe(annotation).codec, checked(annotation, given))
    assert dagcbor.encode(wire) in (dagcbor.encode(0.0), dagcbor.encode([0.0]))
