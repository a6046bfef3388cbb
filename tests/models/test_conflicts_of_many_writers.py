"""`conflicts()` names exactly the writes that no later write of the field had seen, however the writers met, and quickly."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st

from debros import Field, Model, model
from debros.blocks import cid
from debros.log.entry import parse_header
from debros.node import Debros
from debros.replica.store import Store
from tests.support.delivering import deliver
from tests.support.nodes import a_node

NODES = 3


@model(scope="global")
class Sheet(Model):
    title: Field[str]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, NODES - 1), st.just(0)),
        st.tuples(st.just("aside"), st.integers(0, NODES - 1), st.just(0)),
        st.tuples(st.just("meet"), st.integers(0, NODES - 1), st.integers(0, NODES - 1)),
    ),
    max_size=24,
)


def seen_by(store: Store, digest: bytes) -> set[bytes]:
    """Return all entries behind one."""
    found: set[bytes] = set()
    ends = [digest]
    while ends:
        entry = store.entries.find(ends.pop())
        assert entry is not None
        for parent in parse_header(store.log.read(entry.header)).parents():
            if parent not in found:
                found.add(parent)
                ends.append(parent)
    return found


async def expected(node: Debros, sheet: Sheet) -> set[str]:
    """Return the entries that `conflicts()` is to name, by definition."""
    writes = {cid.parse(version.cid).digest: version for version in await sheet.history()}
    seen = set[bytes]().union(*(seen_by(node.store, digest) for digest in writes))
    shown = (await sheet.blame())["title"].cid
    return {version.cid for digest, version in writes.items() if digest not in seen and version.cid != shown}


async def written(nodes: list[Debros], script: list[tuple[str, int, int]]) -> None:
    with nodes[0].current():
        sheet = await Sheet.create(title="first")
    for node in nodes[1:]:
        await deliver(nodes[0], node)
    for n, (what, one, other) in enumerate(script):
        if what == "meet":
            await deliver(nodes[one], nodes[other])
            continue
        with nodes[one].current():
            if what == "write":
                await (await Sheet.get(sheet.id)).update(title=f"{n}")
            else:
                await Sheet.create(title="another")
    for one in nodes:
        for other in nodes:
            await deliver(one, other)
    for node in nodes:
        with node.current():
            found: dict[str, list[Any]] = await (await Sheet.get(sheet.id)).conflicts()
            named = [version.cid for version in found.get("title", [])]
            assert len(named) == len(set(named))
            assert set(named) == await expected(node, await Sheet.get(sheet.id))


@given(steps)
def test_conflicts_are_the_writes_that_no_other_had_seen(script: list[tuple[str, int, int]]) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            await written([await stack.enter_async_context(a_node(Sheet)) for _ in range(NODES)], script)

    trio.run(main)


async def test_writes_of_one_key_are_told_apart_without_reading_what_lies_between() -> None:
    async with a_node(Sheet) as node:
        sheet = await Sheet.create(title="0")
        for n in range(1, 40):
            for _ in range(5):
                await Sheet.create(title="another")
            await sheet.update(title=f"{n}")
        read, reads = node.store.log.read, list[int]()

        def told(at: int, *how: Any) -> bytes:
            reads.append(at)
            return read(at, *how)

        node.store.log.read = told  # type: ignore[method-assign]
        assert await sheet.conflicts() == {}
        assert len(reads) <= 2 * 40  # of each version its header and its body
