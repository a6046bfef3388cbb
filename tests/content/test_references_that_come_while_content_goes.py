"""A record that names content which nobody referred to any more keeps it, though a sweep that lets it go is under way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from debros import Field, File, Model, field, model, popularity
from debros.blocks.carstore import CarStore
from debros.opening import open_node
from debros.pinning import pins
from debros.pinning.rules import HOUR_S
from tests.content.test_pins import Clock

LARGE = b"a file of several blocks " * 200_000


@model()
class Paper(Model):
    scan: Field[File | None] = field(default=None)


@model(pinning=popularity(copies=(0, 2)))
class Photo(Model):
    picture: Field[File | None] = field(default=None)


def _between(monkeypatch: pytest.MonkeyPatch, moment: str, write: Callable[[], Awaitable[object]]) -> None:
    """Let a record be written once, at a moment of the next sweep."""
    is_written = False

    async def once() -> None:
        nonlocal is_written
        if not is_written:
            is_written = True
            await write()

    if moment == "judged":
        decided = pins.decided

        async def judged(*args: Any, **how: Any) -> Any:
            found = await decided(*args, **how)
            await once()
            return found

        monkeypatch.setattr(pins, "decided", judged)
    else:
        scan = CarStore.scan

        async def listed(store: CarStore) -> AsyncIterator[Any]:
            async for link in scan(store):
                yield link
            await once()

        monkeypatch.setattr(CarStore, "scan", listed)


@pytest.mark.parametrize("cls", [Paper, Photo])
@pytest.mark.parametrize("moment", ["judged", "listed"])
async def test_a_record_that_comes_while_a_sweep_lets_its_content_go_keeps_it(
    cls: Any, moment: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = Clock()
    name = "scan" if cls is Paper else "picture"

    async with open_node(clock, None, tmp_path, models=[Paper, Photo], app="album", settings={"sweep_s": 1e6}) as db:
        file = await File.add(LARGE)
        first = await cls.create(**{name: file})
        await db.pins.sweep()
        await first.update(**{name: None})
        await db.pins.sweep()
        clock.pass_(HOUR_S + 1)
        _between(monkeypatch, moment, lambda: cls.create(**{name: file}))
        for _ in range(3):
            await db.pins.sweep()
            assert await file.read() == LARGE
            clock.pass_(2 * HOUR_S)
        assert (await db.pins.status(file.cid)).state == "pinned"


async def test_content_that_went_is_gone_and_a_record_that_names_it_says_so(tmp_path: Path) -> None:
    clock = Clock()
    async with open_node(clock, None, tmp_path, models=[Paper], app="album", settings={"sweep_s": 1e6}) as db:
        file = await File.add(LARGE)
        clock.pass_(HOUR_S + 1)
        assert (await db.pins.sweep()).freed_bytes > 0
        await Paper.create(scan=file)
        assert (await db.pins.status(file.cid)).state != "pinned"
