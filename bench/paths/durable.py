"""Durable creates: 256 tasks that each create documents one after another, every create synced before it returns.

CPU time of the whole process for one create, the tasks' starting and ending in it. Syncs are counted where the log
asks the file system for them. Beside it: one signature. The rate is by time gone by, so it is the disk's as well.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from bench.document import Documents
from bench.homes import opened
from bench.measure import Action, Line, against, in_turns
from bench.paths.create import create_each
from bench.setting import Setting
from bench.yardsticks import signing
from debros.blocks.files import DiskFiles, DiskHandle

TASKS: Final = 256
EACH: Final = 8  # creates of one task in a turn
SAVES_PER_SYNC: Final = 100


class CountingFiles(DiskFiles):
    """The disk, counting syncs."""

    def __init__(self) -> None:
        self.syncs = 0

    def open(self, path: str, *, create: bool = False, write: bool = True) -> DiskHandle:
        return _Counting(super().open(path, create=create, write=write), self)


class _Counting(DiskHandle):
    def __init__(self, handle: DiskHandle, files: CountingFiles) -> None:
        super().__init__(handle._fd)
        self._files = files

    def sync(self) -> None:
        self._files.syncs += 1
        super().sync()


async def _run(given: list[list[dict[str, Any]]]) -> None:
    async with trio.open_nursery() as nursery:
        for share in given:
            nursery.start_soon(create_each, share)


async def measure(setting: Setting) -> list[Line]:
    """Return the lines: cost, and saves per sync."""
    files = CountingFiles()
    home = await setting.homes.copy(setting.size)
    documents = Documents(setting.size, seed=2)
    async with opened(home, files):
        files.syncs = 0
        create = Action("create", TASKS * EACH, _run, lambda: [documents.many(EACH) for _ in range(TASKS)])
        costs = await in_turns([create, signing()], setting.rounds)
        saves = TASKS * EACH * (setting.rounds + 1) / files.syncs
    cost = costs["create"]
    return [
        against(
            "durable create, 256 tasks", cost, "one signature", costs["signature"], 3.5, per_second=1e6 / cost.wall_us
        ),
        Line(
            "durable create, saves per sync", saves, "saves", target=f">= {SAVES_PER_SYNC}", met=saves >= SAVES_PER_SYNC
        ),
    ]
