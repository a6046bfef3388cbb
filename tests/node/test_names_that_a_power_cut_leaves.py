"""Directories that are made for what must not be lost are synced with their names: a home, a shard's store, a backup."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from debros import Field, Model, hash_shards, model
from debros.cli.app import run
from debros.opening import open as open_node


@model(name="NamedByDay", sharding=hash_shards("day", 2))
class Note(Model):
    day: Field[str]


class Synced:
    """Files and directories that were synced; they are told by their number on the disk."""

    def __init__(self) -> None:
        self.numbers: set[int] = set()

    def has(self, *paths: Path) -> bool:
        return {path.stat().st_ino for path in paths} <= self.numbers


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Synced:
    found = Synced()
    real = os.fsync

    def fsync(descriptor: int) -> None:
        found.numbers.add(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return found


async def test_a_new_home_and_a_shards_new_store_keep_their_names(tmp_path: Path, synced: Synced) -> None:
    async with open_node(tmp_path / "apps" / "home", models=[Note], open=True) as db:
        assert synced.has(tmp_path, tmp_path / "apps", tmp_path / "apps" / "home")
        await Note.create(day="monday")
        await db.shards[Note].move(0, to=str(tmp_path / "disks" / "one"))
    assert synced.has(tmp_path / "disks", tmp_path / "disks" / "one")


async def test_what_backup_and_restore_call_done_is_on_the_disk(tmp_path: Path, synced: Synced) -> None:
    home, backup, again = tmp_path / "home", tmp_path / "backups" / "one", tmp_path / "restored" / "home"
    async with open_node(home, models=[Note], open=True):
        await Note.create(day="monday")
    assert run(["backup", str(backup), "--home", str(home), "--with-key", "--json"]) == 0
    assert synced.has(tmp_path, backup.parent, backup, *backup.rglob("*"))
    synced.numbers.clear()
    assert run(["restore", str(backup), "--home", str(again), "--json"]) == 0
    assert synced.has(tmp_path, again.parent, again, *again.rglob("*"))
