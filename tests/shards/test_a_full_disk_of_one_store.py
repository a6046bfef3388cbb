"""The disk of one shard's store is full while the view moves there: nothing shows by halves, and all of it shows later."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import debros
from debros import Field, Model, hash_shards, model
from debros.node import Debros
from debros.opening import open as open_node
from debros.replica.arms import volume_key

LIMIT = 200_000  # bytes of a file: more than the home's view writes in one flush, less than the store's does


@model(name="FullNote", sharding=hash_shards("day", 1))
class Note(Model):
    day: Field[str]
    text: Field[str]


@contextmanager
def no_room_for_long_files(limit: int = LIMIT) -> Iterator[None]:
    """Let writes that make a file longer than the limit fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def fill(db: Debros, path: Path) -> None:
    await db.shards[Note].move(0, to=str(path))
    await Note.create_many({"day": "monday", "text": "x" * 4000} for _ in range(150))


async def test_a_flush_that_a_store_has_no_room_for_happens_as_a_whole_once_it_has(tmp_path: Path) -> None:
    async with open_node(tmp_path / "home", models=[Note], open=True) as db:
        await fill(db, tmp_path / "store")
        with no_room_for_long_files():
            for _ in range(2):
                with pytest.raises(debros.StorageError, match="full"):
                    await Note.count()
        assert await Note.count() == 150
        await Note.create(day="monday", text="and on")
        assert await Note.count() == 151


async def test_a_view_that_was_written_by_halves_says_so_and_is_whole_when_the_home_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(tmp_path / "home", models=[Note], open=True) as db:
        await fill(db, tmp_path / "store")
        view = db.store.view

        def mark_arms(mark: Callable[[], int]) -> None:  # the disk gets full just behind it
            for arm in view.arms_of("FullNote"):
                view.db.execute(f"REPLACE INTO {arm.schema}.meta VALUES ('mark', 7)")
                view.set_meta(volume_key("mark", arm.volume), 7)

        monkeypatch.setattr(view, "mark_arms", mark_arms)
        with no_room_for_long_files(), pytest.raises(debros.StorageError, match="open the node again"):
            await Note.count()
        with pytest.raises(debros.StorageError, match="open the node again"):
            await Note.create(day="monday", text="not now")
    async with open_node(tmp_path / "home", models=[Note], open=True):
        assert await Note.count() == 150


async def test_a_shard_whose_new_disk_has_no_room_for_its_rows_stays_where_it_was(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with open_node(home, models=[Note], open=True):
        await Note.create_many({"day": "monday", "text": "x" * 4000} for _ in range(150))
    log = (home / "log" / "000001.car").stat().st_size
    async with open_node(home, models=[Note], open=True) as db:
        with no_room_for_long_files(log + 100_000), pytest.raises(debros.StorageError, match="full"):
            await db.shards[Note].move(0, to=tmp_path / "store")
        assert await Note.count() == 150
        await Note.create(day="monday", text="and on")
        assert (home / "log" / "000001.car").stat().st_size > log, "it is in the home still"
        await db.shards[Note].move(0, to=tmp_path / "store")
        assert await Note.count() == 151
    async with open_node(home, models=[Note], open=True):
        assert await Note.count() == 151
