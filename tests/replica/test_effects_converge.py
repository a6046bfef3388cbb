"""`on_delete` effects are a function of what the log holds, too: whatever the order, the flushes, the restarts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.blocks.files import MemoryFiles
from debros.log.acts import cut_act
from debros.replica.replica import Replica
from debros.replica.store import Store
from debros.replica.tables import DELETED, TARGET_GONE, Row
from debros.schema import IndexSpec, OnDelete, RelationSpec, Schema
from tests.support.naive import fold
from tests.support.naive_rows import expected, flag_losers
from tests.support.stores import deliver, meaning, opened, shown, spec
from tests.support.worlds import LOGS, World

IDS = ("a", "b", "c")


def relation(name: str, key: str, target: str, on_delete: OnDelete) -> RelationSpec:
    return RelationSpec(name, "belongs_to", target, nullable=True, key=key, on_delete=on_delete)


def models() -> list[Schema]:
    post = Schema("Post", 1, "global", "documents", "anyone", (spec("title", str | None),))
    fields = (spec("to", str | None), spec("see", str | None, unique=True), spec("up", str | None))
    reply = Schema(
        "Reply", 1, "global", "documents", "anyone", fields, indexes=(IndexSpec((("see", False),), True),),
        relations=(
            relation("post", "to", "Post", "cascade"), relation("seen", "see", "Post", "set_null"),
            relation("parent", "up", "Reply", "cascade"),
        ),
    )  # fmt: skip
    leaf = Schema(
        "Leaf", 1, "global", "documents", "anyone", (spec("up", str | None),),
        relations=(relation("reply", "up", "Reply", "cascade"),),
    )  # fmt: skip
    return [post, reply, leaf]


ids = st.sampled_from(IDS)
targets = st.none() | ids


@st.composite
def operations(draw: st.DrawFn, cycles: bool) -> Any:
    model, id = draw(st.sampled_from(["Post", "Reply", "Reply", "Leaf"])), draw(ids)
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return [model, 1, id, {"live": draw(st.booleans())}]
    if model == "Post":
        return [model, 1, id, {"live": True, "put": {"title": "t"}}]
    if model == "Leaf":
        return [model, 1, id, {"live": True, "put": {"up": draw(targets)}}]
    up = draw(targets)
    if not cycles and up is not None and up >= id:
        up = None
    put = {"to": draw(targets), "see": draw(targets), "up": up}
    return [model, 1, id, {"put": put} | ({"live": True} if kind < 3 else {})]


@st.composite
def histories(draw: st.DrawFn, cycles: bool) -> World:
    world = LOGS[0]()
    for _ in range(draw(st.integers(1, 9))):
        author = draw(st.integers(0, 2))
        acts = (
            [cut_act(world.authors[2].user, draw(st.sampled_from([(), None])))]
            if draw(st.integers(0, 6)) == 0
            else None
        )
        world.write(author, draw(st.lists(operations(cycles), max_size=2)), acts=acts, ahead=draw(st.integers(1, 3)))
    return world


def with_effects(world: World) -> dict[tuple[str, str], Any]:
    """Rows by the page: from what is deleted outwards, until nothing changes."""
    naive = fold(list(world.manifest.admins), world.raw)
    rows = expected(naive, models())

    def is_gone(model: str, id: str | None) -> bool:
        row = rows.get((model, id or ""))
        return row is not None and bool(row["hidden"] & (DELETED | TARGET_GONE)) and row["created"] is not None

    replies = {id: row for (model, id), row in rows.items() if model == "Reply"}
    for _ in IDS:
        for row in replies.values():
            gone = is_gone("Post", row["values"]["to"]) or is_gone("Reply", row["values"]["up"])
            if gone and not row["hidden"] & DELETED:
                row["hidden"] |= TARGET_GONE
    for (model, _), row in rows.items():
        if model == "Leaf" and is_gone("Reply", row["values"]["up"]) and not row["hidden"] & DELETED:
            row["hidden"] |= TARGET_GONE
    for row in replies.values():
        if is_gone("Post", row["values"]["see"]) and not row["hidden"] & DELETED:
            row["values"]["see"] = None
        row["flags"] = 0
    flag_losers(rows, naive, models()[1], ["see"])
    return rows


def effects_in(store: Store) -> list[Any]:
    """Return what is noted of who has which effect on whom."""
    store.flush()
    return sorted(store.view.read("SELECT link, target, model, id FROM effects", ()))


async def check(world: World, seed: int, view: str, flushes: float = 0.5) -> None:
    random, files = Random(seed), MemoryFiles()
    order = world.shuffled(seed)
    with patch("debros.replica.effects.TURN", random.choice([1, 2, 250])):  # of rows that are looked at at once
        await _check(world, order, random, files, view, flushes)


async def _check(world: World, order: Any, random: Random, files: MemoryFiles, view: str, flushes: float) -> None:
    store = opened(models(), files=files, view=view).store
    replica = store.replica(world.manifest)
    for made in order:
        await deliver(store, replica, [made])
        if random.random() < flushes:
            store.flush()
    assert shown(store, replica) == with_effects(world)
    grown, effects = meaning(store, replica), effects_in(store)
    store.close()
    for again in (opened(models(), files=files, view=view), opened(models(), files=files)):
        assert meaning(again.store, again.store.replica(world.manifest)) == grown
        assert effects_in(again.store) == effects
        again.store.close()


@settings(max_examples=100)
@given(histories(cycles=False), st.integers(0, 2**16))
def test_effects_are_those_of_the_page(world: World, seed: int) -> None:
    with TemporaryDirectory() as directory:
        trio.run(check, world, seed, f"{directory}/view.sqlite")


@settings(max_examples=100)
@given(histories(cycles=True), st.integers(0, 2**16))
def test_effects_are_those_of_the_page_where_records_refer_to_each_other_in_a_ring(world: World, seed: int) -> None:
    with TemporaryDirectory() as directory:
        trio.run(check, world, seed, f"{directory}/view.sqlite")


def test_a_ring_whose_deleted_record_is_restored_shows_whole_again(tmp_path: Any) -> None:
    world = LOGS[0]()
    put = {"to": None, "see": None}
    a = ["Reply", 1, "a", {"live": True, "put": put | {"up": "b"}}]
    b = ["Reply", 1, "b", {"live": True, "put": put | {"up": "a"}}]
    world.write(0, [a, b])
    world.write(0, [["Reply", 1, "a", {"live": False}]])
    world.write(0, [["Reply", 1, "a", {"live": True}]])
    for flushes in (0.0, 1.0):
        trio.run(check, world, 0, str(tmp_path / f"{flushes}.sqlite"), flushes)


def test_a_record_that_comes_under_a_hidden_target_is_hidden(tmp_path: Any) -> None:
    world = LOGS[0]()
    world.write(0, [["Post", 1, "a", {"live": True, "put": {"title": "t"}}]])
    world.write(0, [["Reply", 1, "a", {"live": True, "put": {"to": "a", "see": None, "up": None}}]])
    world.write(0, [["Post", 1, "a", {"live": False}]])
    world.write(0, [["Leaf", 1, "b", {"live": True, "put": {"up": "a"}}]])
    for flushes in (0.0, 1.0):
        trio.run(check, world, 0, str(tmp_path / f"{flushes}.sqlite"), flushes)


def test_a_target_that_comes_back_leaves_no_note_of_its_effects(tmp_path: Any) -> None:
    world = LOGS[0]()
    world.write(0, [["Post", 1, "a", {"live": True, "put": {"title": "t"}}]])
    world.write(0, [["Reply", 1, "a", {"live": True, "put": {"to": "a", "see": None, "up": None}}]])
    world.write(0, [["Post", 1, "a", {"live": False}]])
    world.write(0, [["Post", 1, "a", {"live": True}]])
    trio.run(check, world, 0, str(tmp_path / "view.sqlite"), 1.0)


def test_a_record_that_had_lost_a_unique_value_claims_none_while_it_is_hidden(tmp_path: Any) -> None:
    world = LOGS[0]()
    world.write(0, [["Post", 1, "a", {"live": True, "put": {"title": "t"}}]])
    world.write(0, [["Reply", 1, "a", {"live": True, "put": {"to": None, "see": "x", "up": None}}]])
    world.write(0, [["Reply", 1, "b", {"live": True, "put": {"to": "a", "see": "x", "up": None}}]])
    world.write(0, [["Post", 1, "a", {"live": False}]])
    trio.run(check, world, 0, str(tmp_path / "view.sqlite"), 1.0)


# -- declarations that change between sessions -----------------------------------------------------------------------

EFFECTS: tuple[OnDelete, ...] = ("keep", "cascade", "set_null", "restrict")
NAMES = ("Post", "Reply", "Leaf")


def declared_anew(random: Random) -> list[Schema]:
    """Some of the models, each relation with another effect, perhaps with another target, or without any."""

    def relations(schema: Schema) -> tuple[RelationSpec, ...]:
        drawn = [
            replace(spec, on_delete=random.choice(EFFECTS), target=random.choice([spec.target, spec.target, *NAMES]))
            for spec in schema.relations
        ]
        return tuple(spec for spec in drawn if random.random() < 0.9)

    left_out = random.choice([None, None, *NAMES])
    return [replace(schema, relations=relations(schema)) for schema in models() if schema.name != left_out]


def some_operation(random: Random) -> list[Any]:
    """Create, change, delete or restore one of a few records."""
    model, id = random.choice([*NAMES, "Reply"]), random.choice(IDS)
    if random.random() < 0.5:
        return [model, 1, id, {"live": random.random() < 0.3}]
    keys = {"Post": (), "Reply": ("to", "see", "up"), "Leaf": ("up",)}[model]
    return [model, 1, id, {"live": True, "put": {key: random.choice([None, *IDS]) for key in keys}}]


async def check_sessions(seed: int, view: str) -> None:
    random, files, world = Random(seed), MemoryFiles(), LOGS[0]()
    for _ in range(5):
        declared = declared_anew(random)
        store = opened(declared, files=files, view=view).store
        replica = store.replica(world.manifest)
        is_as_made_anew(store, replica, declared, files)
        for _ in range(random.randrange(6)):
            some = [some_operation(random) for _ in range(3)]
            made = world.write(random.randrange(3), some, ahead=random.randint(1, 3))
            await deliver(store, replica, [made])
            if random.random() < 0.5:
                store.flush()
        is_as_made_anew(store, replica, declared, files)
        store.close()


def is_as_made_anew(store: Store, replica: Replica, declared: list[Schema], files: MemoryFiles) -> None:
    """Hold a view against one that is made of the same log."""
    anew = opened(declared, files=files).store
    assert meaning(store, replica) == meaning(anew, anew.replica(replica.manifest))
    names = {
        schema.name for schema in declared
    }  # of other models what an earlier session noted stays, until they are opened
    assert [noted for noted in effects_in(store) if noted[2] in names] == effects_in(anew)
    anew.close()


@pytest.mark.parametrize("seed", range(40))
def test_effects_are_those_that_are_declared_now(seed: int, tmp_path: Path) -> None:
    trio.run(check_sessions, seed, str(tmp_path / "view.sqlite"))


async def check_redeclared(world: World, first: RelationSpec, then: RelationSpec, view: str) -> Row:
    """Deliver a history under one declaration of `Leaf`, open it under another, and return the leaf `a`."""
    files = MemoryFiles()
    before, after = ([*models()[:2], replace(models()[2], relations=(spec,))] for spec in (first, then))
    store = opened(before, files=files, view=view).store
    for made in world.entries:
        await deliver(store, store.replica(world.manifest), [made])
    store.close()
    store = opened(after, files=files, view=view).store
    is_as_made_anew(store, store.replica(world.manifest), after, files)
    [(hidden, up)] = store.view.read('SELECT "_hidden", "f_up" FROM "m_Leaf"', ())
    store.close()
    return hidden, up


async def test_a_key_that_read_null_has_the_effect_that_is_declared_now(tmp_path: Path) -> None:
    world = LOGS[0]()
    world.write(0, [["Reply", 1, "a", {"live": True, "put": {"to": None, "see": None, "up": None}}]])
    world.write(0, [["Leaf", 1, "a", {"live": True, "put": {"up": "a"}}]])
    world.write(0, [["Reply", 1, "a", {"live": False}]])
    nulled, hiding = relation("reply", "up", "Reply", "set_null"), relation("reply", "up", "Reply", "cascade")
    assert await check_redeclared(world, nulled, hiding, str(tmp_path / "1.sqlite")) == (TARGET_GONE, "a")
    assert await check_redeclared(world, hiding, nulled, str(tmp_path / "2.sqlite")) == (0, None)


async def test_a_hidden_record_that_comes_to_be_its_own_target_does_not_hide_itself(tmp_path: Path) -> None:
    world = LOGS[0]()
    world.write(0, [["Reply", 1, "a", {"live": True, "put": {"to": None, "see": None, "up": None}}]])
    world.write(0, [["Leaf", 1, "a", {"live": True, "put": {"up": "a"}}]])
    world.write(0, [["Reply", 1, "a", {"live": False}]])
    first, then = relation("reply", "up", "Reply", "cascade"), relation("reply", "up", "Leaf", "cascade")
    assert await check_redeclared(world, first, then, str(tmp_path / "view.sqlite")) == (0, "a")
