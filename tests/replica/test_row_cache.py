"""Rows are kept in memory within a bound; what was asked for stays longer than what was not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from debros.replica.rowcache import RowCache

PLACES = [(1, f"{n:02}") for n in range(20)]
STEPS = st.lists(
    st.tuples(st.sampled_from(["get", "put", "take", "pop", "drop", "clear"]), st.lists(st.sampled_from(PLACES))),
    max_size=40,
)


def row(n: int) -> Any:
    return (f"row {n}",)


@given(STEPS, st.integers(1, 12))
def test_it_gives_the_row_that_was_kept_last_or_none_and_never_more_rows_than_it_may(
    steps: list[tuple[str, list[tuple[int, str]]]], most: int
) -> None:
    cache = RowCache()
    last: dict[tuple[int, str], Any] = {}
    for n, (what, places) in enumerate(steps):
        for place in places:
            assert cache.get(place) in (None, last.get(place))
        if what == "put":
            for place in places:
                last[place] = row(n)
                cache.put(place, row(n), most)
                assert cache.get(place) == row(n)
        elif what == "take":
            for place in places:
                cache.pop(place)
                last[place] = row(n)
            cache.take({place: row(n) for place in places}, most)
            kept = list(dict.fromkeys(places))[-max(1, most // 2) :]
            assert [cache.get(place) for place in kept] == [row(n)] * len(kept)
        elif what == "pop":
            for place in places:
                cache.pop(place)
                last.pop(place, None)
        elif what == "drop":
            cache.drop(set(places))
            for place in places:
                last.pop(place, None)
        elif what == "clear":
            cache.clear()
            last.clear()
        assert len(cache) <= most


@pytest.mark.parametrize("in_bulk", [False, True])
def test_a_row_that_is_asked_for_stays_while_others_come_and_go(in_bulk: bool) -> None:
    cache, asked = RowCache(), (1, "asked")
    cache.put(asked, row(0), 10)
    for n in range(100):
        assert cache.get(asked) == row(0)
        if in_bulk:
            cache.take({(2, str(n)): row(n)}, 10)
        else:
            cache.put((2, str(n)), row(n), 10)
    assert cache.get((2, "50")) is None
    assert cache.get((2, "99")) == row(99)
