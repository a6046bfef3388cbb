"""Ten thousand users with a log each, in one home: it opens at once, and holds no more of them than it needs."""

from __future__ import annotations

import os
from pathlib import Path

import debros
from debros import Field, Model, field, model
from debros.identity.keys import Identity
from debros.replica.entries import KEYS_KEPT
from debros.replica.logs import KEPT

USERS = 10_000


@model(scope="user", name="Diary")
class Diary(Model):
    text: Field[str]
    topic: Field[str] = field(default="", index="global")


async def test_ten_thousand_users_on_one_node(tmp_path: Path) -> None:
    sample = []
    async with debros.open(tmp_path, models=[Diary], durability="process") as db:
        for n in range(USERS):
            user = Identity.generate()
            async with db.acting_as(user):
                await Diary.create(text=str(n), topic=f"t{n % 1000}")
            if n % 500 == 0:
                sample.append(user)
    async with debros.open(tmp_path, models=[Diary]) as db:
        files = len(os.listdir("/proc/self/fd"))
        assert len(db.store.by_number._live) <= 8, "opening takes up no user's log"
        assert not db.store.keys._keys
        assert await Diary.query().all_users().count() == USERS
        assert len(await Diary.query().all_users().where(Diary.topic == "t7").all()) == 10
        assert len(await db.owners()) == USERS
        for n, user in enumerate(sample):
            assert [one.text for one in await Diary.query().where_user(user.did).all()] == [str(500 * n)]
            async with db.acting_as(user):
                await Diary.create(text="again")
        assert len(db.store.by_number._live) <= KEPT
        assert len(db.store.keys._keys) <= KEYS_KEPT
        assert len(os.listdir("/proc/self/fd")) <= files  # one less, if the view was still being mapped
