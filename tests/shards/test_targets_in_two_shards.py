"""A record refers to an id that two shards have had: its target is gone only where it is in both, however they came."""

from __future__ import annotations

from pathlib import Path

import pytest

from debros import Field, Model, One, belongs_to, field, model, range_shards
from debros.node import Debros
from debros.opening import open as open_node
from tests.support.copying import carry


@model(scope="global", sharding=range_shards("n", [10]))
class Room(Model):
    """What moves to another shard by being made anew."""

    n: Field[int] = field(default=0)


@model(scope="global")
class Guest(Model):
    """What goes with its room, and what outlives it."""

    room_id: Field[str | None] = field(default=None)
    room: One[Room | None] = belongs_to("room_id", on_delete="cascade")
    last_id: Field[str | None] = field(default=None)
    last: One[Room | None] = belongs_to("last_id", on_delete="set_null")


async def guests() -> list[tuple[str | None, str | None]]:
    return [(guest.room_id, guest.last_id) for guest in await Guest.all()]


@pytest.mark.parametrize("inside", [False, True])
async def test_what_went_with_its_target_is_back_once_another_shard_has_it(tmp_path: Path, inside: bool) -> None:
    async with open_node(tmp_path, models=[Room, Guest], open=True) as db:
        room = await Room.create(id="a", n=1)
        await Guest.create(room_id="a", last_id="a")
        await Guest.create(last_id="a")
        await room.delete()
        assert await guests() == [(None, None)]
        if inside:
            async with db.transaction():
                await Room.create(id="a", n=20)
                assert await guests() == [("a", "a"), (None, "a")]
        else:
            await Room.create(id="a", n=20)
        assert await guests() == [("a", "a"), (None, "a")]
        shown = await db.fingerprint()
    for path in tmp_path.glob("view.sqlite*"):
        path.unlink()
    async with open_node(tmp_path, models=[Room, Guest], open=True) as db:
        assert await db.fingerprint() == shown
        await (await Room.get("a")).delete()
        assert await guests() == [(None, None)]


async def test_peers_agree_whatever_came_first() -> None:
    async with (
        open_node(":memory:", models=[Room, Guest], open=True) as one,
        open_node(":memory:", models=[Room, Guest], open=True) as two,
        open_node(":memory:", models=[Room, Guest], open=True) as late,
    ):
        with one.current():
            room = await Room.create(id="a", n=1)
            await Guest.create(room_id="a", last_id="a")
            await room.delete()
        with two.current():
            await Room.create(id="a", n=20)
        await carry(one, late)
        with late.current():
            assert await guests() == []
        await meet(one, two, late)
        for node in (one, two, late):
            with node.current():
                assert await guests() == [("a", "a")]
        assert len({await node.fingerprint() for node in (one, two, late)}) == 1


async def meet(*nodes: Debros) -> None:
    for here in nodes:
        for there in nodes:
            if here is not there:
                await carry(here, there)
