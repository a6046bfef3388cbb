"""Heads are the admitted entries nobody links to; new entries link to the newest of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from debros.log.heads import advance, links

digests = st.integers(0, 99).map(lambda n: n.to_bytes(32, "big"))


@given(st.lists(st.sets(st.integers(0, 30), max_size=4), max_size=30))
def test_heads_are_the_entries_without_children(graph: list[set[int]]) -> None:
    heads: set[bytes] = set()
    linked: set[bytes] = set()
    for n, parents in enumerate(graph):
        before = {parent.to_bytes(32, "big") for parent in parents if parent < n}
        advance(heads, n.to_bytes(32, "big"), before)
        linked |= before
    assert heads == {n.to_bytes(32, "big") for n in range(len(graph))} - linked


@given(st.dictionaries(digests, st.integers(0, 5)), digests)
def test_links_are_the_newest_32_ascending_without_prev(clocks: dict[bytes, int], prev: bytes) -> None:
    chosen = links(((clock, digest) for digest, clock in clocks.items()), prev)
    rest = sorted(((clock, digest) for digest, clock in clocks.items() if digest != prev), reverse=True)
    assert chosen == sorted(digest for _, digest in rest[:32])
