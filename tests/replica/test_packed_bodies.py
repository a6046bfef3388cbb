"""Large bodies, whose changes are folded some at a time: the view is the naive fold of them, whatever ids they name."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.blocks import dagcbor
from debros.log.body import encode_body, parse_body
from debros.log.packed import PackedOps
from debros.replica import replica as replicas
from debros.replica.changes import change_of, changes_in
from debros.replica.refold import refold
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


@settings(max_examples=15)
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
        for seed in range(3):
            store, replica = await received(large_world(seed), seed)
            found.append((meaning(store, replica), replica.skipped))
        return found

    usual = trio.run(main)
    monkeypatch.setattr(replicas, "_TOGETHER", together)
    assert trio.run(main) == usual


@settings(max_examples=10)
@given(st.integers(0, 2**32))
def test_the_change_of_one_document_is_the_one_that_is_found_by_going_through_all(seed: int) -> None:
    for made in large_world(seed).entries:
        changes = changes_in(parse_body(made.body))
        by_id = {change.id: change for change in changes}
        for id in IDS:
            for model in PUTS:
                found = by_id.get(id)
                expected = found if found is not None and found.model == model else None
                assert change_of(changes, model, id) == expected


def test_what_somebody_wrote_into_a_value_is_no_change_of_another_document() -> None:
    forged = dagcbor.encode(["Event", 1, "d070", {"live": False}])
    ops = [["Event", 1, id, {"put": {"title": "x" * 50}, "live": True}] for id in IDS[:100]]
    ops[50][3]["unknown"] = forged  # the last key, so that behind it the next change begins
    ops[90][0] = "Other"  # so that as many pieces begin like a change as there are
    raw = encode_body([dagcbor.encode(op) for op in ops], salt=bytes(16))
    for known in (False, True):
        body = parse_body(raw, known=known)
        assert (type(body.ops) is PackedOps) is known
        change = change_of(changes_in(body), "Event", "d070")
        assert change is not None
        assert change.value["live"] is True


async def test_one_large_entry_is_read_once_for_all_its_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    world = OPEN_LOG()
    world.write(0, [["Event", 1, id, {"put": {"title": "x" * 50, "at": 1}, "live": True}] for id in IDS])
    store = opened(schemas(world.manifest.scope)).store
    replica = store.replica(world.manifest)
    await deliver(store, replica, world.entries)
    store.flush()
    reads: list[int] = []
    read = store.log.read_section
    monkeypatch.setattr(store.log, "read_section", lambda position: reads.append(position) or read(position))
    model = store.models["Event"]
    rows = {id: store.view.row(model.rows, replica.n, id) for id in IDS}
    for id in IDS:
        refold(store, replica, model, id)
    store.flush()
    assert len(reads) == 1
    assert [store.view.row(model.rows, replica.n, id)[1] for id in IDS] == [rows[id][1] for id in IDS]  # type: ignore[index]  # all are there
