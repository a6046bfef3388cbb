"""Documents are joined by a law: any order, any grouping, and through their stored state."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from debros.blocks.cid import digest_of
from debros.replica.cells import Document
from debros.replica.projection import Projection
from debros.replica.state import States
from debros.replica.tables import Table
from tests.support.stores import cells_of, post, state_of
from tests.support.worlds import changes

Change = tuple[dict[str, Any], int, int, int]  # change, clock, number of the entry, schema version
DIGESTS = [digest_of(bytes([n])) for n in range(12)]


@st.composite
def histories(draw: st.DrawFn) -> list[Change]:
    """Changes of one document by entries that know of each other's digests; clocks are often equal."""
    size = draw(st.integers(1, 6))
    return [
        (draw(changes(DIGESTS[:n] + DIGESTS[n + 1 : size])), draw(st.integers(1, 3)), n, draw(st.integers(1, 2)))
        for n in range(size)
    ]


def merged(history: list[Change]) -> Document:
    document = Document(DIGESTS.__getitem__)
    for change, clock, e, version in history:
        document.merge(change, clock, e, version)
    return document


@settings(max_examples=200)
@given(histories(), st.integers(0, 2**16))
def test_the_order_of_changes_does_not_matter(history: list[Change], seed: int) -> None:
    shuffled = list(history)
    Random(seed).shuffle(shuffled)
    first, second = merged(history), merged(shuffled)
    assert cells_of(first) == cells_of(second)
    assert state_of(first) == state_of(second)
    assert first.count == second.count == len(history)


@settings(max_examples=200)
@given(histories())
def test_a_tie_by_number_decides_as_the_digest_does(history: list[Change]) -> None:
    """In a pure fold the tie is the digest; in the view it is the entry's number."""
    pure = Document()
    for change, clock, e, version in history:
        pure.merge(change, clock, DIGESTS[e], version)
    assert state_of(pure) == state_of(merged(history))


@settings(max_examples=200)
@given(histories(), st.integers(0, 6))
def test_a_document_that_was_stored_and_loaded_goes_on_as_if_it_had_not_been(history: list[Change], at: int) -> None:
    table = Table(post())
    states = States(table, DIGESTS.__getitem__)
    projection = Projection(table, states.dump)
    document = states.empty()
    created = None
    for n, (change, clock, e, version) in enumerate(history):
        created = projection.created("d", change, 1, 1, clock, e, 1, version) if n == 0 else None
        document.merge(change, clock, e, version)
        row = projection.project("d", document, 1, 1, 1)
        loaded = states.load(row)
        assert as_state(loaded) == as_state(document)
        assert projection.project("d", loaded, 1, 1, 1) == row
        if created is not None:
            assert as_state(states.load(created)) == as_state(document)
            at_state = table.state_at
            assert created[:at_state] == row[:at_state], "the short way makes the same row"
            assert created[at_state + 1 :] == row[at_state + 1 :]
            document = states.load(created)
        elif n >= at:
            document = loaded
    assert as_state(document) == as_state(merged(history))


def as_state(document: Document) -> dict[str, Any]:
    waiting = {f: {v: sorted(dots) for v, dots in cell.waiting.items()} for f, cell in document.elements.items()}
    return {
        **state_of(document),
        "count": document.count,
        "ended": {f: cell for f, cell in waiting.items() if cell},
        "replaced": {f: sorted(kept.waiting) for f, kept in document.kept.items() if kept.waiting},
    }


def test_an_end_waits_for_its_value_and_is_for_that_value_only() -> None:
    end: dict[str, Any] = {"rem": {"tags": [["x", [DIGESTS[1]]]]}}
    add: dict[str, Any] = {"add": {"tags": ["x", "y", "x"]}}
    for order in ([end, add], [add, end]):
        document = Document(DIGESTS.__getitem__)
        for change in order:
            document.merge(change, 1, 1 if "add" in change else 0, 1)
        assert [value for value, _ in cells_of(document)["tags", "add"]] == [b"ay"]


def test_two_values_are_equal_when_their_encodings_are() -> None:
    document = Document(DIGESTS.__getitem__)
    document.merge({"add": {"tags": [1, 1.0, True, 0.0, -0.0]}}, 1, 0, 1)
    assert len(cells_of(document)["tags", "add"]) == 5
    document.merge({"rem": {"tags": [[1, [DIGESTS[0]]], [-0.0, [DIGESTS[0]]]]}}, 2, 1, 1)
    assert len(cells_of(document)["tags", "add"]) == 3


def test_sums_have_no_bounds() -> None:
    document = Document(DIGESTS.__getitem__)
    for e in range(4):
        document.merge({"inc": {"likes": 2**63 - 1}}, e, e, 1)
    assert document.sums == {"likes": 4 * (2**63 - 1)}
    document.merge({"inc": {"likes": -(2**63)}}, 5, 5, 1)
    assert document.sums == {"likes": 4 * (2**63 - 1) - 2**63}
