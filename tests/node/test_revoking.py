"""An admin revokes a user whose own log this node holds as well: there the admin has no say, and need not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import trio
import trio.testing

import debros
from debros import Field, Identity, Model, hash_shards, model
from tests.support.copying import carry
from tests.support.nodes import a_node


@model(scope="global")
class Notice(Model):
    text: Field[str]


@model(scope="user")
class Draft(Model):
    text: Field[str]


@model(scope="global", sharding=hash_shards("id", 2))
class Spread(Model):
    text: Field[str]


@pytest.mark.parametrize("own_first", [False, True])  # the logs are looked at in the order of their first use
async def test_a_user_is_revoked_where_the_admin_has_a_say(own_first: bool) -> None:
    admin, bo = Identity.generate(), Identity.generate()
    async with a_node(Notice, Draft, identity=admin, admins=[admin.did]) as db:
        async with db.acting_as(bo):
            if own_first:
                await Draft.create(text="by bo")
            await Notice.create(text="by bo")
            await Draft.create(text="by bo")
        await db.revoke(bo.did, keep=False)
        assert await Notice.count() == 0
        async with db.acting_as(bo):
            with pytest.raises(debros.PermissionDeniedError, match="revoked"):
                await Notice.create(text="again")
            await Draft.create(text="in a log of his own")
            assert await Draft.count() == 2 + own_first


async def test_who_has_a_say_nowhere_is_refused() -> None:
    admin, bo, cy = Identity.generate(), Identity.generate(), Identity.generate()
    async with a_node(Notice, Draft, identity=cy, admins=[admin.did]) as db:
        async with db.acting_as(bo):
            await Notice.create(text="by bo")
            await Draft.create(text="by bo")
        before = db.status().entries
        with pytest.raises(debros.PermissionDeniedError, match="only an admin revokes a user"):
            await db.revoke(bo.did)
        assert db.status().entries == before


async def test_two_devices_of_a_user_in_one_home_write_under_their_own_keys() -> None:
    admin, bo = Identity.generate(), Identity.generate()
    phone, laptop = bo.new_device(), bo.new_device()
    async with a_node(Notice, identity=admin, admins=[admin.did]) as db:
        for device in (bo, phone, laptop):
            async with db.acting_as(device):
                await Notice.create(text="by one of them")
        async with db.acting_as(bo):
            await db.revoke(phone.key_did, keep=False)
        assert await Notice.count() == 2
        async with db.acting_as(phone):
            with pytest.raises(debros.PermissionDeniedError, match="revoked"):
                await Notice.create(text="by a lost phone")
        async with db.acting_as(laptop):
            await Notice.create(text="by the laptop")


async def test_what_is_being_written_when_its_user_is_revoked_counts_on() -> None:
    admin, bo = Identity.generate(), Identity.generate()
    async with a_node(Notice, identity=admin, admins=[admin.did]) as db:
        await db.grant(bo.did)
        begun, asked = trio.Event(), trio.Event()

        async def write() -> None:
            async with db.acting_as(bo), db.transaction():
                await Notice.create(text="by bo")
                begun.set()
                await asked.wait()
                await trio.testing.wait_all_tasks_blocked()  # the revocation waits for the log

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await begun.wait()
            nursery.start_soon(db.revoke, bo.did)
            asked.set()
        assert await Notice.count() == 1, "it was acknowledged before the revocation was written"
        async with db.acting_as(bo):
            with pytest.raises(debros.PermissionDeniedError, match="revoked"):
                await Notice.create(text="again")


async def test_all_that_a_key_wrote_in_two_homes_counts_on(tmp_path: Path) -> None:
    admin, bo = Identity.generate(), Identity.generate()
    who = {"models": [Notice], "admins": [admin.did], "open": True}
    async with debros.open(tmp_path / "one", identity=bo, **who) as db:
        await Notice.create(text="before")
    shutil.copytree(tmp_path / "one", tmp_path / "two")  # and so the device's key
    async with (
        a_node(Notice, identity=admin, admins=[admin.did]) as db,
        debros.open(tmp_path / "one", identity=bo, **who) as one,
        debros.open(tmp_path / "two", identity=bo, **who) as two,
    ):
        for home, count in ((one, 1), (two, 2)):
            with home.current():
                for n in range(count):
                    await Notice.create(text=f"behind {n}")
            await carry(home, db)
        with db.current():
            assert await Notice.count() == 4
            await db.revoke(bo.did)
            assert await Notice.count() == 4
            await db.revoke(bo.did, keep=False)
            assert await Notice.count() == 0


@pytest.mark.parametrize(("by_admin", "met"), [(False, True), (True, True), (True, False)])
async def test_a_lost_device_writes_nowhere_any_more(by_admin: bool, met: bool) -> None:
    admin, bo = Identity.generate(), Identity.generate()
    phone = bo.new_device()
    async with a_node(Notice, Draft, Spread, identity=bo, admins=[bo.did if by_admin else admin.did]) as db:
        async with db.acting_as(phone):
            if met:
                await Notice.create(text="by the phone")
        await db.revoke(phone.key_did)
        async with db.acting_as(phone):
            for cls in (Notice, Draft, Spread):
                with pytest.raises(debros.PermissionDeniedError, match="revoked"):
                    await cls.create(text="by who has it now")
        for cls in (Notice, Draft, Spread):
            await cls.create(text="by the laptop")


@pytest.mark.parametrize("open", [False, True])
async def test_who_was_revoked_does_not_write_to_shards_that_are_new(open: bool) -> None:
    admin, bo, cy = Identity.generate(), Identity.generate(), Identity.generate()
    async with a_node(Spread, identity=admin, admins=[admin.did], open=open) as db:
        for user in (bo, cy):
            await db.grant(user.did)
        async with db.acting_as(bo):
            await Spread.create(text="by bo")
        await db.revoke(bo.did)
        await db.shards[Spread].resize(3)
        entries = db.status().entries
        await db.shards[Spread].resize(3)
        assert db.status().entries == entries, "repeating it is harmless"
        for n in range(8):
            async with db.acting_as(bo):
                with pytest.raises(debros.PermissionDeniedError):
                    await Spread.create(id=f"bo-{n}", text="again")
            async with db.acting_as(cy):
                await Spread.create(id=f"cy-{n}", text="by cy")
        assert await Spread.count() == 9
        await db.grant(bo.did)
        async with db.acting_as(bo):
            for n in range(8):
                await Spread.create(id=f"bo-{n}", text="again")


async def test_what_was_written_behind_a_revocation_is_let_in_by_none_that_follows() -> None:
    admin, bo = Identity.generate(), Identity.generate()
    async with (
        a_node(Notice, identity=admin, admins=[admin.did]) as here,
        a_node(Notice, identity=bo, admins=[admin.did]) as there,
    ):
        with there.current():
            await Notice.create(text="before")
        await carry(there, here)
        await here.revoke(bo.did)
        with there.current():  # who has not heard of it, or does not want to
            await Notice.create(text="behind")
        await carry(there, here)
        for keep in (True, True, False, True):
            with here.current():
                assert [notice.text for notice in await Notice.all()] == ["before"]
            await here.revoke(bo.did, keep=keep)
            if not keep:
                break
        await here.revoke(bo.did)
        with here.current():
            assert await Notice.count() == 0, "and what counts no more is not brought back but by a grant"
        await here.grant(bo.did)
        with here.current():
            assert await Notice.count() == 2
