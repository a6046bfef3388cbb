"""Large bodies, whose changes are folded some at a time: the view is the naive fold of them, whatever ids they name."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.log.body import parse_body
from debros.log.packed import PackedOps
from debros.replica import replica as replicas
from debros.replica.store import Store
from tests.support.naive import fold
from tests.support.naive_rows import expected
from tests.support.stores import as_columns_keep, deliver, meaning, opened, schemas, shown, view_cells
from tests.support.worlds import LOGS, World

OPEN_LOG = LOGS[0]
IDS = [f"d{n:03}" for n in range(200)]


PUTS: dict[str, Callable[[Random], dict[str, Any]]] = {  # a model with unique values, and one whose rows concern nobody
    "Post": lambda random: {"title": random.choice("abc"), "body": "text " * 8, "n": random.randrange(9)},
    "Event": lambda random: {"title": random.choice("abc") * 50, "at": random.randrange(9)},
}


def change(random: Random, model: str, id: str) -> list[Any]:
    """A document that comes whole, an edit, a delete, or what has no good form."""
    put = PUTS[model](random)
    said: dict[str, Any] = {
        "whole": {"put": put, "live": True},
        "edit": {"put": put},
        "delete": {"live": False},
        "bad": {"put": [put]},
    }
    return [model, 1, id, said[random.choice(["whole", "whole", "whole", "edit", "delete", "bad"])]]


def large_world(seed: int) -> World:
    """Three entries of several authors, beside and behind each other, that share many of their documents."""
    random, world = Random(seed), OPEN_LOG()
    model = random.choice(sorted(PUTS))
    for author in random.sample(range(4), 3):
        ids = random.sample(IDS, random.randint(70, 160))
        if random.random() < 0.3:
            ids.sort()
        ops = [change(random, model, id) for id in ids]
        world.write(author, ops, next=random.sample(world.entries, len(world.entries) // 2))
    return world


async def received(world: World, seed: int) -> tuple[Store, Any]:
    random = Random(seed)
    store = opened(
        schemas(world.manifest.scope), flush_rows=random.choice([1, 60, 500]), row_cache=random.choice([1, 40, 500])
    ).store
    replica = store.replica(world.manifest)
    for made in world.shuffled(seed):
        assert await deliver(store, replica, [made]) == 1
        if random.random() < 0.4:
            store.flush()
    return store, replica


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_the_view_of_large_bodies_is_the_naive_fold(seed: int) -> None:
    async def main() -> None:
        world = large_world(seed)
        assert all(type(parse_body(made.body).ops) is PackedOps for made in world.entries)
        store, replica = await received(world, seed)
        naive = fold(list(world.manifest.admins), world.raw)
        cells = {cell: value for cell, value in naive.cells.items() if cell[0] in PUTS}
        assert view_cells(store, replica) == as_columns_keep(cells)
        assert shown(store, replica) == expected(naive, schemas(world.manifest.scope))
        assert replica.skipped == len(naive.skipped) > 0
        store, replica = await received(world, seed + 1)
        assert shown(store, replica) == expected(naive, schemas(world.manifest.scope))

    trio.run(main)


@pytest.mark.parametrize("together", [1, 3])
def test_it_makes_no_difference_how_many_changes_are_folded_together(
    monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    async def main() -> list[Any]:
        found = []
        for seed in range(6):
            store, replica = await received(large_world(seed), seed)
            found.append((meaning(store, replica), replica.skipped))
        return found

    usual = trio.run(main)
    monkeypatch.setattr(replicas, "_TOGETHER", together)
    assert trio.run(main) == usual
