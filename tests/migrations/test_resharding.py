"""A changed sharding declaration is a migration: planned, applied, taken back, killed, and met by peers."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

import debros
from debros import (
    Field,
    Identity,
    MigrationError,
    Model,
    field,
    hash_shards,
    migration,
    model,
    range_shards,
    user_shards,
)
from debros.blocks.files import MemoryFiles
from debros.errors import ModelError, PermissionDeniedError
from debros.log.layout import of_hash
from debros.migrations import snapshot as snapshots
from debros.migrations.diff import diff
from debros.migrations.render import render
from debros.node import Debros
from debros.opening import open as open_shop
from debros.opening import open_node
from debros.testing.faults import RecordingFiles
from tests.support.stories import QuietEnv, forget_view, quick_directory
from tests.support.versions import meet


def order(sharding: Any, version: str = "1.1.0", *, write: Any = None) -> Any:
    @model(name="Order", version=version, sharding=sharding, write=write)
    class Order(Model):
        buyer: Field[str] = field()
        day: Field[date] = field(default=date(2025, 1, 1))

    return Order


GROW = migration("grow", "1.1.0").reshard("Order", 8, was=4)
BUYERS = ("ana", "bo", "cy", "dee", "eve")


@asynccontextmanager
async def shop(home: Path | str, cls: Any, *steps: Any, **options: Any) -> AsyncIterator[Debros]:
    async with open_shop(str(home), models=[cls], migrations=steps, **options) as node:
        yield node


@pytest.fixture
def home(tmp_path: Path) -> Path:
    before = order(hash_shards("buyer", 4), "1.0.0")

    async def fill() -> None:
        async with shop(tmp_path / "home", before):
            for buyer in BUYERS:
                await before.create(id=buyer, buyer=buyer)

    trio.run(fill)
    return tmp_path / "home"


def layouts(node: Debros, cls: Any) -> list[int]:
    return [layout.n for layout in node.shards[cls].layouts]


async def test_without_the_migration_a_changed_declaration_is_refused_and_the_error_names_it(home: Path) -> None:
    with pytest.raises(ModelError, match=r"next: debros makemigrations.*\.reshard\('Order', 8, was=\.\.\.\)"):
        async with shop(home, order(hash_shards("buyer", 8))):
            pass


async def test_a_plan_and_a_dry_run_tell_of_it_and_change_nothing(home: Path) -> None:
    now = order(hash_shards("buyer", 8))
    async with shop(home, now, GROW) as node:
        entries = node.status().entries
        [step] = await node.migrations.plan()
        assert (step.state, step.records, step.operations) == ("pending", 0, ("reshard Order: 4 to 8 shards",))
        [dry] = await node.migrations.apply(dry_run=True)
        assert (dry.is_reversible, dry.samples, dry.warnings) == (True, (), ())
        assert (layouts(node, now), node.status().entries) == ([4], entries)


async def test_while_it_is_pending_the_records_are_found_where_they_are(home: Path) -> None:
    now = order(hash_shards("buyer", 8))
    async with shop(home, now, GROW) as node:
        assert layouts(node, now) == [4]
        assert (await now.where(now.buyer == "cy").explain()).shards == (of_hash("cy", 4),)
        assert {row.id for row in await now.all()} == set(BUYERS)
        with pytest.raises(debros.MigrationPendingError, match="grow"):
            await now.create(buyer="fay")


async def test_applying_opens_the_new_layout_and_moves_nothing(home: Path) -> None:
    now = order(hash_shards("buyer", 8))
    async with shop(home, now, GROW) as node:
        before = {row.id: row.meta.address for row in await now.all()}
        [step] = await node.migrations.apply()
        assert (step.name, step.state) == ("grow", "applied")
        assert layouts(node, now) == [4, 8]
        assert node.shards[now].newest.n == 8
        await now.create(id="new", buyer="cy")
        assert {row.id: row.meta.address for row in await now.all() if row.id != "new"} == before
        assert (await now.where(now.buyer == "cy").explain()).shards == (of_hash("cy", 4), 4 + of_hash("cy", 8))
        assert [event.state for event in await node.migrations.history()] == ["running", "applied"]
    async with shop(home, now, GROW) as node:  # the class was built anew for the first layout: it opens again
        assert node.migrations.pending_names() == []
        assert node.shards[now].newest.n == 8
    async with shop(home, order(hash_shards("buyer", 8))) as node:  # the log itself says that there are both
        assert sorted(layouts(node, node.class_of(node.collections()[0].schema))) == [4, 8]


async def test_rolling_back_follows_the_former_layout_again_and_loses_nothing(home: Path) -> None:
    now = order(hash_shards("buyer", 8))
    async with shop(home, now, GROW) as node:
        await node.migrations.apply()
        await now.create(id="new", buyer="cy")
        await node.migrations.rollback()
        assert node.shards[now].newest.n == 4
        assert {row.id for row in await now.all()} == {*BUYERS, "new"}
        assert [step.state for step in await node.migrations.states()] == ["rolled back"]
        await node.migrations.apply()
        assert (node.shards[now].newest.n, layouts(node, now)) == (8, [4, 8])


async def test_rolling_back_leaves_a_layout_alone_that_somebody_has_opened_since(home: Path) -> None:
    now = order(hash_shards("buyer", 8))
    async with shop(home, now, GROW) as node:
        await node.migrations.apply()
        await node.shards[now].resize(16)
        await node.migrations.rollback()
        assert node.shards[now].newest.n == 16


async def test_a_fresh_home_writes_at_once_and_agrees_with_those_that_grew(home: Path) -> None:
    old, new = order(hash_shards("buyer", 8)), order(hash_shards("buyer", 8))
    async with shop(home, old, GROW) as grown, shop(":memory:", new, GROW) as fresh:
        with fresh.current():
            await new.create(id="early", buyer="zoe")
        with grown.current():
            await grown.migrations.apply()
            await old.create(id="late", buyer="zoe")
        await meet(grown, fresh)
        with fresh.current():
            assert fresh.migrations.pending_names() == []
            assert layouts(fresh, new) == [4, 8]
            assert {row.id for row in await new.where(new.buyer == "zoe").all()} == {"early", "late"}
        assert await grown.fingerprint() == await fresh.fingerprint()


async def test_two_peers_that_apply_it_at_once_have_one_layout(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / "other", ignore=shutil.ignore_patterns("device*", "lock"))
    one, two = order(hash_shards("buyer", 8)), order(hash_shards("buyer", 8))
    async with shop(home, one, GROW) as here, shop(tmp_path / "other", two, GROW) as there:
        for node, cls in ((here, one), (there, two)):
            with node.current():
                await node.migrations.apply()
                await cls.create(id=f"by {node.home[-1]}", buyer="cy")
        await meet(here, there)
        assert layouts(here, one) == layouts(there, two) == [4, 8]
        assert await here.fingerprint() == await there.fingerprint()


async def test_a_program_of_before_goes_along(home: Path) -> None:
    old, new = order(hash_shards("buyer", 4), "1.0.0"), order(hash_shards("buyer", 8))
    async with shop(home, new, GROW) as here, shop(":memory:", old) as there:
        with here.current():
            await here.migrations.apply()
        await meet(here, there)
        with there.current():
            await old.create(id="by the old one", buyer="cy")
        await meet(here, there)
        assert await here.fingerprint() == await there.fingerprint()
        with here.current():
            row = await new.get("by the old one")
            assert row.meta.address == here.shards[new]._shards.address(4 + of_hash("cy", 8))


async def test_ranges_are_split_by_their_bounds(tmp_path: Path) -> None:
    first, second = date(2025, 4, 1), date(2025, 7, 1)
    before, now = order(range_shards("day", [first]), "1.0.0"), order(range_shards("day", [first, second]))
    split = migration("split", "1.1.0").reshard("Order", [first, second], was=[first])
    async with shop(tmp_path / "h", before):
        await before.create(id="a", buyer="ana", day=date(2025, 8, 1))
    async with shop(tmp_path / "h", now, split) as node:
        assert [step.operations for step in await node.migrations.apply()] == [
            ("reshard Order: bounds 2025-04-01 to 2025-04-01, 2025-07-01",)
        ]
        await now.create(id="b", buyer="ana", day=date(2025, 8, 1))
        assert node.shards[now].newest.n == 3
        assert {row.id for row in await now.where(now.day > second).all()} == {"a", "b"}


async def test_a_strategy_of_ones_own_grows_too(tmp_path: Path) -> None:
    class ByLength:
        name, key = "by-length", "buyer"

        def __init__(self, n: int) -> None:
            self.n = n

        def shard_of(self, value: str, n: int) -> int:
            return len(value) % n

    before, now = order(ByLength(2), "1.0.0"), order(ByLength(3))
    async with shop(tmp_path / "h", before):
        await before.create(id="a", buyer="four")
    async with shop(tmp_path / "h", now, migration("grow", "1.1.0").reshard("Order", 3, was=2)) as node:
        await node.migrations.apply()
        await now.create(id="b", buyer="four")
        assert (await now.where(now.buyer == "four").explain()).shards == (0, 2 + 1)


async def test_shards_of_users_grow_too(tmp_path: Path) -> None:
    before, now = order(user_shards(1), "1.0.0", write="owner"), order(user_shards(2), write="owner")
    async with shop(tmp_path / "h", before):
        await before.create(buyer="ana")
    async with shop(tmp_path / "h", now, migration("grow", "1.1.0").reshard("Order", 2, was=1)) as node:
        await node.migrations.apply()
        await now.create(buyer="ana")
        assert (await now.count(), layouts(node, now)) == (2, [1, 2])


async def test_only_an_admin_applies_it_where_the_log_has_admins() -> None:
    admin = Identity.generate()
    now = order(hash_shards("buyer", 8))
    async with shop(":memory:", now, GROW, admins=[admin.did], identity=Identity.generate()) as node:
        with pytest.raises(PermissionDeniedError, match="only an admin"):
            await node.migrations.apply()
        assert layouts(node, now) == [4]


async def test_faked_it_is_only_written_down(home: Path) -> None:
    now = order(hash_shards("buyer", 8))
    async with shop(home, now, GROW) as node:
        await node.migrations.apply(fake=True)
        assert (node.migrations.pending_names(), layouts(node, now)) == ([], [4])


# -- power cuts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["apply", "rollback"])
async def test_a_power_cut_anywhere_leaves_the_old_layout_or_the_new_one(way: str) -> None:
    now = order(hash_shards("buyer", 8))

    def program(files: Any, folder: Path, seed: int) -> Any:
        return open_node(QuietEnv(seed), files, folder / "home", models=[now], migrations=[GROW])

    with quick_directory() as folder:
        start, before = MemoryFiles(), order(hash_shards("buyer", 4), "1.0.0")
        async with open_node(QuietEnv(), start, folder / "home", models=[before]):
            for buyer in BUYERS:
                await before.create(id=buyer, buyer=buyer)
        if way == "rollback":
            async with program(start, folder, 1) as node:
                await node.migrations.apply()
        disk = RecordingFiles(start)
        async with program(disk, folder, 2) as node:
            await (node.migrations.apply() if way == "apply" else node.migrations.rollback())
        found: set[tuple[str, int]] = set()
        for done, files in disk.power_cuts(Random(8), per_boundary=1):
            forget_view(folder / "home")
            async with program(files, folder, 3 + done) as node:
                [state] = [each.state for each in await node.migrations.states()]
                newest = node.shards[now].newest.n
                assert (state, newest) not in (("applied", 4), ("rolled back", 8), ("pending", 8))
                found.add((state, newest))
                assert {row.id for row in await now.all()} == set(BUYERS)
                if state in ("applied", "running"):  # from half way both ways lead to an end
                    await node.migrations.rollback()
                    assert node.shards[now].newest.n == 4
                await node.migrations.apply()
                assert node.shards[now].newest.n == 8
                await now.create(id="after", buyer="cy")
                assert {row.id for row in await now.where(now.buyer == "cy").all()} == {"cy", "after"}
        ends = {("applied", 8), ("running", 8), ("running", 4)}
        assert ends <= found
        assert found - ends == ({("pending", 4)} if way == "apply" else {("rolled back", 4)})


# -- written by `debros makemigrations` -------------------------------------------------------------------------------


def told(before: Any, after: Any) -> list[str]:
    changes = diff(snapshots.snapshot([before]), snapshots.snapshot([after]), lambda question: False, lambda *_: "None")
    return [line for lines in changes.lines.values() for line in lines]


def test_a_changed_number_or_changed_bounds_are_written_as_a_step() -> None:
    assert told(order(hash_shards("buyer", 4), "1.0.0"), order(hash_shards("buyer", 8))) == [
        '.reshard("Order", 8, was=4)'
    ]
    days = [date(2025, 4, 1), date(2025, 7, 1)]
    [line] = told(order(range_shards("day", days[:1]), "1.0.0"), order(range_shards("day", days)))
    text = render("0002_split", "1.1.0", [line], [], "2025-01-01")
    names: dict[str, Any] = {}
    exec(compile(text, "0002_split.py", "exec"), names)
    assert names["m0002"].operations == migration("x", "1.1.0").reshard("Order", days, was=days[:1]).operations


def test_another_strategy_or_key_is_no_step_and_the_error_says_what_to_do() -> None:
    before = order(hash_shards("buyer", 4), "1.0.0")
    for after in (order(hash_shards("id", 4)), order(None), order(range_shards("day", [date(2025, 1, 1)]))):
        with pytest.raises(MigrationError, match="declare a new model, and `copy_to` it"):
            told(before, after)
    with pytest.raises(MigrationError, match="still declares version"):
        told(before, order(hash_shards("buyer", 8), "1.0.0"))


# -- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sharding", "steps", "says"),
    [
        (
            hash_shards("buyer", 16),
            (GROW,),
            "declares the layout 16, and its migrations lead to 8; next: debros makemigr",
        ),
        (None, (GROW,), "declared without sharding"),
        (
            hash_shards("buyer", 8),
            (migration("grow", "1.1.0").reshard("Order", ["x"], was=["a"]),),
            "a number of shards",
        ),
        (range_shards("buyer", ["m"]), (GROW,), "is bounds"),
        (
            hash_shards("buyer", 16),
            (GROW, migration("more", "1.2.0").reshard("Order", 16, was=7)),
            "layout before it is 8; correct `was=`",
        ),
    ],
)
async def test_steps_that_do_not_fit_are_refused_when_the_home_is_opened(sharding: Any, steps: Any, says: str) -> None:
    with pytest.raises(MigrationError, match=says):
        async with shop(":memory:", order(sharding, "1.2.0"), *steps):
            pass


@pytest.mark.parametrize(
    ("to", "was", "says"),
    [
        (8, 8, "no change of a layout"),
        (8, [1], "no change of a layout"),
        (0, 4, "0 is no layout"),
        (True, 4, "True is no layout"),
        (2000, 4, "2000 is no layout"),
        ("8", 4, "'8' is no layout"),
    ],
)
def test_a_step_that_can_be_none_is_refused_at_once(to: Any, was: Any, says: str) -> None:
    with pytest.raises(MigrationError, match=says):
        migration("grow", "1.1.0").reshard("Order", to, was=was)
