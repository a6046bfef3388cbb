"""Whatever the order of arrival and the flushes between, the same claimants lose: those behind the smallest stamp."""

from __future__ import annotations

from random import Random
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.replica.tables import NOT_UNIQUE
from debros.schema import Schema
from tests.support.naive import fold
from tests.support.naive_rows import expected
from tests.support.stores import deliver, opened, post, shown
from tests.support.worlds import LOGS, World

IDS = st.sampled_from(["a", "b", "c"])
VALUES = {
    "slug": st.sampled_from(["s", "t", None]),
    "cat": st.sampled_from(["c", None]),
    "lang": st.sampled_from(["en", "fr", 5]),
}


@st.composite
def operations(draw: st.DrawFn) -> list[Any]:
    put: dict[str, Any] = {}
    kind = draw(st.integers(0, 4))
    if kind == 0:
        return ["Post", 1, draw(IDS), {"live": draw(st.booleans())}]
    if kind == 1:
        put = {"title": "t", "body": None, "n": 1, "score": None, "flag": None, "price": None, "about": {}}
        put |= {name: draw(values) for name, values in VALUES.items()}
        return ["Post", 1, draw(IDS), {"live": True, "put": put, "keep": {"note": [None, []]}}]
    if kind == 2:  # of nothing that is unique
        return ["Post", 1, draw(IDS), {"put": {"title": draw(st.sampled_from(["t", "u", 5]))}}]
    name = draw(st.sampled_from([*VALUES]))
    return ["Post", 1, draw(IDS), {"put": {name: draw(VALUES[name]), "title": draw(st.sampled_from(["t", 5]))}}]


@st.composite
def histories(draw: st.DrawFn) -> World:
    world = LOGS[draw(st.integers(0, 2))]()
    for _ in range(draw(st.integers(2, 8))):
        author = draw(st.integers(0, 2))
        acts: list[Any] = [["cut", world.authors[2].user, draw(st.sampled_from([[], None]))]]
        world.write(
            author, draw(st.lists(operations(), min_size=1, max_size=2)), ahead=draw(st.integers(1, 3)),
            acts=acts if draw(st.integers(0, 7)) == 0 else None,
        )  # fmt: skip
    return world


@settings(max_examples=200)
@given(histories(), st.integers(0, 2**16), st.booleans())
def test_the_losers_are_those_behind_the_smallest_stamp(world: World, seed: int, narrow: bool) -> None:
    schema = post(world.manifest.scope)
    models = [only_unique(schema) if narrow else schema]

    async def main() -> None:
        random = Random(seed)
        store = opened(models, row_cache=random.choice([1, 500])).store
        replica = store.replica(world.manifest)
        for made in world.shuffled(seed):
            await deliver(store, replica, [made])
            if random.random() < 0.5:
                store.flush()
        rows, wanted = shown(store, replica), expected(fold(list(world.manifest.admins), world.raw), models)
        losers = {id for (_, id), row in rows.items() if row["flags"] & NOT_UNIQUE}
        assert losers == {id for (_, id), row in wanted.items() if row["flags"] & NOT_UNIQUE}
        assert rows == wanted

    trio.run(main)


def only_unique(schema: Schema) -> Schema:
    """A model with the fields that are unique and no others: all its rows can be read."""
    fields = tuple(field for field in schema.fields if field.name in VALUES)
    return Schema(schema.name, 1, schema.scope, "documents", "anyone", fields, indexes=schema.indexes[:2])


def whole(id: str, slug: str) -> list[Any]:
    put = {"title": "t", "body": None, "n": 1, "score": None, "flag": None, "price": None, "about": {}}
    return [
        "Post", 1, id,
        {"live": True, "put": put | {"slug": slug, "cat": None, "lang": "en"}, "keep": {"note": [None, []]}},
    ]  # fmt: skip


async def losers_after(*steps: list[Any]) -> list[set[str]]:
    """Return who has lost a claim after each of these operations, each in an entry and a flush of its own."""
    world = LOGS[0]()
    store = opened([post(world.manifest.scope)]).store
    replica, found = store.replica(world.manifest), list[set[str]]()
    for step in steps:
        await deliver(store, replica, [world.write(0, [step])])
        store.flush()
        found.append({id for (_, id), row in shown(store, replica).items() if row["flags"] & NOT_UNIQUE})
    return found


async def test_a_loser_stays_one_whatever_else_of_it_changes() -> None:
    steps = [whole("a", "s"), whole("b", "s"), ["Post", 1, "b", {"put": {"title": "u"}}]]
    assert await losers_after(*steps) == [set(), {"b"}, {"b"}]


async def test_whoever_writes_its_value_again_claims_it_anew() -> None:
    steps = [whole("a", "s"), whole("b", "s"), ["Post", 1, "a", {"put": {"slug": "s"}}]]
    assert await losers_after(*steps) == [set(), {"b"}, {"a"}]


async def test_a_holder_that_changes_something_else_holds_its_value_still() -> None:
    steps = [whole("a", "s"), ["Post", 1, "a", {"put": {"title": "u"}}], whole("b", "s")]
    assert await losers_after(*steps) == [set(), set(), {"b"}]
