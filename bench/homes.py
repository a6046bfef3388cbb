"""Homes and raw tables of a given size, made once and used by many measurements."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import debros
from bench.document import Documents, Post
from bench.yardsticks import RawTable, to_row
from debros.blocks.files import Files
from debros.env import SYSTEM
from debros.node import Debros, open_node


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

    async def make(self, size: int) -> Path:
        """Make a home of so many documents, 1,000 in each entry, and close it."""
        home = self.place()
        async with opened(home, durability="process"):
            for part in Documents(size).parts(size):
                await Post.create_many(part)
        return home

    async def of(self, size: int) -> Path:
        """Return the home of this size that measurements share: they read it, and write nothing to it."""
        if size not in self._made:
            self._made[size] = await self.make(size)
        return self._made[size]

    @asynccontextmanager
    async def growing(self, size: int) -> AsyncIterator[Documents]:
        """Open a new home of this size, on disk, that survives the end of the process; give documents to add."""
        async with opened(await self.make(size), durability="process"):
            yield Documents(size, seed=2)

    def raw(self, size: int) -> RawTable:
        """Return a table of this size."""
        table = RawTable(self.place())
        documents = Documents(size)
        for _ in range(0, size, 1000):
            table.insert([to_row(one) for one in documents.with_ids(min(size, 1000))])
        return table


async def ids_of(size: int) -> list[str]:
    """Return ids of the open home's documents, in an order that has nothing to do with theirs."""
    rows = await Post.query().select(Post.id).all()
    ids = [row[0] for row in rows]
    assert len(ids) == size, f"{len(ids)} documents, not {size}"
    debros.blocks  # noqa: B018
    return ids
