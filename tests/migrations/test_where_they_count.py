"""Where a migration counts: in shards of its scope, in the acting user's own log, and not once its author is cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from debros import Field, Identity, MigrationError, Model, field, hash_shards, migration, model
from debros.opening import open as open_node
from tests.support.versions import meet, send


def spread(version: str, *, new: bool = False) -> Any:
    if new:

        @model(name="Spread", version=version, sharding=hash_shards("key", 4))
        class New(Model):
            key: Field[str] = field()
            size: Field[int] = field(default=0)

        return New

    @model(name="Spread", version=version, sharding=hash_shards("key", 4))
    class Old(Model):
        key: Field[str] = field()

    return Old


SIZE = migration("size", "1.1.0").add_field("Spread", "size", make=lambda row: len(row["key"]))


async def test_records_in_all_shards_are_lifted_by_one_entry_in_the_scopes_log(tmp_path: Path) -> None:
    old, new = spread("1.0.0"), spread("1.1.0", new=True)
    async with open_node(str(tmp_path / "h"), models=[old]):
        for n in range(12):
            await old.create(id=f"s{n}", key="k" * n)
    async with open_node(str(tmp_path / "h"), models=[new], migrations=[SIZE]) as node:
        assert [step.records for step in await node.migrations.plan()] == [12]
        await node.migrations.apply()
        assert len(await node.migrations.history()) == 1
        assert {record.id: record.size for record in await new.all()} == {f"s{n}": n for n in range(12)}
        assert await new.where(new.size >= 6).count() == 6
        before = await node.fingerprint()
    (tmp_path / "h" / "view.sqlite").unlink()
    async with open_node(str(tmp_path / "h"), models=[new], migrations=[SIZE]) as node:
        assert await node.fingerprint() == before


async def test_a_shards_log_that_comes_after_the_migration_is_lifted_too() -> None:
    old, new = spread("1.0.0"), spread("1.1.0", new=True)
    async with (
        open_node(":memory:", models=[old]) as here,
        open_node(":memory:", models=[new], migrations=[SIZE]) as there,
    ):
        with there.current():
            await there.migrations.apply()
        with here.current():
            for n in range(8):
                await old.create(id=f"s{n}", key="k" * n)
        await send(here, there)
        with there.current():
            assert {record.id: record.size for record in await new.all()} == {f"s{n}": n for n in range(8)}


@model(name="Line", version="1.0.0", scope="user")
class Line1(Model):
    text: Field[str] = field(default="")


@model(name="Line", version="1.1.0", scope="user")
class Line2(Model):
    text: Field[str] = field(default="")
    size: Field[int] = field(default=0)


LINES = migration("lines", "1.1.0").add_field("Line", "size", make=lambda row: len(row["text"]))


@pytest.mark.parametrize("auto_migrate", [True, False])
async def test_each_users_records_follow_the_users_own_log(tmp_path: Path, auto_migrate: bool) -> None:
    bo = Identity.generate()
    async with open_node(str(tmp_path / "h"), models=[Line1]) as node:
        await Line1.create(id="a", text="abc")
        async with node.acting_as(bo):
            await Line1.create(id="b", text="abcd")
    options: dict[str, Any] = {"auto_migrate": auto_migrate}
    async with open_node(str(tmp_path / "h"), models=[Line2], migrations=[LINES], **options) as node:
        await node.migrations.apply()
        shown = {line.id: line.size for line in await Line2.query().all_users().all()}
        assert shown == {"a": 3, "b": 0}
        async with node.acting_as(bo):
            if not auto_migrate:
                assert [step.name for step in await node.migrations.pending()] == ["lines"]
                await node.migrations.apply()
            assert (await Line2.get("b")).size == 4
            await Line2.create(text="new")


async def test_a_migration_of_an_author_who_is_cut_counts_no_more() -> None:
    admin, guest = Identity.generate(), Identity.generate()

    @model(name="Cut", version="1.0.0")
    class Old(Model):
        text: Field[str] = field(default="")

    @model(name="Cut", version="1.1.0")
    class New(Model):
        text: Field[str] = field(default="")
        size: Field[int] = field(default=0)

    step = migration("cut", "1.1.0").add_field("Cut", "size", default=7)
    options: dict[str, Any] = {"admins": [admin.did, guest.did]}
    async with (
        open_node(":memory:", models=[Old], identity=admin, **options) as old,
        open_node(":memory:", models=[New], migrations=[step], identity=guest, **options) as new,
    ):
        with old.current():
            await Old.create(id="c", text="x")
        await meet(old, new)
        with new.current():
            await new.migrations.apply()
            assert (await New.get("c")).size == 7
            device = new.device().public
        async with new.acting_as(guest):
            from debros.identity.did import did_of

            await new.revoke(did_of(device), keep=False)
            assert (await New.get("c")).size == 0
        assert [each.state for each in await new.migrations.states()] == ["pending"]


async def test_where_one_fails_others_go_on_if_that_is_asked_for(tmp_path: Path) -> None:
    @model(name="One", version="1.1.0")
    class One(Model):
        text: Field[str] = field(default="")

    @model(name="Two", version="1.1.0")
    class Two(Model):
        text: Field[str] = field(default="")

    steps = [
        migration("bad", "1.1.0").transform("One", up=dict).check(lambda db: False),
        migration("more", "1.1.0").transform("One", up=dict).depends_on("bad"),
        migration("good", "1.1.0").transform("Two", up=dict, down=dict),
    ]
    async with open_node(str(tmp_path / "h"), models=[One, Two], migrations=steps) as node:
        with pytest.raises(MigrationError):
            await node.migrations.apply()
        told = await node.migrations.apply(keep_going=True)
        assert [(step.name, step.state) for step in told] == [("bad", "pending"), ("good", "applied")]
        assert "failed" in told[0].warnings[0]
        assert (await node.migrations.get("good")).state == "applied"
        with pytest.raises(MigrationError, match="did you mean 'good'"):
            await node.migrations.get("god")
