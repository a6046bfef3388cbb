"""Changes: which of an entry's items count, and the bytes of those we write. The forms are in the vectors."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.blocks import cid, dagcbor
from debros.log.changes import encode_change, good_changes, only_change
from debros.log.forms import is_id, is_name

SOME_CID = cid.Link(cid.RAW, b"\x07" * 32)
values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.sampled_from([SOME_CID, cid.to_bytes(bytes(32)), b"\x12\x20" + bytes(32), -0.0]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def without_negative_zero(value: Any) -> Any:
    if isinstance(value, float):
        return 0.0 if value == 0 else value
    if type(value) is list:
        return [without_negative_zero(item) for item in value]
    if type(value) is dict:
        return {key: without_negative_zero(item) for key, item in value.items()}
    return value


@settings(max_examples=300)
@given(st.dictionaries(st.text(max_size=4), values, max_size=4))
def test_a_change_is_written_in_canonical_form_without_negative_zero(put: dict[str, Any]) -> None:
    raw = encode_change("Post", 1_000_000, "id", {"put": put})
    assert raw == dagcbor.encode(["Post", 1_000_000, "id", {"put": without_negative_zero(put)}])


@pytest.mark.parametrize("bad", [math.nan, math.inf, 2**64, {1: 2}, {1}, object(), "\ud800", bytearray(b"x")])
@pytest.mark.parametrize("beside", [None, SOME_CID])  # both ways through the encoder
def test_what_has_no_canonical_form_is_not_written(bad: Any, beside: Any) -> None:
    with pytest.raises(ValueError):
        encode_change("Post", 1, "id", {"put": {"a": beside, "b": bad}})


@pytest.mark.parametrize("beside", [None, SOME_CID])
def test_a_value_too_deep_is_not_written(beside: Any) -> None:
    deep: Any = beside
    for _ in range(21):
        deep = [deep]
    assert encode_change("Post", 1, "id", {"put": {"a": deep}})
    with pytest.raises(ValueError, match="levels"):
        encode_change("Post", 1, "id", {"put": {"a": [deep]}})
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ValueError, match="levels"):
        encode_change("Post", 1, "id", {"put": {"a": deep}})


def test_the_first_change_of_a_document_counts_and_bad_names_do_not_make_one_first() -> None:
    ops: list[Any] = [
        ["Post", -1, "a", {}],
        ["Post", 1, "a", {"put": {"x": 1}}],
        ["Post", 2, "a", {"put": {"x": 2}}],
        ["Post", 1, "b", []],
        ["Post", 1, "b", {"put": {"x": 1}}],
        ["User", 1, "a", {"live": True}],
        ["Post", 1, "c"],
        ["Post", 1, "c", {}],
    ]
    assert [(at, model, id) for at, model, _, id, _ in good_changes(ops)] == [
        (1, "Post", "a"),
        (5, "User", "a"),
        (7, "Post", "c"),
    ]


@given(st.text(max_size=70))
def test_names_are_ascii_identifiers_of_63_characters(name: str) -> None:
    assert is_name(name) == (re.fullmatch("[A-Za-z_][A-Za-z0-9_]{0,62}", name) is not None)


@given(st.text(st.characters(codec="utf-8"), max_size=140))
def test_ids_are_128_bytes_without_control_characters(id: str) -> None:
    control = any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in id)
    assert is_id(id) == (1 <= len(id.encode()) <= 128 and not control)


items = st.lists(values, max_size=5) | st.tuples(
    st.sampled_from(["Post", "", "9", 5, None]), st.sampled_from([0, 7, -1, True, 1.0, "1"]),
    st.text(max_size=3) | st.sampled_from(["x" * 129, b"x", None]), values,
).map(list)  # fmt: skip


@settings(max_examples=300)
@given(items | values)
def test_the_only_change_of_an_entry_is_the_one_that_is_found_by_going_through_all(item: Any) -> None:
    found = only_change(item)
    assert ([] if found is None else [found]) == list(good_changes([item], unformed=True))
