"""The table of migrations, row by row: each test is named after its row, or after one thing that its row names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from debros import Field, MigrationError, Model, field, hash_shards, migration, model
from debros.migrations.files import load
from debros.migrations.graph import ordered
from debros.opening import open as open_node
from tests.support.versions import meet


@model(name="Letter", version="1.0.0")
class Letter1(Model):
    text: Field[str] = field(default="")
    sender: Field[str] = field(default="")


@model(name="Letter", version="1.1.0")
class Letter2(Model):
    body: Field[str] = field(default="")
    sender: Field[str] = field(default="")
    words: Field[int] = field(default=0, index=True)


@model(name="Archive", version="1.0.0")
class Archive(Model):
    body: Field[str] = field(default="")


def counted(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "words": len(row["body"].split())}


def same(row: dict[str, Any]) -> dict[str, Any]:
    return row


WORDS = (
    migration("words", "1.1.0").describe("how many words").by("ana").tag("counts").on("2025-01-01")
    .rename_field("Letter", "text", "body").add_field("Letter", "words", default=0).transform("Letter", up=counted, down=same)
)  # fmt: skip
TEXTS = {"a": "one", "b": "one two", "c": "one two three"}


@pytest.fixture
def home(tmp_path: Path) -> str:
    async def fill() -> None:
        async with open_node(str(tmp_path / "home"), models=[Letter1]):
            for id, text in TEXTS.items():
                await Letter1.create(id=id, text=text)

    trio.run(fill)
    return str(tmp_path / "home")


def opened(home: str, *steps: Any, **options: Any) -> Any:
    return open_node(home, models=[Letter2, Archive], migrations=steps or (WORDS,), **options)


async def words() -> dict[str, int]:
    return {letter.id: letter.words for letter in await Letter2.all()}


OLD, NEW = dict.fromkeys("abc", 0), {"a": 1, "b": 2, "c": 3}


# -- record ------------------------------------------------------------------------------------------------------------


def test_record() -> None:
    made = WORDS.depends_on("before").check(bool).check(bool, before=True)
    assert (made.name, made.version, made.description, made.author, made.tags, made.created) == (
        "words", "1.1.0", "how many words", "ana", ("counts",), "2025-01-01",
    )  # fmt: skip
    assert (made.models, made.depends, made.is_reversible) == (("Letter",), ("before",), True)
    assert [check.before for check in made.checks] == [False, True]
    assert WORDS.checks == (), "a migration is a value"


# -- operations and builder --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "told", "has_way_back"),
    [
        (lambda m: m.add_field("Letter", "lang", "en"), "add field Letter.lang (default 'en')", True),
        (lambda m: m.remove_field("Letter", "lang"), "remove field Letter.lang (its values stay in the log)", True),
        (lambda m: m.change_field("Letter", "size", up=int), "change field Letter.size (values are converted)", False),
        (lambda m: m.change_field("Letter", "size", up=int, down=str), "change field Letter.size (values are co", True),
        (lambda m: m.rename_field("Letter", "text", "body"), "rename field Letter.text to body", True),
        (lambda m: m.rename_model("Letter", "Mail"), "rename model Letter to Mail", True),
        (lambda m: m.add_index("Letter", "words"), "add index Letter(words)", True),
        (lambda m: m.remove_index("Letter", "words"), "remove index Letter(words)", True),
        (lambda m: m.transform("Letter", up=same), "transform Letter (one way)", False),
        (lambda m: m.transform("Letter", up=same, down=same), "transform Letter", True),
        (lambda m: m.copy_to("Letter", "Archive"), "copy Letter to Archive", True),
        (lambda m: m.reshard("Letter", 8, was=4), "reshard Letter: 4 to 8 shards", True),
        (lambda m: m.run(bool), "run bool (one way)", False),
        (lambda m: m.run(bool, undo=bool), "run bool", True),
        (lambda m: m.add_timestamps("Letter"), "add field Letter.created_at (computed for each record)", True),
        (lambda m: m.add_soft_delete("Letter"), "add field Letter.deleted_at (default None)", True),
        (lambda m: m.add_uuid("Letter"), "add field Letter.uuid (computed for each record)", True),
    ],
)
def test_operations(made: Callable[[Any], Any], told: str, has_way_back: bool) -> None:
    step = made(migration("step", "1.1.0"))
    assert step.operations[0].text.startswith(told)
    assert step.is_reversible == has_way_back


async def test_builder_migrates_data_between_models_with_mapping_condition_transform_and_batch(home: str) -> None:
    copy = WORDS.copy_to(
        "Letter", "Archive", mapping={"body": "body"}, where=lambda letter: letter.id != "b",
        transform=lambda row: {**row, "body": row["body"].upper()}, batch=1,
    )  # fmt: skip
    async with opened(home, copy) as node:
        await node.migrations.apply()
        assert {one.id: one.body for one in await Archive.all()} == {"a": "ONE", "c": "ONE TWO THREE"}
        await node.migrations.rollback()
        assert await Archive.count() == 0
    assert migration("x", "1.0.0").copy_to("Letter", "Archive").operations[0].batch == 100, "the default"  # type: ignore[attr-defined]  # of `CopyTo`


async def test_builder_field_exists_and_integrity_checks(home: str) -> None:
    async with opened(home, WORDS.check_field_exists("Letter", "nothing")) as node:
        with pytest.raises(MigrationError, match="Letter has no field 'nothing'"):
            await node.migrations.apply()
        assert await words() == OLD
    async with opened(home, WORDS.check_field_exists("Letter", "words").check_readable("Letter")) as node:
        await node.migrations.apply()
        assert await words() == NEW


# -- manager -----------------------------------------------------------------------------------------------------------


async def test_manager_lists_gets_runs_all_rolls_back_and_keeps_history(home: str) -> None:
    more = migration("more", "1.1.0").add_index("Letter", "words").depends_on("words")
    async with opened(home, more, WORDS) as node:
        manager = node.migrations
        assert [each.name for each in manager.all] == ["words", "more"], "in version order, dependencies first"
        assert (await manager.get("words")).state == "pending"
        assert [(step.name, step.models, step.records) for step in await manager.pending()] == [
            ("words", ("Letter",), 3),
            ("more", ("Letter",), 3),
        ]
        assert [step.name for step in await manager.apply()] == ["words", "more"]
        assert (await manager.pending(), manager.is_running) == ([], False)
        assert manager.active is not None
        assert manager.active.state == "completed"
        await manager.rollback("words")
        assert [(event.name, event.state) for event in await manager.history()] == [
            ("words", "applied"),
            ("more", "applied"),
            ("more", "rolled back"),
        ]
        assert node.metrics().migrations_applied == 2


async def test_manager_stops_at_an_error_or_goes_on_where_that_is_asked_for(home: str) -> None:
    bad = migration("bad", "1.0.0").run(lambda db: 1 / 0, undo=lambda db: None, models=("Archive",))
    async with opened(home, bad, WORDS) as node:
        with pytest.raises(MigrationError, match="bad failed and was undone: ZeroDivisionError"):
            await node.migrations.apply()
        assert await words() == OLD
        steps = await node.migrations.apply(keep_going=True)
        assert [(step.name, step.state) for step in steps] == [("bad", "pending"), ("words", "applied")]
        assert await words() == NEW


async def test_manager_cleans_up_what_a_killed_migration_left_beside_the_rows(home: str) -> None:
    async with opened(home) as node:
        node.store.view.db.execute('CREATE TABLE "s_Letter" (x)')
    async with opened(home) as node:
        assert node.store.view.read("SELECT name FROM sqlite_master WHERE name = 's_Letter'", ()) == []


# -- run options -------------------------------------------------------------------------------------------------------


async def test_run_options_dry_run_fake_and_skipped_checks(home: str) -> None:
    async with opened(home, WORDS.check(lambda db: False)) as node:
        [step] = await node.migrations.apply(dry_run=True)
        assert [(sample.id, sample.after["words"]) for sample in step.samples] == [("a", 1), ("b", 2), ("c", 3)]
        assert (await words(), await node.migrations.history()) == (OLD, [])
        with pytest.raises(MigrationError):
            await node.migrations.apply()
        await node.migrations.apply(skip_checks=True)
        assert await words() == NEW
        await node.migrations.rollback()
        await node.migrations.apply(fake=True, skip_checks=True)
        assert node.migrations.pending_names() == []


async def test_run_options_all_shards_are_migrated_in_one_pass() -> None:
    @model(name="Spread", version="1.0.0", sharding=hash_shards("id", 4))
    class Old(Model):
        text: Field[str] = field(default="")

    @model(name="Spread", version="1.1.0", sharding=hash_shards("id", 4))
    class New(Model):
        text: Field[str] = field(default="")
        size: Field[int] = field(default=0)

    step = migration("size", "1.1.0").add_field("Spread", "size", make=lambda row: len(row["text"]))
    async with (
        open_node(":memory:", models=[Old]) as old,
        open_node(":memory:", models=[New], migrations=[step]) as new,
    ):
        with old.current():
            await Old.create_many({"text": "x" * n} for n in range(20))
        await meet(old, new)
        told: list[int] = []
        with new.current():
            await new.migrations.apply(progress=lambda progress: told.append(progress.total))
            assert sorted(one.size for one in await New.all()) == list(range(20))
        assert told[0] == 20


# -- checks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([object()], "is no migration"),
        ([WORDS, WORDS], "two migrations are called 'words'"),
        ([WORDS, migration("other", "1.1.0").add_index("Letter", "words")], "are two branches"),
        ([migration("late", "1.1.0").depends_on("nothing")], "depends on 'nothing', which is not here"),
        ([migration("a", "1.0.0").depends_on("b"), migration("b", "1.0.0").depends_on("a")], "in a ring"),
    ],
)
def test_checks_of_structure_versions_and_dependencies(steps: list[Any], says: str) -> None:
    with pytest.raises(MigrationError, match=says):
        ordered(steps)


async def test_checks_that_nothing_is_running_and_validators_before_and_after(home: str) -> None:
    seen: list[str] = []

    async def before(db: Any) -> None:
        seen.append(f"before {await Letter2.where(Letter2.words > 0).count()}")
        with pytest.raises(MigrationError, match="running on this node already"):
            await db.migrations.apply()

    async def after(db: Any) -> None:
        seen.append(f"after {await Letter2.where(Letter2.words > 0).count()}")

    async with opened(home, WORDS.check(before, before=True).check(after)) as node:
        await node.migrations.apply()
    assert seen == ["before 0", "after 3"]


# -- failure -----------------------------------------------------------------------------------------------------------


async def test_failure_rolls_back_by_itself_and_by_hand(home: str) -> None:
    failing = WORDS.copy_to("Letter", "Archive").run(lambda db: 1 / 0, undo=lambda db: None)
    async with opened(home, failing) as node:
        with pytest.raises(MigrationError, match="failed and was undone"):
            await node.migrations.apply()
        assert (await words(), await Archive.count()) == (OLD, 0)
        assert [step.state for step in await node.migrations.states()] == ["rolled back"]
    async with opened(home) as node:
        await node.migrations.apply()
        await node.migrations.rollback()
        assert await words() == OLD


# -- progress and result -----------------------------------------------------------------------------------------------


async def test_progress(home: str) -> None:
    told: list[Any] = []
    async with opened(home, WORDS.check(lambda db: True)) as node:
        await node.migrations.apply(progress=told.append)
        await node.migrations.rollback(progress=told.append)
        failing = WORDS.check(lambda db: False)
        node.migrations._plans.migrations = (failing,)
        with pytest.raises(MigrationError):
            await node.migrations.apply(progress=told.append)
    states = [one.state for one in told]
    assert {"running", "completed", "rolled back", "failed"} <= set(states)
    rows = next(one for one in told if one.operation == "rows of Letter")
    assert (rows.done, rows.total, rows.errors) == (3, 3, ())
    assert rows.left_s in (0.0, None)
    assert next(one for one in told if one.state == "failed").errors[0].startswith("words: check")


async def test_result(home: str) -> None:
    one_way = migration("one-way", "1.1.0").transform("Letter", up=same).depends_on("words")
    async with opened(home, WORDS, one_way) as node:
        assert [step.warnings for step in await node.migrations.apply(dry_run=True)] == [
            (),
            ("transform Letter (one way): it cannot be rolled back",),
        ]
        first, second = await node.migrations.apply()
        assert (first.state, first.records, first.is_reversible, first.warnings) == ("applied", 3, True, ())
        assert first.duration_s > 0
        assert (second.is_reversible, second.operations) == (False, ("transform Letter (one way)",))


# -- distribution ------------------------------------------------------------------------------------------------------


async def test_distribution_two_peers_that_migrate_at_once_agree() -> None:
    async with (
        open_node(":memory:", models=[Letter1]) as old,
        open_node(":memory:", models=[Letter2], migrations=[WORDS]) as here,
        open_node(":memory:", models=[Letter2], migrations=[WORDS]) as there,
    ):
        with old.current():
            await Letter1.create(id="a", text="one")
        for node in (here, there):
            await meet(old, node)
            with node.current():
                await node.migrations.apply()
        await meet(here, there)
        for node in (here, there):
            with node.current():
                assert await words() == {"a": 1}
            assert [(event.name, event.version) for event in await node.migrations.history()] == [
                ("words", "1.1.0")
            ] * 2
        assert await here.fingerprint() == await there.fingerprint()


# -- automation --------------------------------------------------------------------------------------------------------


async def test_automation_runs_at_start_and_loads_from_a_directory(home: str, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_words.py").write_text(
        "from debros import migration\n\n"
        'm0001 = migration("words", "1.1.0").rename_field("Letter", "text", "body").add_field("Letter", "words", default=7)\n'
    )
    assert [each.name for each in load(folder)] == ["words"]
    async with open_node(home, models=[Letter2], migrations=str(folder), auto_migrate=True) as node:
        assert node.migrations.pending_names() == []
        assert await words() == dict.fromkeys("abc", 7)
