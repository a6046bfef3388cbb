"""A change of a field's type converts every value or is refused; what is written by itself is right for null too."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from debros import Field, Migration, MigrationError, Model, field, migration, model
from debros.migrations import snapshot as snapshots
from debros.migrations.diff import Changes, Question, diff
from debros.migrations.render import render
from debros.opening import open as open_node


@model(name="Sum", version="1.0.0")
class Before(Model):
    amount: Field[int] = field(default=0)
    note: Field[int | None] = field(default=None)


@model(name="Sum", version="1.1.0")
class After(Model):
    amount: Field[Decimal] = field(default=Decimal(0))
    note: Field[str | None] = field(default=None)


def changed(before: Any, after: Any, *renamed: str) -> tuple[Changes, list[str]]:
    asked: list[str] = []

    def ask(question: Question) -> bool:
        asked.append(f"{question.old}={question.new}")
        return asked[-1] in renamed

    return diff(snapshots.snapshot([before]), snapshots.snapshot([after]), ask, lambda *_: "None"), asked


async def migrated(home: Path, *migrations: Migration) -> list[tuple[Decimal, str | None]]:
    async with open_node(str(home), models=[Before]):
        await Before.create_many([{"amount": 5, "note": 7}, {"amount": 12}])
    async with open_node(str(home), models=[After], migrations=migrations) as node:
        await node.migrations.apply()
        return [(each.amount, each.note) for each in await After.all()]


@pytest.mark.parametrize("was", [{"was": int | None}, {}], ids=["typed", "untyped"])
@pytest.mark.parametrize("up", [lambda value: value, lambda value: [value], int], ids=["same", "list", "raises"])
async def test_a_function_that_gives_no_value_of_the_new_type_is_refused_also_where_it_changes_nothing(
    tmp_path: Path, up: Any, was: Any
) -> None:
    step = migration("notes", "1.1.0").change_field("Sum", "note", up=up, down=int, **was)
    with pytest.raises(MigrationError, match=r"cannot be migrated.*nothing was changed"):
        await migrated(tmp_path, step)


async def test_an_integer_is_a_decimal_without_a_word(tmp_path: Path) -> None:
    step = migration("money", "1.1.0").change_field("Sum", "amount", up=lambda value: value, down=int, was=int)
    assert [amount for amount, _ in await migrated(tmp_path, step)] == [Decimal(5), Decimal(12)]


async def test_what_is_written_for_changed_types_keeps_values_and_nulls(tmp_path: Path) -> None:
    changes, _ = changed(Before, After)
    text = render("0001_money", "1.1.0", changes.lines["1.1.0"], [], "2026-01-01")
    found: dict[str, Any] = {}
    exec(text, found)  # the very text that `makemigrations` writes
    assert await migrated(tmp_path, found["m0001"]) == [(Decimal(5), "7"), (Decimal(12), None)]


async def test_a_value_of_the_new_type_that_is_written_later_is_left_alone(tmp_path: Path) -> None:
    step = migration("money", "1.1.0").change_field(
        "Sum", "amount", up=lambda value: Decimal(value) / 100, down=lambda value: int(value * 100), was=int
    ).change_field("Sum", "note", up=lambda value: None if value is None else str(value), was=int | None)  # fmt: skip
    assert await migrated(tmp_path, step) == [(Decimal("0.05"), "7"), (Decimal("0.12"), None)]
    async with open_node(str(tmp_path), models=[After], migrations=[step]):
        [first, second] = await After.all()
        await first.update(amount=Decimal("3.5"))
        assert [(each.amount, each.meta.flagged) for each in await After.all()] == [
            (Decimal("3.5"), False),
            (Decimal("0.12"), False),
        ]
        assert second.note is None


def test_the_likeliest_rename_is_asked_first() -> None:
    @model(name="Sum", version="1.0.0")
    class Old(Model):
        full_name: Field[str]

    @model(name="Sum", version="1.1.0")
    class New(Model):
        lang: Field[str] = field(default="de")
        name: Field[str] = field()

    changes, asked = changed(Old, New, "full_name=name")
    assert asked == ["full_name=name"]
    assert changes.lines == {"1.1.0": ['.rename_field("Sum", "full_name", "name")']}
    assert changed(Old, New)[1] == ["full_name=name", "full_name=lang"]
