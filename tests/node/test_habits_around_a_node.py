"""What somebody does with a node out of habit: it works, or the error says what to write."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import debros
from debros import ConfigError, Field, File, Identity, IdentityError, Model, TopicError, TransactionError, field, model
from tests.support.nodes import a_node


@model(name="HabitThing")
class Thing(Model):
    name: Field[str]
    photo: Field[File | None] = field(default=None)


async def test_a_node_that_is_closed_inside_its_block_leaves_it_quietly(tmp_path: Path) -> None:
    async with debros.open(tmp_path, models=[Thing]) as db:
        await Thing.create(name="a", photo=await File.add(b"a"))
        await db.close()
        await db.close()
        with pytest.raises(debros.ClosedError):
            await Thing.count()
    async with debros.open(tmp_path, models=[Thing]) as db:
        [thing] = await Thing.all()
        assert thing.photo is not None
        assert await thing.photo.read() == b"a"
        assert await db.pins.is_pinned(thing.photo.cid)


async def test_a_home_is_opened_from_any_directory_under_the_app_it_was_made_with(tmp_path: Path) -> None:
    async with debros.open(tmp_path / "home", models=[Thing], app="field-7f3a"):
        await Thing.create(name="a")
    async with debros.open(tmp_path / "home", models=[Thing]) as db:
        assert (db.app, db.config.app, db.status().app) == ("field-7f3a",) * 3
        await Thing.create(name="b")
        assert await Thing.count() == 2
    async with debros.open(tmp_path / "home", models=[Thing], app="field-7f3a") as db:
        assert await Thing.count() == 2
        assert db.status().logs == 1


async def test_another_app_that_is_named_anywhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with debros.open(tmp_path / "home", models=[Thing], app="field-7f3a"):
        await Thing.create(name="a")
    with pytest.raises(ConfigError, match=r"belongs to the app 'field-7f3a', not 'default'.*pyproject\.toml"):
        async with debros.open(tmp_path / "home", models=[Thing], app="default"):
            pass
    (tmp_path / "pyproject.toml").write_text('[tool.debros]\napp = "other"\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="not 'other'"):
        async with debros.open(tmp_path / "home", models=[Thing]):
            pass


async def test_the_address_of_a_database_is_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="home is the directory of the node"):
        async with debros.open("sqlite:///x.db", models=[Thing]):
            pass
    assert os.listdir() == []


async def test_a_transaction_is_entered_by_async_with() -> None:
    async with a_node(Thing) as db:
        transaction: Any = db.transaction()
        with pytest.raises(TransactionError, match=r"`async with db\.transaction\(\):`"), transaction:
            pass
        with pytest.raises(TransactionError, match="a transaction is a block"):
            await transaction


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("session", r"await record\.save\(\)"),
        ("execute", r"Post\.query\(\)"),
        ("backup", "debros backup FOLDER"),
        ("listen", "listen=\\.\\.\\."),
        ("statsu", "did you mean 'status'"),
    ],
)
async def test_names_that_a_node_does_not_have_name_what_does_it(name: str, cure: str) -> None:
    async with a_node(Thing) as db:
        with pytest.raises(AttributeError, match=cure):
            getattr(db, name)


def test_names_of_the_node_are_told_to_callers_without_trio() -> None:
    with debros.blocking(":memory:", models=[Thing]) as db:
        for name in ("transaction", "status", "events"):
            with pytest.raises(AttributeError, match=rf"db\.node\.{name}`"):
                getattr(db, name)
        with pytest.raises(AttributeError, match="did you mean 'iterate'"):
            getattr(db, "iterat")  # noqa: B009 - it is not there
        assert repr(db) == "<<debros node ':memory:', app 'default'>, to be asked by `run`>"


async def test_a_model_is_subscribed_to_as_a_class() -> None:
    def handle(event: object) -> None:
        raise AssertionError(event)

    async with a_node(Thing) as db:
        wrong: list[Callable[[], object]] = [
            lambda: db.events.on("HabitThing", handle),
            lambda: db.events.on("Thing", handle),
        ]
        for one in wrong:
            with pytest.raises(TopicError, match=r"no topic: `subscribe\("):
                one()
        async with db.events.subscribe("model.HabitThing.*"):
            await trio.lowlevel.checkpoint()


async def test_a_right_is_granted_to_a_did() -> None:
    admin = Identity.generate()
    async with debros.open(":memory:", models=[Thing], identity=admin, admins=[admin.did], open=False) as db:
        guest: Any = Identity.generate()
        with pytest.raises(IdentityError, match=r"`identity\.did`"):
            await db.grant(guest)
        await db.grant(guest.did)


def test_a_node_that_is_not_entered_says_so_where_it_is_looked_at() -> None:
    assert "async with debros.open" in repr(debros.open(":memory:", models=[Thing]))
