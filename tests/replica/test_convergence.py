"""The view is a pure fold of a set of entries: whatever the order of arrival, the deliveries, the restarts."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.blocks.files import MemoryFiles
from debros.errors import EntryHeldError, EntryRefusedError
from debros.replica.receive import Delivery, receive
from debros.replica.replica import Replica
from debros.replica.store import Store
from debros.schema import Schema
from tests.support.entries import NOW
from tests.support.naive import fold
from tests.support.naive_rows import expected
from tests.support.stores import FakeEnv, as_columns_keep, deliver, meaning, opened, schemas, shown, view_cells
from tests.support.worlds import Made, World, worlds

SEEDS = st.integers(0, 2**16)


def models(world: World) -> list[Schema]:
    return schemas(world.manifest.scope)


async def arrive(world: World, order: list[Made], random: Random) -> tuple[Store, Replica]:
    """Deliver in batches of some sizes, flushing now and then."""
    store = opened(models(world), flush_rows=random.choice([1, 3, 500]), row_cache=random.choice([1, 500])).store
    replica = store.replica(world.manifest)
    at = 0
    while at < len(order):
        size = random.randint(1, 4)
        assert await deliver(store, replica, order[at : at + size]) == len(order[at : at + size])
        at += size
        if random.random() < 0.3:
            store.flush()
    return store, replica


@settings(max_examples=150)
@given(worlds(), SEEDS)
def test_the_view_is_the_naive_fold(world: World, seed: int) -> None:
    async def main() -> None:
        store, replica = await arrive(world, world.shuffled(seed), Random(seed))
        naive = fold(list(world.manifest.admins), world.raw)
        names = {schema.name for schema in models(world)}
        cells = {cell: value for cell, value in naive.cells.items() if cell[0] in names}
        found = meaning(store, replica)
        assert found["void"] == naive.void
        assert found["heads"] == world.heads
        assert found["clock"] == max(made.clock for made in world.entries)
        assert view_cells(store, replica) == as_columns_keep(cells)
        assert shown(store, replica) == expected(naive, models(world))
        assert replica.skipped == len(naive.skipped)

    trio.run(main)


@settings(max_examples=100)
@given(worlds(size=12), SEEDS)
def test_whatever_the_order_of_arrival_the_view_means_the_same(world: World, seed: int) -> None:
    async def main() -> None:
        found = []
        for n in range(3):
            order = world.entries if n == 0 else world.shuffled(seed + n)
            store, replica = await arrive(world, order, Random(seed + n))
            found.append((meaning(store, replica), replica.skipped))
        assert found[1] == found[0]
        assert found[2] == found[0]

    trio.run(main)


@settings(max_examples=30)
@given(worlds(), SEEDS)
def test_the_view_that_grew_is_the_view_rebuilt_and_the_view_projected_again(world: World, seed: int) -> None:
    async def main(view: str) -> None:
        files, random = MemoryFiles(), Random(seed)
        order = world.shuffled(seed)
        half = random.randint(0, len(order))

        def reopened(of: list[Schema]) -> tuple[Store, Replica]:
            made = opened(of, files=files, view=view, flush_rows=random.choice([1, 2, 500]))
            assert not made.fresh_key_needed
            return made.store, made.store.replica(world.manifest)

        store, replica = reopened(models(world))
        await deliver(store, replica, order[:half])
        store.close()
        store, replica = reopened(models(world))  # a restart goes on where it was
        await deliver(store, replica, order[half:])
        grown = meaning(store, replica)
        store.close()

        store, replica = reopened(models(world))
        assert meaning(store, replica) == grown
        store.close()

        for suffix in ("", "-wal", "-shm"):
            Path(view + suffix).unlink(missing_ok=True)
        store, replica = reopened(models(world))
        assert meaning(store, replica) == grown
        store.close()

        store, _ = reopened([changed(schema) for schema in models(world)])
        store.close()
        store, replica = reopened(models(world))  # and back: each time all tables are projected again
        assert meaning(store, replica) == grown
        store.close()

        os.unlink(view)
        store, _ = reopened([])  # the models are heard of before they are opened
        store.close()
        store, replica = reopened(models(world))
        assert meaning(store, replica) == grown
        store.close()

    with TemporaryDirectory() as directory:
        trio.run(main, f"{directory}/view.sqlite")


def changed(schema: Schema) -> Schema:
    """The same model under a declaration that makes other rows."""
    return Schema(schema.name, schema.version, schema.scope, schema.store, schema.write, schema.fields[:1])


@settings(max_examples=40)
@given(worlds(), SEEDS)
def test_after_a_crash_the_view_is_that_of_what_is_in_the_log(world: World, seed: int) -> None:
    """The process dies with rows in memory; what the view's file holds by then is the fold of a prefix."""

    async def main(view: str) -> None:
        files = MemoryFiles()
        order = world.shuffled(seed)
        store = opened(models(world), files=files, view=view, flush_rows=Random(seed).choice([1, 3, 500])).store
        await deliver(store, store.replica(world.manifest), order)
        store.view.close()  # and nothing is flushed any more
        again = opened(models(world), files=files, view=view)
        assert not again.fresh_key_needed
        assert not again.rebuilt
        found = meaning(again.store, again.store.replica(world.manifest))
        whole, replica = await arrive(world, order, Random(seed))
        assert found == meaning(whole, replica)
        again.store.close()

    with TemporaryDirectory() as directory:
        trio.run(main, f"{directory}/view.sqlite")


@settings(max_examples=30)
@given(worlds(), SEEDS)
def test_deliveries_again_change_nothing(world: World, seed: int) -> None:
    async def main() -> None:
        store, replica = await arrive(world, world.entries, Random(seed))
        before, end, skipped = meaning(store, replica), store.log.end, replica.skipped
        assert await deliver(store, replica, world.shuffled(seed)) == 0
        assert await deliver(store, replica, world.entries + world.entries) == 0
        assert (meaning(store, replica), store.log.end, replica.skipped) == (before, end, skipped)

    trio.run(main)


@settings(max_examples=30)
@given(worlds(size=6), SEEDS)
def test_what_is_refused_or_held_changes_nothing_and_what_came_before_it_stays(world: World, seed: int) -> None:
    async def main() -> None:
        random = Random(seed)
        *most, last = world.entries
        store, replica = await arrive(world, most, random)
        before, end = meaning(store, replica), store.log.end
        flipped = bytearray(last.header)
        flipped[random.randrange(len(flipped))] ^= 1 << random.randrange(8)
        for header, body in ((bytes(flipped), last.body), (last.header, last.body + b"\0"), (last.header, None)):
            try:
                await receive(store, replica, [Delivery(header, body)])
            except (EntryRefusedError, EntryHeldError):
                pass
            else:
                raise AssertionError("neither refused nor held")
            assert meaning(store, replica) == before
            assert store.log.end == end
        try:  # those before the one that is refused are admitted
            await receive(store, replica, [Delivery(last.header, last.body), Delivery(bytes(flipped), last.body)])
        except (EntryRefusedError, EntryHeldError):
            pass
        else:
            raise AssertionError("neither refused nor held")
        whole, other = await arrive(world, world.entries, random)
        assert meaning(store, replica) == meaning(whole, other)

    trio.run(main)


@settings(max_examples=20)
@given(worlds(size=6))
def test_an_orphan_is_held_until_its_parents_are_there(world: World) -> None:
    async def main() -> None:
        store = opened(models(world)).store
        replica = store.replica(world.manifest)
        for made in reversed(world.entries):
            if made.parents:
                try:
                    await deliver(store, replica, [made])
                except EntryHeldError:
                    continue
                raise AssertionError("an orphan was admitted")
        assert not replica.heads
        assert store.log.end == opened(models(world)).store.log.end
        assert await deliver(store, replica, world.entries) == len(world.entries)

    trio.run(main)


@settings(max_examples=25)
@given(worlds(size=6), SEEDS)
def test_the_clock_of_the_log_never_goes_back_and_is_found_again(world: World, seed: int) -> None:
    async def main(view: str) -> None:
        files, greatest = MemoryFiles(), -1
        for made in world.shuffled(seed):
            store = opened(models(world), files=files, view=view, env=FakeEnv(NOW - 10**9)).store
            replica = store.replica(world.manifest)
            assert replica.clock == greatest
            with_future = Made(*_in_the_future(world, made))
            with suppress(EntryHeldError, EntryRefusedError):
                await deliver(store, replica, [with_future])
            assert replica.clock == greatest, "what is not admitted does not move the clock"
            store.env.now_ms = NOW  # type: ignore[attr-defined]  # a FakeEnv
            await deliver(store, replica, [made])
            greatest = max(greatest, made.clock)
            assert replica.clock == greatest
            store.close()

    with TemporaryDirectory() as directory:
        trio.run(main, f"{directory}/view.sqlite")


def _in_the_future(world: World, made: Made) -> tuple[Any, ...]:
    copied = World(world.manifest, world.authors, [one for one in world.entries if one.digest in made.parents])
    later = copied.write(made.author, [], ahead=10**12)
    return tuple(later.__dict__.values())
