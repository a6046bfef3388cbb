"""A row that is changed without its cells is the one that the fold makes, to the byte of its merge state."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.blocks import dagcbor
from debros.replica.packing import new_document
from debros.replica.patching import Patches
from debros.replica.projection import Projection
from debros.replica.state import States
from debros.replica.tables import Row, Table
from debros.replica.updates import Updates
from debros.schema import Bounds, FieldSpec, Schema, Store
from debros.values import describe
from tests.replica.test_packing import fields

Made = tuple[list[FieldSpec], dict[str, Any]]


def digest_of(e: int) -> bytes:
    return sha256(str(e).encode()).digest()


class Thing:
    """One model, and the long way and the short one to its rows."""

    def __init__(self, specs: list[FieldSpec], store: Store = "documents") -> None:
        self.table = Table(Schema("Thing", 1, "global", store, "anyone", tuple(specs)))
        self.states = States(self.table, digest_of)
        self.projection = Projection(self.table, self.states.dump)
        self.patches = Patches(self.table, self.projection, digest_of, Updates(self.table))

    def folded(self, row: Row | None, change: dict[str, Any], clock: int, e: int, version: int = 1) -> Row:
        if row is None:
            made = self.projection.created("id", change, 7, 1, clock, e, 1, version)
            if made is not None:
                return made
        document = self.states.empty() if row is None else self.states.load(row)
        document.merge(change, clock, e, version)
        return self.projection.project("id", document, 7, 1, 1)

    def patched(self, row: Row, change: dict[str, Any], clock: int, e: int, version: int = 1) -> Row | None:
        patch = self.patches.of(change)
        return None if patch is None else patch.row(row, clock, e, version)


def wire_of(spec: FieldSpec, value: Any) -> Any:
    return value if value is None or spec.codec.to_wire is None else spec.codec.to_wire(value)


@st.composite
def changes(draw: st.DrawFn, specs: list[FieldSpec], others: list[dict[str, Any]]) -> dict[str, Any]:
    """Changes as writers make them, of values of the right types mostly, in one or several fields."""
    if draw(st.integers(0, 5)) == 0:
        return {"live": draw(st.booleans())}
    change: dict[str, dict[str, Any]] = {}
    for spec in specs:
        if draw(st.booleans()):
            continue
        value = draw(st.sampled_from(others))[spec.name]
        if spec.merge == "lww":
            odd = draw(st.integers(0, 9)) == 0
            change.setdefault("put", {})[spec.wire] = None if odd else wire_of(spec, value)
        elif spec.merge == "counter":
            change.setdefault("inc", {})[spec.wire] = draw(st.integers(-3, 3) | st.sampled_from([2**63 - 1, -(2**63)]))
        elif spec.merge == "set" and draw(st.integers(0, 5)) == 0 and value:
            change.setdefault("add", {})[spec.wire] = wire_of(spec, value)
    return change


@settings(max_examples=120)
@given(st.data())
def test_whatever_came_before_the_row_and_its_cells_are_those_of_the_fold(data: st.DataObject) -> None:
    specs, values = data.draw(fields())
    others = [values, *(data.draw(_values_of(specs, values)) for _ in range(2))]
    thing = Thing(specs)
    row = thing.folded(None, dagcbor.decode(dagcbor.encode(new_document(specs)(values)[0])), 50, 1)  # type: ignore[arg-type]  # a change is a map
    clock = 50
    for e in range(2, data.draw(st.integers(3, 6))):
        change: Any = dagcbor.decode(dagcbor.encode(data.draw(changes(specs, others))))
        clock = data.draw(st.sampled_from([clock + 1, clock + 1, clock + 5, clock, clock - 1]))
        version = data.draw(st.sampled_from([1, 1, 2]))
        patched = thing.patched(row, change, clock, e, version)
        row = thing.folded(row, change, clock, e, version)
        assert patched is None or patched == row
        assert patched is None or list(map(type, patched)) == list(map(type, row))
        clock = max(clock, row[thing.table.t_at])


def _values_of(specs: list[FieldSpec], values: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Other values of the same fields: those there are, null where it may be, and a few that are usual."""
    usual: dict[str, Any] = {"text": "other", "int": 7, "bool": True, "float": 0.5, "bytes": b"x"}
    return st.fixed_dictionaries(
        {
            spec.name: st.sampled_from(
                [values[spec.name]]
                + ([usual[spec.codec.kind]] if spec.codec.kind in usual else [])
                + ([None] if spec.nullable and spec.merge == "lww" else [])
            )
            for spec in specs
        }
    )


def spec(name: str, annotation: Any, **more: Any) -> FieldSpec:
    return FieldSpec(name, name, describe(annotation).codec, **more)


SPECS = [
    spec("title", str, bounds=Bounds(max_length=5)), spec("note", str, nullable=True), spec("n", int, merge="counter"),
    spec("tags", set[str], merge="set"), spec("done", bool),
]  # fmt: skip
NEW: dict[str, Any] = {
    "live": True, "put": {"title": "a", "note": None, "done": False}, "inc": {"n": 3}, "add": {"tags": ["y", "x"]}
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [{"put": {"title": "b"}}, {"put": {"note": "x", "done": True}}, {"inc": {"n": -3}}, {"live": False},
     {"put": {"title": "b", "note": None, "done": True}, "inc": {"n": 1}}],
    ids=str,
)  # fmt: skip
def test_the_usual_changes_of_the_usual_rows_need_no_cells(change: dict[str, Any]) -> None:
    thing = Thing(SPECS)
    row = thing.folded(None, NEW, 50, 1)
    assert row[thing.table.state_at] is None
    for e in range(2, 6):
        patched = thing.patched(row, change, 50 + e, e)
        row = thing.folded(row, change, 50 + e, e)
        if e > 2 and "live" in change:
            assert patched is None, "it is deleted already"
        else:
            assert patched == row


@pytest.mark.parametrize(
    ("change", "clock"),
    [({"put": {"title": "b"}}, 50), ({"put": {"title": "b"}}, 49), ({"put": {"title": "too long"}}, 60),
     ({"put": {"title": None}}, 60), ({"put": {"title": 5}}, 60), ({"put": {"unknown": 5}}, 60),
     ({"put": {"title": "b"}, "live": True}, 60), ({"add": {"tags": ["z"]}}, 60), ({"inc": {"n": 2**63 - 1}}, 60),
     ({"inc": {"title": 1}}, 60), ({"put": {"n": 1}}, 60), ({"live": True}, 60)],
    ids=str,
)  # fmt: skip
def test_what_does_not_win_everywhere_or_does_not_show_as_it_is_is_left_to_the_fold(
    change: dict[str, Any], clock: int
) -> None:
    thing = Thing(SPECS)
    assert thing.patched(thing.folded(None, NEW, 50, 1), change, clock, 2) is None


def test_a_second_entry_of_an_append_only_record_is_left_to_the_fold() -> None:
    thing = Thing(SPECS, "feed")
    assert thing.patched(thing.folded(None, NEW, 50, 1), {"live": False}, 60, 2) is None


def test_a_row_that_is_flagged_or_hidden_or_lifted_is_left_to_the_fold() -> None:
    thing = Thing(SPECS)
    table, change = thing.table, {"put": {"title": "b"}}
    row = thing.folded(None, NEW, 50, 1)
    for at in (table.flags_at, table.hidden_at):
        assert thing.patched((*row[:at], 2, *row[at + 1 :]), change, 60, 2) is None
    thing.projection.lifts = {1: object()}  # type: ignore[dict-item]  # it is not asked
    assert thing.patched(row, change, 60, 2) is None


def test_one_patch_serves_many_rows_and_entries() -> None:
    thing = Thing(SPECS)
    change = {"put": {"title": "b"}}
    for n, (made_by, e) in enumerate([(1, 20), (2, 20), (1, 21), (3, 22)]):
        new = {**NEW, "add": {"tags": [f"t{n}"]}, "inc": {"n": n + 1}}
        row = thing.folded(None, new, 50 + made_by, made_by)
        assert thing.patched(row, change, 70 + e, e) == thing.folded(row, change, 70 + e, e)


def test_of_two_stamps_that_as_many_registers_have_the_newer_one_is_common() -> None:
    thing = Thing([spec("a", str), spec("b", str)])
    row = thing.folded(None, {"live": True, "put": {"a": "x", "b": "x"}}, 50, 1)
    for e, wire in ((2, "b"), (3, "a"), (4, "b")):
        change = {"put": {wire: str(e)}}
        assert thing.patched(row, change, 50 + e, e) == (row := thing.folded(row, change, 50 + e, e))
