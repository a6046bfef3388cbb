"""Every call that a node makes to its log's disk fails, once or from then on for ever.

Savers get a `StorageError` and everything in memory is as before; what was acknowledged stays; when the home is opened
on a disk that is well again, all is fine. The view has a disk too, which may be full.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from debros.blocks.files import MemoryFiles
from debros.errors import StorageError
from debros.models.record import Model
from debros.node import Debros
from debros.replica import commit
from debros.testing.faults import CALLS, GROWING, FailingFiles
from tests.support.stories import Item, Memo, QuietEnv, Shown, Tally, a_node_on, forget_view, quick_directory, shown

Work = Callable[[], Awaitable[object]]
CHANGING = frozenset(("create", "makedirs", "replace", "remove", "pwrite", "truncate", "sync", "sync_dir"))


@dataclass
class Diary:
    """What a node was told, and what it was refused."""

    shown: Shown = field(default_factory=dict)  # as of the last time that something was acknowledged
    perhaps: list[Shown] = field(default_factory=list)  # what failed since then would have made of it
    refused: int = 0
    done: int = 0

    def allows(self, found: Shown) -> bool:
        """Whether a node may show this later: what was acknowledged, and of the rest whatever got to the disk."""
        places = {p for one in (found, self.shown, *self.perhaps) for p in one}
        return all(found.get(p) in [one.get(p) for one in (self.shown, *self.perhaps)] for p in places)


async def memory_of(db: Debros) -> dict[str, Any]:
    """What a failed write must leave as it was."""
    return {
        "shown": await shown(),
        "entries": db.store.entries.next_e,
        "heads": {replica.log_id: set(replica.heads) for replica in db.store.by_number.values() if replica.heads},
        "clocks": {replica.log_id: replica.clock for replica in db.store.by_number.values() if replica.heads},
    }


async def both(db: Debros, n: int) -> None:
    async with db.transaction():
        await Item.create(id=f"tx{n}", title=f"tx {n}")
        await Memo.create(id=f"tx{n}", text="beside it")


async def together() -> None:
    async with trio.open_nursery(strict_exception_groups=False) as nursery:
        for n in range(3):
            nursery.start_soon(lambda n=n: Item.create(id=f"w{n}", title=f"w {n}"))


async def live(db: Debros, diary: Diary) -> None:
    """Write one thing after the other, going on after failures; each is whole or not at all."""
    a = Item(id="a", title="first", n=2)
    m = Memo(id="m", text="mine")

    async def one(work: Work, would: Callable[[Shown], Shown], *records: Model) -> None:
        before = await memory_of(db)
        unsaved = [(record.is_new, record.changes) for record in records]
        try:
            await work()
        except StorageError:
            diary.refused += 1
            assert await memory_of(db) == before
            assert [(record.is_new, record.changes) for record in records] == unsaved
            diary.perhaps.append(would(diary.perhaps[-1] if diary.perhaps else diary.shown))
        else:
            diary.done += 1
            diary.shown, diary.perhaps = await shown(), [{**one, **(await shown())} for one in diary.perhaps]

    async def change(record: Model, **values: Any) -> None:
        for name, value in values.items():
            setattr(record, name, value)
        if not record.is_new:
            await record.save()

    item = lambda id, title, **v: (("Item", id), (id, title, v.get("text"), v.get("note"), frozenset(), v.get("n", 0)))
    await one(a.save, lambda s: s | dict([item("a", "first", n=2)]), a)
    await one(m.save, lambda s: s | {("Memo", "m"): ("m", "mine", 0)}, m)
    await one(lambda: change(a, note="kept"), lambda s: s | dict([item("a", "first", n=2, note="kept")]))
    await one(lambda: both(db, 1), lambda s: s | dict([item("tx1", "tx 1")]) | {("Memo", "tx1"): ("tx1", "beside it", 0)})
    many = [{"id": f"many{n}", "title": f"many {n}", "text": "x" * 900} for n in range(4)]
    await one(
        lambda: Item.create_many(many), lambda s: s | dict(item(o["id"], o["title"], text=o["text"]) for o in many)
    )
    await one(lambda: Tally.increment("t", n=1), lambda s: s | {("Tally", "t"): ("t", s.get(("Tally", "t"), ("t", 0))[1] + 1)})
    await one(m.delete if not m.is_new else nothing, lambda s: {p: v for p, v in s.items() if p != ("Memo", "m")})
    await one(lambda: Item.create(id="big", title="big", text="b" * 3000), lambda s: s | dict([item("big", "big", text="b" * 3000)]))
    await one(lambda: both(db, 2), lambda s: s | dict([item("tx2", "tx 2")]) | {("Memo", "tx2"): ("tx2", "beside it", 0)})
    await one(lambda: Tally.increment("t", n=1), lambda s: s | {("Tally", "t"): ("t", s.get(("Tally", "t"), ("t", 0))[1] + 1)})


async def nothing() -> None:
    pass
