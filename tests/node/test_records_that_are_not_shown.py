"""Records that a changed declaration does not show as they were written are told of, with the cure, not taken for lost."""

from __future__ import annotations

import logging
from decimal import Decimal
from pathlib import Path

import pytest

import debros
from debros import Field, Model, NotFoundError, field, model


@model(name="MisreadContact")
class Before(Model):
    full_name: Field[str]
    amount: Field[int] = field(default=0)


@model(name="MisreadContact")
class Renamed(Model):
    name: Field[str]
    amount: Field[int] = field(default=0)


@model(name="MisreadContact", version="1.1.0")
class Retyped(Model):
    full_name: Field[str]
    amount: Field[Decimal] = field(default=Decimal(0))


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.name == "debros.records"]
    caplog.clear()
    return found


async def written(home: Path, n: int = 3) -> list[str]:
    async with debros.open(home, app="misread", models=[Before]):
        made = await Before.create_many([{"full_name": f"Ana {i}", "amount": 5 + i} for i in range(n)])
        await made[0].delete()
        return [one.id for one in made]


async def test_a_required_field_renamed_without_a_migration_is_told_each_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    [_, id, _] = await written(tmp_path)
    assert told(caplog) == []
    for _ in range(2):
        async with debros.open(tmp_path, app="misread", models=[Renamed]) as db:
            assert await Renamed.count() == 0
            [said] = told(caplog)
            assert "2 records of MisreadContact left out" in said, "a deleted one is not"
            assert "for name." in said
            assert "makemigrations" in said
            health = await db.health()
            assert (health.state, health["records"].state) == ("degraded", "degraded")
            assert "2 records of MisreadContact left out" in health["records"].reason
            with pytest.raises(NotFoundError, match="another declaration"):
                await Renamed.get(id)
            with pytest.raises(NotFoundError, match="never here"):
                await Renamed.get("nobody")
    for _ in range(2):
        async with debros.open(tmp_path, app="misread", models=[Before]) as db:
            assert [one.full_name for one in await Before.all()] == ["Ana 1", "Ana 2"]
            assert (await db.health())["records"].state == "good"
    assert told(caplog) == []


async def test_a_value_of_another_type_is_flagged_and_told_where_the_default_shows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await written(tmp_path)
    async with debros.open(tmp_path, app="misread", models=[Retyped]) as db:
        assert [(one.amount, one.meta.flagged) for one in await Retyped.all()] == [(Decimal(0), True)] * 2
        [said] = told(caplog)
        assert "2 records of MisreadContact shown with a default" in said
        assert "for amount." in said
        await (await Retyped.all())[0].update(amount=Decimal("7.5"))
        assert "1 record of MisreadContact shown with a default" in (await db.health())["records"].reason
        assert sorted(one.meta.flagged for one in await Retyped.all()) == [False, True]


async def test_what_comes_from_a_newer_program_is_told_of_while_the_node_is_open_and_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with debros.open(tmp_path / "new", app="misread", models=[Renamed]) as db:
        await Renamed.create(name="Zoe")
        await db.export_car(tmp_path / "new.car")
    async with debros.open(tmp_path / "old", app="misread", models=[Before]) as db:
        await Before.create(full_name="Ana")
        assert (await db.health())["records"].state == "good"
        await db.import_car(tmp_path / "new.car")
        assert await Before.count() == 1
        assert "1 record of MisreadContact left out" in (await db.health())["records"].reason
    assert told(caplog) == []
    async with debros.open(tmp_path / "old", app="misread", models=[Before]):
        [said] = told(caplog)
        assert "for full_name." in said
