"""Homes and raw tables of a given size, made once and used by many measurements."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from bench.document import Documents, Post
from bench.yardsticks import RawTable, to_row
from debros.blocks.files import Files
from debros.env import SYSTEM
from debros.node import Debros
from debros.opening import open_node


def opened(home: Path, files: Files | None = None, **settings: Any) -> AbstractAsyncContextManager[Debros]:
    """Open a home with the one model; nothing is set but what is given."""
    return open_node(SYSTEM, files, home, models=[Post], settings=settings)


class Homes:
    """Homes in one directory, which the caller removes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._made: dict[int, Path] = {}
        self._fresh = 0

    def place(self) -> Path:
        """Return a new path in the directory."""
        self._fresh += 1
        return self.directory / f"{self._fresh:03}"

    async def _make(self, size: int) -> Path:
        """Make a home of so many documents, 1,000 in each entry, and close it."""
        home = self.place()
        async with opened(home, durability="process"):
            for part in Documents(size).parts(size):
                await Post.create_many(part)
        return home

    async def of(self, size: int) -> Path:
        """Return the home of this size that measurements share: they read it, and write nothing to it."""
        if size not in self._made:
            self._made[size] = await self._make(size)
        return self._made[size]

    async def copy(self, size: int) -> Path:
        """Return a home of this size to write to."""
        home = self.place()
        shutil.copytree(await self.of(size), home)
        return home

    @asynccontextmanager
    async def growing(self, size: int) -> AsyncIterator[Documents]:
        """Open a home of this size, whose writes survive the end of the process; give documents to add."""
        home = await self.copy(size)
        async with opened(home, durability="process"):
            yield Documents(size, seed=2)
        shutil.rmtree(home)

    def raw(self, size: int) -> RawTable:
        """Return a table of this size."""
        table = RawTable(self.place())
        for part in Documents(size).parts(size, with_ids=True):
            table.insert([to_row(one) for one in part])
        return table


async def ids_of(size: int) -> list[str]:
    """Return the ids of the open home's documents, shuffled."""
    ids = [id for (id,) in await Post.query().select(Post.id).all()]
    assert len(ids) == size, f"{len(ids)} documents, not {size}"
    Random(3).shuffle(ids)
    return ids
