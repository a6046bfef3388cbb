"""The functions that are made for a model say of a new document what the general ones say."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from debros.blocks import dagcbor
from debros.blocks.cid import to_bytes
from debros.errors import ValidationError
from debros.log.changes import encode_change
from debros.log.forms import is_change
from debros.models.validation import Validator
from debros.replica.cells import Document
from debros.replica.changes import Change
from debros.replica.commit import encoded
from debros.replica.packing import encoder_of, is_exact, new_document
from debros.replica.projection import Projection
from debros.replica.state import States
from debros.replica.tables import Table
from debros.schema import Bounds, FieldSpec, Schema
from debros.values import describe
from debros.values.scalars import EARLIEST, LATEST
from tests.support.typed import TYPES

DIGEST = bytes(range(32))
MERGES = {"int": ["lww", "counter"], "set": ["lww", "set", "keep"]}


@st.composite
def fields(draw: st.DrawFn) -> tuple[list[FieldSpec], dict[str, Any]]:
    """Some fields of any type, and a checked value of each."""
    specs, values = [], {}
    for n, annotation in enumerate(draw(st.lists(st.sampled_from(list(TYPES)), max_size=8))):
        info = describe(annotation)
        merge = draw(st.sampled_from(MERGES.get(info.codec.kind, ["lww", "keep"])))
        nullable = info.nullable or (merge in ("lww", "keep") and draw(st.booleans()))
        value = draw(TYPES[annotation] | st.none()) if nullable else draw(TYPES[annotation])
        if value is not None:
            validator = Validator("Thing", {"f": info}, strict=True, convert={}, validate={})
            value = validator.check_one("f", value)
        specs.append(FieldSpec(f"a{n}", f"w{n}", info.codec, nullable, merge))
        values[f"a{n}"] = value
    return specs, values


def general(specs: list[FieldSpec], values: dict[str, Any]) -> dict[str, Any]:
    """The change as docs/format.md tells it: every register and kept field, sets and counters that hold something."""
    parts: dict[str, dict[str, Any]] = {"lww": {}, "counter": {}, "set": {}, "keep": {}}
    for spec in specs:
        value = values[spec.name]
        wire = value if value is None or spec.codec.to_wire is None else spec.codec.to_wire(value)
        parts[spec.merge][spec.wire] = [wire, []] if spec.merge == "keep" else wire
    change = {"put": parts["lww"], "keep": parts["keep"]}
    change |= {"inc": {wire: n for wire, n in parts["counter"].items() if n}}
    change |= {"add": {wire: some for wire, some in parts["set"].items() if some}}
    return {"live": True} | {key: part for key, part in change.items() if part}


@settings(max_examples=150)
@given(fields())
def test_a_new_document_is_the_change_and_the_bytes_that_the_format_asks_for(made: tuple[Any, Any]) -> None:
    specs, values = made
    change, _ = new_document(specs)(values)
    assert change == general(specs, values)
    raw = encoded(Change("Thing", 1, "id", change), encoder_of(specs))
    assert raw == encode_change("Thing", 1, "id", change)
    assert raw == dagcbor.encode(dagcbor.decode(raw))


@settings(max_examples=150)
@given(fields())
def test_its_row_is_the_one_that_the_fold_makes_of_the_change(made: tuple[Any, Any]) -> None:
    specs, values = made
    change, columns = new_document(specs)(values)
    table = Table(Schema("Thing", 1, "global", "documents", "anyone", tuple(specs)))
    projection = Projection(table, lambda document, fields: b"")
    row = None if columns is None else projection.fresh("id", columns, 7, 1, 70, 9, 1, 1)
    sent = dagcbor.decode(dagcbor.encode(change))
    document = Document(lambda e: bytes(32))
    document.merge(sent, 70, 9, 1)
    folded = projection.project("id", document, 7, 1, 1)
    if row is not None:
        at = table.state_at
        assert (*row[:at], *row[at + 1 :]) == (*folded[:at], *folded[at + 1 :])


def things(specs: list[FieldSpec]) -> tuple[Table, States, Projection]:
    """A model of these fields."""
    table = Table(Schema("Thing", 1, "global", "documents", "anyone", tuple(specs)))
    states = States(table, lambda e: DIGEST)
    return table, states, Projection(table, states.dump)


def made_at_once(specs: list[FieldSpec], change: dict[str, Any]) -> bool:
    """Whether a peer's change makes a row at once; if so, row and cells have to be those of the general fold."""
    table, states, projection = things(specs)
    document = states.empty()
    document.merge(change, 70, 9, 1)
    row = projection.created("id", change, 7, 1, 70, 9, 1, 1)
    if row is None:
        return False
    folded = projection.project("id", document, 7, 1, 1)
    at = table.state_at
    assert (*row[:at], *row[at + 1 :]) == (*folded[:at], *folded[at + 1 :])
    assert cells(states.load(row)) == cells(document)
    return True


def cells(document: Document) -> Any:
    """What the cells of a document say; a counter at 0 and a set that holds nothing say nothing."""
    sets = {
        wire: (cell.living, cell.waiting) for wire, cell in document.elements.items() if cell.living or cell.waiting
    }
    kept = {wire: (cell.living, cell.waiting) for wire, cell in document.kept.items()}
    sums = {wire: n for wire, n in document.sums.items() if n}
    return document.registers, sums, sets, kept, document.live, document.born, document.newest, document.count


@settings(max_examples=80)
@given(fields())
def test_a_document_that_a_peer_made_has_the_row_that_the_fold_makes(made: tuple[Any, Any]) -> None:
    specs, values = made
    sent = dagcbor.decode(dagcbor.encode(new_document(specs)(values)[0]))
    is_made = made_at_once(specs, sent)
    assert is_made or not all(is_exact(spec.codec) for spec in specs if spec.merge == "set")


ODD = st.sampled_from([None, True, -1, 2**63, -0.0, 1.5, "", "x", b"", [], ["b", "a"], [1, 1], [-0.0], {}, {"k": 1}])


@settings(max_examples=150)
@given(fields(), st.data())
def test_whatever_a_peer_says_its_row_and_its_cells_are_those_of_the_fold(
    made: tuple[Any, Any], data: st.DataObject
) -> None:
    specs, values = made
    change = dagcbor.decode(dagcbor.encode(new_document(specs)(values)[0]))
    assert isinstance(change, dict)
    wires = [spec.wire for spec in specs] + ["unknown"]
    for _ in range(data.draw(st.integers(1, 2))):
        key = data.draw(st.sampled_from(["put", "inc", "add", "keep", "rem", "live"]))
        if key == "live":
            change["live"] = False
            continue
        part: dict[str, Any] = change.setdefault(key, {})
        wire, value = data.draw(st.sampled_from(wires)), data.draw(ODD)
        if data.draw(st.booleans()):
            part.pop(wire, None)
        elif key == "keep":
            part[wire] = [value, data.draw(st.sampled_from([[], [bytes(32)]]))]
        elif key == "rem":
            part[wire] = [[value, [bytes(32)]]]
        else:
            part[wire] = value
    assume(is_change(change))
    made_at_once(specs, change)


@settings(max_examples=250)
@given(fields(), st.data())
def test_a_change_of_bad_form_makes_no_row(made: tuple[Any, Any], data: st.DataObject) -> None:
    specs, values = made
    change: Any = dagcbor.decode(dagcbor.encode(new_document(specs)(values)[0]))
    wires = [spec.wire for spec in specs] + ["unknown", "no name"]
    key = data.draw(st.sampled_from([*change, "put", "inc", "add", "keep", "rem", "live", "other"]))
    where = data.draw(st.sampled_from(["whole", "part", "value", "pair"]))
    odd = data.draw(ODD)
    if where == "whole":
        change = odd
    elif where == "part":
        change[key] = odd
    else:
        part = change.get(key)
        part = change[key] = part if type(part) is dict else {}
        part[data.draw(st.sampled_from(wires))] = odd if where == "value" else [odd, data.draw(ODD)]
    _, _, projection = things(specs)
    assert projection.created("id", change, 7, 1, 70, 9, 1, 1) is None or is_change(change)


@pytest.mark.parametrize(
    "part",
    [
        {"add": {"tags": "x"}}, {"add": {"tags": {"x": 1}}}, {"add": {"tags": b"x"}}, {"add": {"tags": None}}, {"add": "tags"},
        {"inc": {"n": True}}, {"inc": {"n": 2**63}}, {"inc": {"n": 1.0}}, {"inc": ["n"]},
        {"keep": {"k": ["x"]}}, {"keep": {"k": "x"}}, {"keep": {"k": ["x", b""]}}, {"keep": {"k": ["x", {}]}}, {"keep": []},
        {"put": "abc"}, {"put": ["t"]}, {"live": 1}, {"rem": {}},
    ],
    ids=str,
)  # fmt: skip
def test_a_part_of_bad_form_or_one_that_ends_something_makes_no_row(part: dict[str, Any]) -> None:
    specs = [
        FieldSpec("t", "t", describe(str).codec),
        FieldSpec("tags", "tags", describe(set[str]).codec, False, "set"),
        FieldSpec("n", "n", describe(int).codec, False, "counter"),
        FieldSpec("k", "k", describe(str).codec, True, "keep"),
    ]
    good = {"live": True, "put": {"t": "x"}, "add": {"tags": ["x"]}, "inc": {"n": 1}, "keep": {"k": ["x", []]}}
    assert made_at_once(specs, good)
    assert things(specs)[2].created("id", good | part, 7, 1, 70, 9, 1, 1) is None


@settings(max_examples=150)
@given(
    st.sampled_from([(int, st.integers(-3, 3)), (float, st.floats(-3, 3)), (str, st.text("ab", max_size=4)), (Decimal, st.decimals(-3, 3))]),
    st.data(),
)  # fmt: skip
def test_a_value_beyond_its_bounds_is_flagged_as_by_the_fold(kind: tuple[Any, Any], data: st.DataObject) -> None:
    annotation, values = kind
    names = ["min_length", "max_length"] if annotation is str else ["ge", "gt", "le", "lt"]
    limits = st.integers(0, 4) if annotation is str else st.integers(-2, 2).map(annotation)
    bounds = Bounds(**{name: data.draw(limits) for name in data.draw(st.sets(st.sampled_from(names), min_size=1))})
    if annotation is str and data.draw(st.booleans()):
        bounds = replace(bounds, pattern="^a")
    codec = describe(annotation).codec
    value = data.draw(values)
    made_at_once(
        [FieldSpec("f", "f", codec, True, bounds=bounds)],
        {"live": True, "put": {"f": value if codec.to_wire is None else codec.to_wire(value)}},
    )


def test_columns_of_a_new_document_are_sure_only_where_its_patterns_are_found_here_too() -> None:
    made = new_document([FieldSpec("a", "a", describe(str).codec, True, bounds=Bounds(pattern="^a"))])
    assert made({"a": "ab"})[1] == ("ab",)
    assert made({"a": None})[1] == (None,)
    assert made({"a": "b"}) == ({"live": True, "put": {"a": "b"}}, None)


def test_text_that_is_not_unicode_is_refused_with_the_reason() -> None:
    spec = FieldSpec("a", "a", describe(str).codec)
    with pytest.raises(ValidationError, match="surrogate"):
        encoded(Change("Thing", 1, "id", {"live": True, "put": {"a": "\ud800"}}), encoder_of([spec]))


@pytest.mark.parametrize("annotation", [bytes, list[bytes], set[bytes], dict[str, bytes], list[list[bytes]]], ids=str)
def test_bytes_that_look_like_a_link_stay_bytes(annotation: Any) -> None:
    spec = FieldSpec("a", "a", describe(annotation).codec)
    looks = to_bytes(bytes(32))
    value: Any = looks
    if annotation is not bytes:
        value = (
            {"k": looks}
            if annotation == dict[str, bytes]
            else [[looks]]
            if annotation == list[list[bytes]]
            else [looks]
        )
    raw = encoded(Change("Thing", 1, "id", {"live": True, "put": {"a": value}}), encoder_of([spec]))
    assert dagcbor.decode(raw) == ["Thing", 1, "id", {"live": True, "put": {"a": value}}]


def test_a_set_with_a_negative_zero_is_not_made_at_once_for_its_column_does_not_keep_the_sign() -> None:
    specs = [FieldSpec("a", "a", describe(set[float]).codec, False, "set")]
    assert made_at_once(specs, {"live": True, "add": {"a": [0.0]}})
    assert not made_at_once(specs, {"live": True, "add": {"a": [-0.0]}})


@pytest.mark.parametrize(
    ("at", "is_good"), [(EARLIEST, True), (LATEST, True), (EARLIEST - 1, False), (LATEST + 1, False)]
)
def test_an_instant_outside_the_calendar_is_not_shown_beside_values_that_are_good(at: int, is_good: bool) -> None:
    specs = [FieldSpec(name, name, describe(kind).codec) for name, kind in (("a", str), ("b", datetime))]
    assert made_at_once(specs, {"live": True, "put": {"a": "x", "b": at}}) == is_good
