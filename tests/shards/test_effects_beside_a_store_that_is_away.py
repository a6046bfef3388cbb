"""`on_delete` while the store of a shard is away: what is here follows its target, and the rest does once it is back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import debros
from debros import Field, Model, One, belongs_to, field, hash_shards, model

SHARDS = 3


@model(scope="global")
class Album(Model):
    name: Field[str] = field(default="")


def song(on_delete: Any) -> Any:
    @model(scope="global", sharding=hash_shards("singer", SHARDS))
    class Song(Model):
        singer: Field[str]
        album_id: Field[str | None]
        album: One[Album | None] = belongs_to("album_id", on_delete=on_delete)

    return Song


async def told(songs: Any) -> tuple[int, int]:
    """Return how many songs show here, and how many of them tell their album."""
    found = await songs.query().allow_partial().all()
    return len(found), sum(each.album_id is not None for each in found)


@pytest.mark.parametrize("on_delete", ["cascade", "set_null"])
@pytest.mark.parametrize("other", ["cascade", "set_null"])
async def test_a_target_is_restored_while_the_store_is_away(on_delete: Any, other: Any, tmp_path: Path) -> None:
    home, placement = tmp_path / "home", {"Song": {1: tmp_path / "shard"}}
    first, then = song(on_delete), song(other)
    async with debros.open(home, models=[Album, first], placement=placement) as db:
        album = await Album.create()
        for n in range(12):
            await first.create(singer=f"singer {n}", album_id=album.id)
        there = sum(db.shards[first].for_key(f"singer {n}") == 1 for n in range(12))
        assert 0 < there < 12
        await album.delete()
        assert await told(first) == ((0, 0) if on_delete == "cascade" else (12, 0))
    (tmp_path / "shard").rename(tmp_path / "unplugged")
    async with debros.open(home, models=[Album, then]) as db:
        assert not db.status().rebuilt
        here = 12 - there
        assert await told(then) == ((0, 0) if other == "cascade" else (here, 0))
        await (await Album.get(album.id, deleted=True)).restore()
        assert await told(then) == (here, here)
    (tmp_path / "unplugged").rename(tmp_path / "shard")
    async with debros.open(home, models=[Album, then]):
        assert await told(then) == (12, 12)
