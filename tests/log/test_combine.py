"""Two changes joined do what they do one after the other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.blocks.dagcbor import encode
from debros.errors import TooLargeError
from debros.log.changes import combine, good_changes

OWN = b"\xff" * 32
DOTS = [bytes([n]) * 32 for n in range(4)]
VALUES = [1, 1.0, True, "x", [1], [1.0], {"a": 1}]
names = st.sampled_from(["a", "b"])
values = st.sampled_from(VALUES)


def dots(*more: bytes, least: int = 1) -> st.SearchStrategy[list[bytes]]:
    return st.sets(st.sampled_from([*DOTS, *more]), min_size=least).map(sorted)


def changes(*own: bytes) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {},
        optional={
            "put": st.dictionaries(names, values),
            "inc": st.dictionaries(names, st.integers(-5, 5)),
            "add": st.dictionaries(names, st.lists(values, max_size=3)),
            "rem": st.dictionaries(names, st.lists(st.tuples(values, dots(*own)).map(list), max_size=3)),
            "keep": st.dictionaries(names, st.tuples(values, dots(*own, least=0)).map(list)),
            "live": st.booleans(),
        },
    )


class Document:
    """What the table of merge kinds says, for one entry with the digest `OWN` on top of a given state."""

    def __init__(self) -> None:
        self.put: dict[str, bytes] = {}
        self.inc: dict[str, int] = {}
        self.sets = {(f, encode(v), d) for f in ("a", "b") for v in VALUES for d in DOTS}
        self.kept = {(f, d): encode(d) for f in ("a", "b") for d in DOTS}
        self.live: bool | None = None

    def apply(self, change: dict[str, Any]) -> Document:
        self.put |= {field: encode(value) for field, value in change.get("put", {}).items()}
        for field, more in change.get("inc", {}).items():
            self.inc[field] = self.inc.get(field, 0) + more
        for field, ends in change.get("rem", {}).items():
            self.sets -= {(field, encode(value), dot) for value, dots in ends for dot in dots}
        for field, added in change.get("add", {}).items():
            self.sets |= {(field, encode(value), OWN) for value in added}
        for field, (value, dots) in change.get("keep", {}).items():
            for dot in dots:
                self.kept.pop((field, dot), None)
            self.kept[field, OWN] = encode(value)
        self.live = change.get("live", self.live)
        return self


@settings(max_examples=300)
@given(changes(), changes(OWN))
def test_one_change_does_what_two_do(first: dict[str, Any], second: dict[str, Any]) -> None:
    joined = combine(first, second, OWN)
    assert vars(Document().apply(joined)) == vars(Document().apply(first).apply(second))
    assert list(good_changes([["M", 1, "i", joined]])), "its form is good"
    assert OWN not in [
        dot for fields in (joined.get("rem", {}),) for ends in fields.values() for _, listed in ends for dot in listed
    ]


@given(changes(), changes(OWN), changes(OWN))
@settings(max_examples=100)
def test_joining_is_associative_in_what_it_does(
    first: dict[str, Any], second: dict[str, Any], third: dict[str, Any]
) -> None:
    at_once = combine(combine(first, second, OWN), third, OWN)
    assert vars(Document().apply(at_once)) == vars(Document().apply(first).apply(second).apply(third))


def test_what_is_joined_is_not_changed() -> None:
    first, second = {"add": {"s": ["x"]}, "inc": {"n": 1}}, {"rem": {"s": [["x", [OWN]]]}, "inc": {"n": 2}}
    assert combine(first, second, OWN) == {"inc": {"n": 3}}
    assert first == {"add": {"s": ["x"]}, "inc": {"n": 1}}
    assert second == {"rem": {"s": [["x", [OWN]]]}, "inc": {"n": 2}}


@pytest.mark.parametrize(("first", "second"), [(2**63 - 1, 1), (-(2**63), -1)])
def test_increments_beyond_64_bits_are_too_large(first: int, second: int) -> None:
    with pytest.raises(TooLargeError, match="beyond 64 bits"):
        combine({"inc": {"n": first}}, {"inc": {"n": second}}, OWN)


@pytest.mark.parametrize("kind", ["rem", "keep"])
def test_more_than_256_dots_of_a_value_are_too_large(kind: str) -> None:
    all_dots = [n.to_bytes(32, "big") for n in range(257)]

    def change(dots: list[bytes]) -> dict[str, Any]:
        return {kind: {"s": [["x", dots]] if kind == "rem" else ["x", dots]}}

    combine(change(all_dots[:128]), change(all_dots[100:256]), OWN)
    with pytest.raises(TooLargeError, match="256"):
        combine(change(all_dots[:128]), change(all_dots[100:257]), OWN)
