"""Growth: the same operations on homes of 10,000, 100,000 and 1,000,000 documents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import Final

from bench.document import Documents, Post
from bench.fresh import in_new_process
from bench.homes import ids_of, opened
from bench.measure import Action, in_turns
from bench.paths.get import GETS, get
from bench.paths.newest import QUERIES, newest
from bench.paths.reopen import open_ms
from bench.setting import Setting

OPENINGS: Final = 7
COUNTS: Final = 100  # in one turn


@dataclass(frozen=True)
class Grown:
    """What a home of some size costs; CPU microseconds where nothing else is said."""

    documents: int
    bulk_us: float  # to create one more, 1,000 an entry
    get_us: float  # not cached
    newest_us: float  # the 20 newest of an author
    count_us: float  # of an author's documents, about 100
    reopen_ms: float  # by the clock on the wall
    log_bytes: float  # of one document
    view_bytes: float
    private_mb: float  # of a process that opened it and got 2,000 records


async def grow(setting: Setting) -> list[Grown]:
    """Return the sizes, smallest first."""
    return [await _grown(setting, size) for size in setting.sizes]


async def _grown(setting: Setting, size: int) -> Grown:
    setting.say(f"growth: {size:,} documents")
    home = await setting.homes.of(size)
    log, view = _bytes(home / "log") / size, _bytes(home / "view.sqlite") / size
    reopened = [await open_ms(home) for _ in range(OPENINGS)]
    private = (await in_new_process("touch", home))["private_mb"]
    documents, random = Documents(size, seed=11), Random(12)
    async with opened(home):
        ids = iter((await ids_of(size))[: GETS * (setting.rounds + 1)])
    async with opened(home):
        costs = await in_turns(
            [
                Action("get", GETS, get, lambda: [next(ids) for _ in range(GETS)]),
                Action("newest", QUERIES, newest, lambda: random.sample(documents.authors, QUERIES)),
                Action("count", COUNTS, _count, lambda: random.sample(documents.authors, COUNTS)),
            ],
            setting.rounds,
        )
    async with setting.homes.growing(size):
        bulk = Action("bulk", 1000, Post.create_many, lambda: documents.many(1000))
        costs |= await in_turns([bulk], 9)
    return Grown(
        size, costs["bulk"].us, costs["get"].us, costs["newest"].us, costs["count"].us, median(reopened), log, view,
        private,
    )  # fmt: skip


async def _count(authors: list[str]) -> None:
    for author in authors:
        assert await Post.where(Post.author_id == author).count() > 0


def _bytes(path: Path) -> int:
    files = path.iterdir() if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files)
