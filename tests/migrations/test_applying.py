"""Applying, planning, rolling back: real counts, history, progress, and what refuses writes meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import trio

from debros import (
    Field,
    Identity,
    MigrationError,
    MigrationPendingError,
    Model,
    PermissionDeniedError,
    field,
    migration,
    model,
)
from debros.migrations.steps import Progress
from debros.node import Debros
from debros.opening import open as open_node
from tests.support.events import told
from tests.support.versions import send


@model(name="Task", version="1.0.0")
class Task1(Model):
    title: Field[str] = field(default="")
    slug: Field[str | None] = field(default=None, unique=True)


@model(name="Task", version="1.1.0")
class Task2(Model):
    title: Field[str] = field(default="")
    slug: Field[str | None] = field(default=None, unique=True)
    size: Field[int] = field(default=0, index=True)


def sized(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "size": len(row["title"])}


SIZE = (
    migration("size", "1.1.0")
    .describe("how long a title is")
    .by("ana")
    .tag("speed")
    .add_field("Task", "size", default=0)
    .transform("Task", up=sized, down=lambda row: row)
)


@asynccontextmanager
async def upgraded(home: Path, *migrations: Any, **options: Any) -> AsyncIterator[Debros]:
    async with open_node(str(home), models=[Task2], migrations=migrations or [SIZE], **options) as node:
        yield node


@pytest.fixture
def home(tmp_path: Path) -> Path:
    async def fill() -> None:
        async with open_node(str(tmp_path / "home"), models=[Task1]):
            await Task1.create_many({"id": f"t{n}", "title": "x" * n} for n in range(4))
            await (await Task1.get("t3")).delete()

    trio.run(fill)
    return tmp_path / "home"


async def test_a_plan_counts_living_records_of_older_versions_and_changes_nothing(home: Path) -> None:
    async with upgraded(home) as node:
        entries = node.status().entries
        [step] = await node.migrations.plan()
        assert (step.name, step.version, step.records, step.state) == ("size", "1.1.0", 3, "pending")
        assert (step.description, step.author, step.tags, step.models) == (
            "how long a title is",
            "ana",
            ("speed",),
            ("Task",),
        )
        assert step.operations == ("add field Task.size (default 0)", "transform Task")
        assert node.status().entries == entries


async def test_a_dry_run_shows_samples_and_changes_nothing(home: Path) -> None:
    async with upgraded(home) as node:
        [step] = await node.migrations.apply(dry_run=True)
        assert [(s.id, s.before, s.after) for s in step.samples] == [
            ("t1", {"size": 0}, {"size": 1}),
            ("t2", {"size": 0}, {"size": 2}),
        ]
        assert await Task2.where(Task2.size > 0).count() == 0
        assert await node.migrations.history() == []


async def test_while_it_is_pending_records_read_as_stored_and_refuse_writes(home: Path) -> None:
    async with upgraded(home) as node:
        record = await Task2.get("t2")
        assert (record.title, record.size) == ("xx", 0)
        with pytest.raises(MigrationPendingError, match="the migration 'size' is pending; next: debros migrate"):
            await record.update(title="y")
        with pytest.raises(MigrationPendingError):
            async with node.transaction():
                await Task2.create(title="new")
        await node.migrations.apply()
        assert (await record.refresh()).size == 2
        await record.update(title="y")


async def test_an_edit_of_all_old_fields_leaves_what_the_migration_gave_to_the_new_one(home: Path) -> None:
    async with upgraded(home, SIZE) as node:
        await node.migrations.apply()
        await (await Task2.get("t2")).update(title="longer", slug="s")
        assert (await Task2.get("t2")).size == 6
        await (await Task2.get("t2")).update(size=1)
        assert (await Task2.get("t2")).size == 1
        assert not (await Task2.get("t2")).meta.flagged


async def test_where_nothing_older_is_stored_a_pending_migration_hinders_nobody() -> None:
    async with open_node(":memory:", models=[Task2], migrations=[SIZE]) as node:
        await Task2.create(id="a", title="abc", size=7)
        await (await Task2.get("a")).update(title="abcd")
        assert [step.records for step in await node.migrations.plan()] == [0]
        await node.migrations.apply()
        assert (await Task2.get("a")).size == 7


async def test_lifted_values_are_indexed_filtered_and_ordered(home: Path) -> None:
    async with upgraded(home) as node:
        await node.migrations.apply()
        assert [task.id for task in await Task2.where(Task2.size >= 1).order_by(Task2.size.desc()).all()] == [
            "t2",
            "t1",
        ]


async def test_rolling_back_shows_what_was_there_before_and_refuses_writes_again(home: Path) -> None:
    async with upgraded(home) as node:
        await node.migrations.apply()
        await Task2.create(id="new", title="abc", size=3)
        [step] = await node.migrations.rollback()
        assert (step.name, step.state) == ("size", "rolled back")
        assert {task.id: task.size for task in await Task2.all()} == {"t0": 0, "t1": 0, "t2": 0, "new": 0}
        with pytest.raises(MigrationPendingError):
            await Task2.create(title="no")
        await node.migrations.apply()
        assert {task.id: task.size for task in await Task2.all()} == {"t0": 0, "t1": 1, "t2": 2, "new": 3}
        assert [event.state for event in await node.migrations.history()] == ["applied", "rolled back", "applied"]


async def test_history_is_in_the_log_signed_and_survives_a_restart(home: Path) -> None:
    async with upgraded(home) as node:
        await node.migrations.apply()
        [event] = await node.migrations.history()
        assert (event.name, event.version, event.state, event.records) == ("size", "1.1.0", "applied", 3)
        assert event.by == node.identity.did
        assert event.cid.startswith("bafyrei")
    (home / "view.sqlite").unlink()
    async with upgraded(home) as node:
        assert await node.migrations.history() == [event]
        assert await node.migrations.plan() == []


async def test_a_preset_or_a_setting_applies_at_open(home: Path) -> None:
    async with upgraded(home, auto_migrate=True) as node:
        assert await node.migrations.pending() == []
        assert (await Task2.get("t2")).size == 2


async def test_progress_is_told_with_totals_rate_and_time_left(home: Path) -> None:
    heard: list[Progress] = []
    async with upgraded(home) as node:
        await node.migrations.apply(progress=heard.append)
        assert node.migrations.active == heard[-1]
    assert [one.state for one in heard] == ["running", "completed"]
    assert (heard[0].operation, heard[0].done, heard[0].total) == ("rows of Task", 4, 4)
    assert Progress("a", "1.0.0", "running", "", 50, 100, 2.0).left_s == 2.0
    assert Progress("a", "1.0.0", "running", "", 0, 100, 0.0).left_s is None


async def test_progress_is_told_to_subscribers_of_the_node(home: Path) -> None:
    expected: list[Progress] = []
    async with upgraded(home) as node, node.events.subscribe("node.*") as notices:
        await node.migrations.apply(progress=expected.append)
        heard = await told(notices)
    progress = [one.data for one in heard if one.topic == "node.migration_progress"]
    assert progress == [{**asdict(one), "errors": []} for one in expected]
    assert [one["state"] for one in progress] == ["running", "completed"]
    assert [one.data for one in heard if one.topic == "node.migration"] == [{"models": ["Task"]}]


async def test_subscribers_of_the_node_are_told_what_a_migration_failed_of(home: Path) -> None:
    def refuse(node: Debros) -> bool:
        return False

    failing = migration("fails", "1.1.0").add_field("Task", "size", default=0).check(refuse)
    async with upgraded(home, failing) as node, node.events.subscribe("node.migration_progress") as notices:
        with pytest.raises(MigrationError, match="refuse"):
            await node.migrations.apply()
        failed = [one.data for one in await told(notices) if one.data["state"] == "failed"]
    assert [(one["name"], len(one["errors"])) for one in failed] == [("fails", 1)]
    assert "refuse" in failed[0]["errors"][0]


async def test_a_function_that_fails_on_a_record_is_named_and_nothing_is_changed(home: Path) -> None:
    def picky(row: dict[str, Any]) -> dict[str, Any]:
        if row["title"] == "xx":
            raise ValueError("no xx")
        return row

    broken = migration("size", "1.1.0").add_field("Task", "size", default=1).transform("Task", up=picky)
    async with upgraded(home, broken) as node:
        entries = node.status().entries
        for dry_run in (True, False):
            with pytest.raises(
                MigrationError, match=r"Task 't2' cannot be migrated: ValueError: no xx; nothing was changed"
            ):
                await node.migrations.apply(dry_run=dry_run)
        assert node.status().entries == entries
        assert {task.size for task in await Task2.all()} == {0}
        assert [step.state for step in await node.migrations.states()] == ["pending"]


async def test_a_function_that_returns_no_value_of_the_field_is_refused(home: Path) -> None:
    wrong = migration("size", "1.1.0").add_field("Task", "size", make=lambda row: "three")
    async with upgraded(home, wrong) as node:
        with pytest.raises(MigrationError, match=r"Task.size is 'three', no int"):
            await node.migrations.apply()


async def test_a_record_that_arrives_later_and_cannot_be_lifted_shows_as_stored_and_flagged(home: Path) -> None:
    picky = migration("size", "1.1.0").add_field(
        "Task", "size", make=lambda row: {"x": 1, "xx": 2, "": 0}[row["title"]]
    )
    async with (
        open_node(":memory:", models=[Task1]) as old,
        open_node(str(home), models=[Task2], migrations=[picky]) as new,
    ):
        with new.current():
            await new.migrations.apply()
        with old.current():
            await Task1.create(id="odd", title="odd")
        await send(old, new)
        with new.current():
            record = await Task2.get("odd")
            assert (record.title, record.size, record.meta.flagged) == ("odd", 0, True)
            assert not (await Task2.get("t2")).meta.flagged


async def test_a_check_before_keeps_a_migration_from_beginning(home: Path) -> None:
    async with upgraded(home, SIZE.check(lambda db: False, before=True)) as node:
        with pytest.raises(MigrationError, match="before failed"):
            await node.migrations.apply()
        assert await node.migrations.history() == []


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_check_that_fails_afterwards_takes_the_migration_back(home: Path, is_async: bool) -> None:
    seen: list[int] = []

    async def later(db: Debros) -> bool:
        seen.append(await Task2.where(Task2.size > 0).count())
        return False

    def at_once(db: Debros) -> None:
        raise ValueError("not good")

    async with upgraded(home, SIZE.check(later if is_async else at_once)) as node:
        with pytest.raises(MigrationError, match="failed"):
            await node.migrations.apply()
        assert seen == ([2] if is_async else [])
        assert {task.size for task in await Task2.all()} == {0}
        assert [event.state for event in await node.migrations.history()] == ["running", "rolled back"]
        [step] = await node.migrations.states()
        assert step.state == "rolled back"
        await node.migrations.apply(skip_checks=True)
        assert (await Task2.get("t2")).size == 2


async def test_a_step_without_a_way_back_is_not_rolled_back(home: Path) -> None:
    one_way = migration("size", "1.1.0").add_field("Task", "size").transform("Task", up=sized)
    async with upgraded(home, one_way) as node:
        await node.migrations.apply()
        with pytest.raises(MigrationError, match=r"size cannot be rolled back: transform Task \(one way\)"):
            await node.migrations.rollback()
        assert (await Task2.get("t2")).size == 2


async def test_with_nothing_applied_there_is_nothing_to_roll_back(home: Path) -> None:
    async with upgraded(home) as node:
        with pytest.raises(MigrationError, match="no migration is applied"):
            await node.migrations.rollback()


async def test_two_runs_at_once_are_refused_and_so_is_one_inside_a_transaction(home: Path) -> None:
    async with upgraded(home) as node:
        refused: list[str] = []

        async def again(_: Debros) -> None:
            with pytest.raises(MigrationError, match="running on this node already") as raised:
                await node.migrations.apply()
            refused.append(str(raised.value))

        node.migrations._plans.migrations = (SIZE.check(again),)
        await node.migrations.apply()
        assert len(refused) == 1
        async with node.transaction():
            with pytest.raises(MigrationError, match="outside the transaction"):
                await node.migrations.rollback()


async def test_a_target_applies_what_comes_up_to_it(home: Path) -> None:
    more = migration("more", "1.1.0").add_index("Task", "size").depends_on("size")
    async with upgraded(home, SIZE, more) as node:
        with pytest.raises(MigrationError, match=r"there is no migration or version 'siz'; did you mean 'size'\?"):
            await node.migrations.plan("siz")
        assert [step.name for step in await node.migrations.plan("1.1.0")] == ["size", "more"]
        assert [step.name for step in await node.migrations.apply("size")] == ["size"]
        assert [step.name for step in await node.migrations.apply()] == ["more"]
        assert [step.name for step in await node.migrations.rollback("size")] == ["more"]
        assert [step.name for step in await node.migrations.rollback("zero")] == ["size"]


async def test_a_faked_migration_is_only_written_down(home: Path) -> None:
    def never(_: Debros) -> None:
        raise AssertionError

    async with upgraded(home, SIZE.run(never)) as node:
        await node.migrations.apply(fake=True)
        assert await node.migrations.pending() == []


async def test_a_migration_that_the_program_does_not_know_is_listed(home: Path) -> None:
    async with upgraded(home) as node:
        await node.migrations.apply()
    async with open_node(str(home), models=[Task2]) as node:
        assert [(step.name, step.state) for step in await node.migrations.states()] == [("size", "unknown")]


async def test_where_a_log_has_admins_only_they_apply_migrations(tmp_path: Path) -> None:
    admin, guest = Identity.generate(), Identity.generate()
    options: dict[str, Any] = {"admins": [admin.did]}
    async with open_node(str(tmp_path / "a"), models=[Task1], identity=guest, **options):
        await Task1.create(id="t", title="abc")
    async with open_node(str(tmp_path / "a"), models=[Task2], migrations=[SIZE], identity=guest, **options) as node:
        with pytest.raises(PermissionDeniedError, match="only an admin"):
            await node.migrations.apply()
        async with node.acting_as(admin):
            await node.migrations.apply()
        assert (await Task2.get("t")).size == 3


async def test_lifted_records_that_now_share_a_unique_value_are_flagged_but_for_one(home: Path) -> None:
    same = (
        migration("size", "1.1.0")
        .add_field("Task", "size")
        .transform("Task", up=lambda r: {**r, "slug": "same"}, down=lambda r: r)
    )
    async with upgraded(home, same) as node:
        await node.migrations.apply()
        flagged = [task.meta.flagged for task in await Task2.all()]
        assert sorted(flagged) == [False, True, True]
        await node.migrations.rollback()
        assert not any(task.meta.flagged for task in await Task2.all())


async def test_a_reader_sees_old_rows_or_new_ones_and_other_work_goes_on(tmp_path: Path) -> None:
    async with open_node(str(tmp_path / "h"), models=[Task1]):
        await Task1.create_many({"title": "abc"} for _ in range(1200))
    seen: list[tuple[int, int]] = []
    async with upgraded(tmp_path / "h") as node:

        async def read() -> None:
            while True:
                seen.append((await Task2.where(Task2.size == 0).count(), await Task2.where(Task2.size == 3).count()))
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await node.migrations.apply()
            seen.append((await Task2.where(Task2.size == 0).count(), await Task2.where(Task2.size == 3).count()))
            nursery.cancel_scope.cancel()
    assert set(seen) == {(1200, 0), (0, 1200)}
    assert len(seen) > 2
