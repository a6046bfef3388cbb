"""A set of thousands of elements is kept to the byte as the strict codec writes it, whatever its digests look like, and shown whole."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from debros import Field, Model, field, model
from debros.blocks import dagcbor
from debros.replica import state
from debros.replica.state import encode_state
from tests.support.nodes import a_node

LINKS = (  # the extension takes these 32 bytes for links
    bytes.fromhex("0148c89e7a0aee32cb3a9acca30c708db2a43442dca81a0690e95eb7337baff6"),
    bytes.fromhex("01105318 4c0365cca2500e662bc6a30e22bd1757ae1a4cffab7afa36799db335"),
)


@model(scope="global")
class Bag(Model):
    tags: Field[set[str]] = field(default_factory=set)
    numbers: Field[set[int]] = field(default_factory=set)
    flags: Field[set[bool]] = field(default_factory=set)


leaves = (
    st.sampled_from(LINKS) | st.binary(max_size=40) | st.text(max_size=5) | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.none()
)  # fmt: skip
states = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(max_size=30), inner, max_size=5),
    max_leaves=60,
)


@given(states)
def test_a_state_is_encoded_as_the_strict_codec_does(value: Any) -> None:
    assert encode_state(value) == dagcbor.encode(value)


def test_only_what_is_taken_for_a_link_is_encoded_the_slow_way(monkeypatch: Any) -> None:
    random = Random(1)
    cells = [[f"t{n}".encode(), [random.randbytes(32)]] for n in range(2000)]
    cells[700][1] = [LINKS[0]]
    slow: list[object] = []

    def told(value: Any) -> bytes:
        slow.append(value)
        return dagcbor.encode(value)

    monkeypatch.setattr(state, "dagcbor", type("Told", (), {**vars(dagcbor), "encode": staticmethod(told)}))
    raw = encode_state([1, {"tags": [cells, []]}, None])
    assert raw == dagcbor.encode([1, {"tags": [cells, []]}, None])
    assert slow == [LINKS[0], "tags"] or slow == ["tags", LINKS[0]]


async def test_elements_come_and_go_one_by_one() -> None:
    random, wanted = Random(2), set[str]()
    async with a_node(Bag):
        bag = await Bag.create(tags={"first"}, numbers={1}, flags={True})
        wanted.add("first")
        for n in range(200):
            name = f"{random.randrange(60)}"
            (bag.tags.discard if name in wanted else bag.tags.add)(name)
            (wanted.discard if name in wanted else wanted.add)(name)
            bag.numbers = {n, n + 1}
            bag.flags = {bool(n % 2)}
            await bag.save()
            assert bag.tags == wanted
        await bag.refresh()
        assert (bag.tags, bag.numbers, bag.flags) == (wanted, {199, 200}, {True})
