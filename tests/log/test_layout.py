"""Which shard holds a value: names and numbers that another implementation must give too, and their spread."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from debros.blocks import dagcbor
from debros.log.layout import MAX_SHARDS, Layout, declared, jump, of_hash, place, read, wire_bounds
from debros.log.manifest import manifest_of_all
from debros.schema import ShardSpec
from debros.values.scalars import DECIMAL, INSTANT, INT, TEXT

TAG = "abcdefghij234567abcd"


@pytest.mark.parametrize(
    ("key", "n", "bucket"), [(1, 1, 0), (42, 57, 43), (0xDEAD10CC, 1, 0), (0xDEAD10CC, 666, 361), (256, 1024, 520)]
)
def test_jump_hash_is_that_of_the_paper(key: int, n: int, bucket: int) -> None:
    assert jump(key, n) == bucket, "vectors of the reference implementations"


VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "shards_v1.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", VECTORS["hash"], ids=lambda case: case["value"])
def test_golden_hash_shards(case: dict[str, Any]) -> None:
    value = dagcbor.decode(bytes.fromhex(case["value"]))
    assert {n: of_hash(value, int(n)) for n in case["shards"]} == case["shards"]


@pytest.mark.parametrize("case", VECTORS["names"], ids=lambda case: case["names"][0])
def test_golden_names_and_announcements(case: dict[str, Any]) -> None:
    announced: Any = dagcbor.decode(bytes.fromhex(case["announced"]))
    bounds = tuple(announced.get("bounds", ()))
    layout = Layout(announced["kind"], announced.get("n", len(bounds) + 1), bounds, announced.get("name", ""))
    assert list(layout.parts) == case["names"]
    assert dagcbor.encode(layout.announced(3)).hex() == case["announced"]


@pytest.mark.parametrize("case", VECTORS["logs"], ids=lambda case: case["part"][1])
def test_golden_logs_of_shards(case: dict[str, Any]) -> None:
    manifest = manifest_of_all("blog-k3x9q7", True, (), tuple(case["part"]))
    assert (manifest.block.hex(), manifest.address) == (case["manifest"], case["address"])


def test_hash_shards_are_even() -> None:
    """Chi-square: with 15 degrees of freedom, 37.7 is exceeded by chance once in a thousand."""
    counts = [0] * 16
    for n in range(16_000):
        counts[of_hash(f"key-{n}", 16)] += 1
    assert sum((count - 1000) ** 2 / 1000 for count in counts) < 37.7


@given(st.integers(1, 40))
def test_one_shard_more_moves_its_share_and_nothing_between_the_others(n: int) -> None:
    keys = [f"key-{k}" for k in range(2000)]
    moved = [(of_hash(key, n), of_hash(key, n + 1)) for key in keys if of_hash(key, n) != of_hash(key, n + 1)]
    assert all(after == n for _, after in moved), "whoever moves goes to the new shard"
    assert abs(len(moved) - 2000 / (n + 1)) < 5 * (2000 / (n + 1)) ** 0.5


@given(st.lists(st.integers(-50, 50), unique=True, max_size=8).map(sorted), st.integers(-60, 60))
def test_a_range_shard_holds_what_lies_between_its_bounds(bounds: list[int], value: int) -> None:
    spec = ShardSpec("range", "n", len(bounds) + 1, tuple(bounds))
    shard = place(declared(spec), spec, INT)("", value)
    assert shard is not None
    assert shard == 0 or bounds[shard - 1] <= value
    assert shard == len(bounds) or value < bounds[shard]


def test_decimals_lie_where_their_number_does() -> None:
    spec = ShardSpec("range", "price", 3, wire_bounds([Decimal(2), Decimal(10)], DECIMAL))
    find = place(declared(spec), spec, DECIMAL)
    assert [find("", text) for text in ("1.99", "2.00", "9", "10", "1E+3")] == [0, 1, 1, 2, 2]


def test_no_shard_holds_null_another_type_or_an_id_without_an_owner() -> None:
    hashed, ranged, user = ShardSpec("hash", "n", 4), ShardSpec("range", "n", 2, (5,)), ShardSpec("user", "", 4)
    for spec in (hashed, ranged):
        find = place(declared(spec), spec, INT)
        assert [find("", value) for value in (None, "5", 5.0, True, 2**63, [5])] == [None] * 6
    find = place(declared(user), user, TEXT)
    assert find(f"x~{TAG}", None) == of_hash(TAG, 4)
    assert [find(id, None) for id in ("x", "x~admin", "x~short")] == [None] * 3


def test_a_strategy_that_raises_or_answers_nonsense_places_nothing() -> None:
    answers: list[Any] = [ZeroDivisionError(), -1, 3, "0", True, 2]

    def choose(value: Any, n: int) -> int:
        answer = answers[value]
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]  # wrong on purpose

    spec = ShardSpec("custom", "n", 3, name="mine", choose=choose)
    find = place(declared(spec), spec, INT)
    assert [find("", n) for n in range(6)] == [None, None, None, None, None, 2]


@pytest.mark.parametrize(
    ("given_", "flaw"),
    [
        ([3, 2], "ascend"),
        ([2, 2], "ascend"),
        ([2, "3"], "not of the key's type"),
        ([None], "not of the key's type"),
        ([True], "not of the key's type"),
        (range(MAX_SHARDS), "too many"),
    ],
)
def test_bad_bounds_are_refused(given_: Any, flaw: str) -> None:
    with pytest.raises(ValueError, match=flaw):
        wire_bounds(given_, INT)


def test_an_announced_layout_is_read_as_it_was_written() -> None:
    for spec, codec in (
        (ShardSpec("hash", "k", 4), TEXT),
        (ShardSpec("user", "", 4), TEXT),
        (ShardSpec("range", "at", 3, (5, 9)), INSTANT),
        (ShardSpec("custom", "k", 4, name="mine"), TEXT),
    ):
        layout = declared(spec)
        assert read(layout.announced(7), spec, codec) == (7, layout)


@pytest.mark.parametrize(
    "value",
    [
        None, [], {}, {"kind": "hash"}, {"kind": "hash", "n": 4}, {"kind": "hash", "n": 0, "seq": 1},
        {"kind": "hash", "n": MAX_SHARDS + 1, "seq": 1}, {"kind": "hash", "n": True, "seq": 1},
        {"kind": "hash", "n": 4, "seq": -1}, {"kind": "hash", "n": 4, "seq": 1, "x": 0},
        {"kind": "user", "n": 4, "seq": 1}, {"kind": "hash", "n": 4, "seq": 2**53},
    ],
)  # fmt: skip
def test_what_is_no_layout_is_left_out(value: Any) -> None:
    assert read(value, ShardSpec("hash", "k", 4), TEXT) is None


@pytest.mark.parametrize("bounds", [["a"], [9, 5], [5, 5], None, list(range(MAX_SHARDS))])
def test_an_announced_range_with_bad_bounds_is_left_out(bounds: Any) -> None:
    assert read({"kind": "range", "bounds": bounds, "seq": 1}, ShardSpec("range", "n", 2, (1,)), INT) is None
