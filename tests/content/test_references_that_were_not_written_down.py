"""What a node learned of content and could not write down, it writes down the next time: else it would let content go."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import debros
from debros import Field, File, Model, field, model
from debros.opening import open_node
from debros.pinning.rules import DAY_S
from tests.content.test_pins import Clock
from tests.support.cancelling import counted_checkpoints


@model()
class Letter(Model):
    scan: Field[File | None] = field(default=None)


@contextmanager
def no_room_behind(*paths: Path) -> Iterator[None]:
    """Let writes that make a file longer than these fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(map(os.path.getsize, paths)), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_sweep_that_is_cancelled_anywhere_loses_no_reference() -> None:
    for nth in range(20):
        clock = Clock()
        async with open_node(clock, None, ":memory:", models=[Letter], app="post", settings={"sweep_s": 1e6}) as db:
            file = await File.add(b"what only the last of many letters refers to")
            await Letter.create_many({"id": f"{n:04}"} for n in range(510))  # more than are written down at once
            await Letter.create(id="last", scan=file)
            with counted_checkpoints() as checkpoints:
                was_cancelled = await checkpoints.run(db.pins.learn, nth)
            clock.pass_(2 * DAY_S)
            await db.pins.sweep()
            assert await file.read() == b"what only the last of many letters refers to", f"cancelled at {nth}"
        if not was_cancelled:
            assert nth > 2
            return
    raise AssertionError("there are more checkpoints than were tried")


async def test_a_full_disk_under_the_ledger_is_an_error_of_ours_and_loses_no_reference(tmp_path: Path) -> None:
    clock = Clock()
    async with open_node(clock, None, tmp_path, models=[Letter], app="post", settings={"sweep_s": 1e6}) as db:
        files = [await File.add(bytes([n]) * 1000) for n in range(30)]
        await Letter.create_many({"scan": file} for file in files)
        names = ("pins.sqlite", "pins.sqlite-wal")
        with no_room_behind(*(tmp_path / name for name in names)):
            for _ in range(3):
                with pytest.raises(debros.StorageError, match=r"pins\.sqlite cannot be written"):
                    await db.pins.sweep()
        clock.pass_(2 * DAY_S)
        await db.pins.sweep()
        assert [await file.read() for file in files] == [bytes([n]) * 1000 for n in range(30)]
    async with open_node(clock, None, tmp_path, models=[Letter], app="post", settings={"sweep_s": 1e6}) as db:
        clock.pass_(2 * DAY_S)
        await db.pins.sweep()
        assert [await file.read() for file in files] == [bytes([n]) * 1000 for n in range(30)]
