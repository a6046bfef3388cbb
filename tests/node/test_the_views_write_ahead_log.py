"""The view's write-ahead log is moved into its file while the node is open, so neither disk nor readers carry it on."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

import debros
from debros import Field, Model, field, model
from debros.replica import store as stores
from debros.replica.viewfile import ViewFile

PAGES = 50


@model(scope="global", name="Paged")
class Paged(Model):
    number: Field[int] = field(index=True)
    text: Field[str]


async def write(rounds: int, home: Path) -> list[int]:
    """Write and flush, and return the size of the write-ahead log after each round."""
    sizes = []
    for n in range(rounds):
        await Paged.create_many([{"number": 7919 * k % 1000, "text": f"{n} {k} " * 20} for k in range(60)])
        assert await Paged.where(Paged.number == -1).count() == 0  # which flushes
        sizes.append((home / "view.sqlite-wal").stat().st_size)
    return sizes


async def test_it_does_not_grow_with_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "WAL_PAGES", PAGES)
    async with debros.open(tmp_path, models=[Paged]):
        sizes = await write(30, tmp_path)
        assert max(sizes) <= 3 * PAGES * 4120
        assert await Paged.count() == 1800


async def test_a_disk_that_refuses_it_keeps_nobody_from_reading_or_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "WAL_PAGES", PAGES)
    async with debros.open(tmp_path, models=[Paged]) as node:
        with monkeypatch.context() as patch:

            def refuse(view: ViewFile) -> None:
                raise view.failure(apsw.FullError("FullError: database or disk is full"))

            patch.setattr(ViewFile, "checkpoint", refuse)
            await write(5, tmp_path)
            assert node.store.flush_failure is not None
        before = (tmp_path / "view.sqlite").stat().st_size
        await write(2, tmp_path)
        assert node.store.flush_failure is None
        assert (tmp_path / "view.sqlite").stat().st_size > before
        assert await Paged.count() == 420
