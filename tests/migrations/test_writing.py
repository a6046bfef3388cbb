"""Operations that write entries: copies between models and functions; resumable, undone where something fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from debros import Field, Migration, MigrationError, Model, field, migration, model
from debros.migrations import writing
from debros.node import Debros
from debros.opening import open as open_node


@model(name="Letter", version="1.0.0")
class Letter(Model):
    text: Field[str] = field(default="")
    secret: Field[bool] = field(default=False)


@model(name="Archive", version="1.0.0")
class Archive(Model):
    text: Field[str] = field(default="")
    size: Field[int] = field(default=0)


MODELS = [Letter, Archive]


def archived(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "size": len(row["text"])}


COPY = migration("archive", "1.0.0").copy_to(
    Letter, Archive, mapping={"text": "text"}, where=lambda letter: not letter.secret, transform=archived, batch=3
)


@pytest.fixture
def home(tmp_path: Path) -> str:
    async def fill() -> None:
        async with open_node(str(tmp_path / "home"), models=MODELS):
            await Letter.create_many({"id": f"l{n}", "text": "x" * n, "secret": n == 4} for n in range(10))
            await Archive.create(id="l1", text="was here")

    trio.run(fill)
    return str(tmp_path / "home")


async def sizes() -> dict[str, int]:
    return {record.id: record.size for record in await Archive.all()}


WANTED = {f"l{n}": n for n in range(10) if n not in (1, 4)} | {"l1": 0}


async def test_copies_have_the_sources_ids_and_what_is_there_already_stays(home: str) -> None:
    async with open_node(home, models=MODELS, migrations=[COPY]) as node:
        assert [step.records for step in await node.migrations.plan()] == [10]
        await node.migrations.apply()
        assert await sizes() == WANTED
        assert (await Archive.get("l1")).text == "was here"
        assert await node.migrations.pending() == []


async def test_rolling_a_copy_back_deletes_what_it_made(home: str) -> None:
    async with open_node(home, models=MODELS, migrations=[COPY]) as node:
        await node.migrations.apply()
        await node.migrations.rollback()
        assert await sizes() == {"l1": 0}
        assert [event.state for event in await node.migrations.history()] == [
            "running",
            "applied",
            "running",
            "rolled back",
        ]


async def test_fields_of_the_same_name_are_copied_without_a_mapping(home: str) -> None:
    plain = migration("archive", "1.0.0").copy_to(Letter, Archive)
    async with open_node(home, models=MODELS, migrations=[plain]) as node:
        await node.migrations.apply()
        assert (await Archive.get("l3")).text == "xxx"


async def test_a_copy_that_stopped_in_the_middle_goes_on_behind_what_is_written(
    home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []
    copy_one = writing._copy_one

    async def until_five(node: Debros, operation: Any, record: Any, target: Any) -> None:
        if len(copied) == 5:
            raise SystemExit  # as if the process had been killed: nothing is undone
        copied.append(record.id)
        await copy_one(node, operation, record, target)

    monkeypatch.setattr(writing, "_copy_one", until_five)
    with pytest.raises(SystemExit):
        async with open_node(home, models=MODELS, migrations=[COPY]) as node:
            await node.migrations.apply()
    copied.clear()
    monkeypatch.setattr(writing, "_copy_one", copy_one)
    async with open_node(home, models=MODELS, migrations=[COPY]) as node:
        assert set(await sizes()) == {"l0", "l1", "l2", "l3", "l5"}  # two whole batches
        assert [step.state for step in await node.migrations.states()] == ["running"]
        await node.migrations.apply()
        assert await sizes() == WANTED


async def test_a_copy_that_fails_is_undone(home: str) -> None:
    def picky(row: dict[str, Any]) -> dict[str, Any]:
        if len(row["text"]) == 8:
            raise ValueError("no eights")
        return row

    failing = migration("archive", "1.0.0").copy_to(Letter, Archive, mapping={"text": "text"}, transform=picky, batch=2)
    async with open_node(home, models=MODELS, migrations=[failing]) as node:
        with pytest.raises(MigrationError, match="archive failed and was undone: ValueError: no eights"):
            await node.migrations.apply()
        assert await sizes() == {"l1": 0}


def seeded(calls: list[str], *, fails: bool = False) -> Migration:
    async def seed(node: Debros) -> None:
        calls.append("seed")
        await Archive.create(id="seed", text="seed")
        if fails:
            raise ValueError("no")

    async def unseed(node: Debros) -> None:
        calls.append("unseed")
        await (await Archive.get("seed")).delete()

    return migration("seed", "1.0.0").run(seed, undo=unseed, models=(Archive,))


async def test_a_function_runs_once_in_one_transaction_and_has_its_way_back(home: str) -> None:
    calls: list[str] = []
    for _ in range(2):
        async with open_node(home, models=MODELS, migrations=[seeded(calls)]) as node:
            await node.migrations.apply()
            assert (await Archive.get("seed")).text == "seed"
    assert calls == ["seed"]
    async with open_node(home, models=MODELS, migrations=[seeded(calls)]) as node:
        await node.migrations.rollback()
        assert await Archive.get_or_none("seed") is None
    assert calls == ["seed", "unseed"]


async def test_a_function_that_raises_leaves_nothing(home: str) -> None:
    calls: list[str] = []
    async with open_node(home, models=MODELS, migrations=[seeded(calls, fails=True)]) as node:
        with pytest.raises(MigrationError, match="seed failed and was undone: ValueError: no"):
            await node.migrations.apply()
        assert calls == ["seed"]  # it had not been done, so there was nothing to undo
        assert await Archive.get_or_none("seed") is None
        assert [step.state for step in await node.migrations.states()] == ["rolled back"]


async def test_a_check_that_fails_afterwards_undoes_functions_too(home: str) -> None:
    calls: list[str] = []
    async with open_node(home, models=MODELS, migrations=[seeded(calls).check(lambda db: False)]) as node:
        with pytest.raises(MigrationError, match="failed; nothing of the migration stands"):
            await node.migrations.apply()
        assert calls == ["seed", "unseed"]
        assert await Archive.get_or_none("seed") is None


async def test_undoing_what_has_no_way_back_is_told_and_it_stays_pending(home: str) -> None:
    one_way = migration("seed", "1.0.0").run(lambda node: None).check(lambda db: False)
    async with open_node(home, models=MODELS, migrations=[one_way]) as node:
        with pytest.raises(MigrationError, match=r"undoing it failed too: .*has no way back"):
            await node.migrations.apply()
        assert [step.state for step in await node.migrations.states()] == ["running"]


async def test_a_model_that_is_not_open_is_named(home: str) -> None:
    async with open_node(home, models=[Letter], migrations=[COPY]) as node:
        with pytest.raises(MigrationError, match="Archive is not open; add it to `models"):
            await node.migrations.apply()
