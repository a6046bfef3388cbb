"""Every call that a node makes to its log's disk fails, once or from then on for ever.

Savers get a `StorageError` and everything in memory is as before; what was acknowledged stays; when the home is opened
on a disk that is well again, all is fine. The view has a disk too, which may be full.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
import trio

from debros.blocks.files import MemoryFiles
from debros.errors import StorageError
from debros.identity.keys import Identity
from debros.models.record import Model
from debros.node import Debros
from debros.replica import commit
from debros.testing.faults import CALLS, GROWING, FailingFiles
from tests.support.stories import (
    Item,
    Memo,
    Place,
    QuietEnv,
    Shown,
    Tally,
    a_node_on,
    forget_view,
    quick_directory,
    shown,
)

CHANGING = frozenset(("create", "makedirs", "replace", "remove", "pwrite", "truncate", "sync", "sync_dir"))
BIG = "b" * 2500


class Task(NamedTuple):
    """A write that depends on none of the others, and the records whose memory it may change."""

    work: Callable[[], Awaitable[object]]
    records: tuple[Model, ...] = ()
    is_whole: bool = True  # after a power cut or a failure; a bulk write comes in parts


async def prepare() -> None:
    await Item.create_many({"id": id, "title": id, "n": 1, "tags": {"x"}} for id in ("a", "b", "c", "d"))
    await (await Item.get("c")).delete()
    await Memo.create(id="m", text="mine")


async def tasks(db: Debros) -> list[Task]:
    a, b, c, m = await Item.get("a"), await Item.get("b"), await Item.get("c", deleted=True), await Memo.get("m")
    new, d = Item(id="new", title="new"), await Item.get("d")
    a.note, a.n = "kept", a.n + 5
    a.tags.add("y")
    m.text = "changed"
    many = [Item(id=f"many{n}", title=f"many {n}") for n in range(5)]

    async def both() -> None:
        async with db.transaction():
            await Item.create(id="tx", title="tx")
            await Memo.create(id="tx", text="beside it")
            d.n += 1
            await d.save()

    async def together() -> None:
        errors: list[StorageError] = []

        async def save(n: int) -> None:
            try:
                await Item.create(id=f"w{n}", title=f"w {n}")
            except StorageError as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            for n in range(3):
                nursery.start_soon(save, n)
        assert len(errors) in (0, 3)  # one group
        if errors:
            raise errors[0]

    return [
        Task(new.save, (new,)),
        Task(a.save, (a,)),
        Task(b.delete, (b,)),
        Task(both),
        Task(lambda: Item.create(id="big", title="big", text=BIG)),
        Task(c.restore, (c,)),
        Task(lambda: Item.create_many(many), tuple(many), is_whole=False),
        Task(lambda: Item.create(id="big2", title="big2", text=BIG)),
        Task(lambda: Tally.increment("t", n=3)),
        Task(together, is_whole=False),
        Task(m.save, (m,)),
    ]


def changes(before: Shown, after: Shown) -> Shown:
    """Places that differ, as they are after; an empty tuple where nothing shows any more."""
    return {place: after.get(place, ()) for place in {*before, *after} if before.get(place) != after.get(place)}


async def in_memory(db: Debros, records: tuple[Model, ...]) -> dict[str, Any]:
    """What a failed write must leave as it was."""
    replicas = [replica for replica in db.store.by_number.values() if replica.heads]
    return {
        "shown": await shown(),
        "entries": db.store.entries.next_e,
        "heads": {replica.log_id: (set(replica.heads), replica.clock) for replica in replicas},
        "records": [(record.is_new, record.changes, record.to_dict()) for record in records],
    }


class Home:
    """A home with some records in it, on a disk that will fail."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.disk = MemoryFiles()

    async def begin(self) -> None:
        async with a_node_on(self.disk, self.path):
            await prepare()

    async def expected(self) -> list[tuple[Task, Shown]]:
        """What each task changes, on a healthy copy of the disk."""
        copy = MemoryFiles()
        copy.files = {path: bytearray(content) for path, content in self.disk.files.items()}
        copy.directories = set(self.disk.directories)
        found = []
        async with a_node_on(copy, self.path) as db:
            for task in await tasks(db):
                before = await shown()
                await task.work()
                found.append((task, changes(before, await shown())))
        forget_view(self.path)
        return found


async def run(home: Home, failing: FailingFiles, arm: Callable[[], None]) -> tuple[Shown, list[bool]]:
    """Do all tasks on a disk that fails from some call on; return what was there before, and which were acknowledged."""
    done: list[bool] = []
    before: Shown = {}
    with suppress(StorageError):  # of closing: there is something that it cannot sync
        async with a_node_on(failing, home.path) as db:
            before = await shown()
            todo = await tasks(db)
            arm()
            for task in todo:
                was = await in_memory(db, task.records)
                try:
                    await task.work()
                except StorageError:
                    done.append(False)
                    assert await in_memory(db, task.records) == was
                else:
                    done.append(True)
                    assert all(not record.is_new and not record.changes for record in task.records)
                with suppress(StorageError):
                    await (await Item.get("a")).history()
    return before, done


def check(found: Shown, before: Shown, expected: list[tuple[Task, Shown]], done: list[bool]) -> None:
    """What was acknowledged shows; what was refused shows as a whole or not at all; the rest is as it was."""
    touched: set[Place] = set()
    for (task, changed), was_done in zip(expected, done, strict=True):
        after = [found.get(place, ()) == value for place, value in changed.items()]
        was = [found.get(place, ()) == before.get(place, ()) for place in changed]
        assert all(a or b for a, b in zip(after, was, strict=True))
        if was_done:
            assert all(after)
        elif task.is_whole:
            assert all(after) or all(was)
        touched |= changed.keys()
    assert {p: v for p, v in found.items() if p not in touched} == {p: v for p, v in before.items() if p not in touched}


KINDS = [(errno.EIO, CALLS), (errno.ENOSPC, GROWING), (errno.EROFS, CHANGING)]


@pytest.mark.parametrize(("code", "on"), KINDS, ids=["any call", "a full disk", "read-only"])
@pytest.mark.parametrize("forever", [False, True], ids=["once", "for ever"])
async def test_whatever_call_fails_a_node_keeps_its_promises(
    forever: bool, code: int, on: frozenset[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "MAX_PART", 2)
    with quick_directory() as folder:
        home = Home(folder)
        await home.begin()
        start = {path: bytes(content) for path, content in home.disk.files.items()}
        expected = await home.expected()
        refused: list[int] = []
        nth = 0
        while True:
            nth += 1
            home.disk.files = {path: bytearray(content) for path, content in start.items()}
            forget_view(folder)
            failing = FailingFiles(home.disk, short_writes=Random(nth) if nth % 2 else None)
            before, done = await run(home, failing, partial(failing.arm, nth, forever=forever, code=code, on=on))
            if nth % 2:
                forget_view(folder)
            async with a_node_on(home.disk, folder, env=QuietEnv(5)):
                found = await shown()
                check(found, before, expected, done)
                await Item.create(id="later", title="later")
                found = await shown()
            forget_view(folder)
            async with a_node_on(home.disk, folder, env=QuietEnv(6)):
                assert await shown() == found
            refused.append(done.count(False))
            if failing.calls < nth:
                break
            if not forever and False in done:
                first = done.index(False)
                assert not any(done[first:]) or all(done[first + 1 :])  # it goes on, or refuses until opened again
            if forever and code != errno.EIO:
                assert not any(done[done.index(False) :])
        assert nth > 20
        assert max(refused) > 0
        assert refused[-1] == 0


@pytest.mark.parametrize("forever", [False, True], ids=["once", "for ever"])
async def test_whatever_call_fails_while_a_home_is_opened_it_is_refused_or_whole(forever: bool) -> None:
    with quick_directory() as folder:
        home = Home(folder)
        await home.begin()
        start = {path: bytes(content) for path, content in home.disk.files.items()}
        last = f"{folder}/log/{max(name.rpartition('/')[2] for name in start)}"
        refusals = nth = 0
        while True:
            nth += 1
            home.disk.files = {path: bytearray(content) for path, content in start.items()}
            home.disk.files[last] += b"\x85torn"  # so that there is something to cut
            forget_view(folder)
            failing = FailingFiles(home.disk, nth, forever=forever)
            try:
                async with a_node_on(failing, folder):
                    found = await shown()
            except StorageError:
                refusals += 1
            else:
                assert {place for place in found if place[0] == "Item"} == {("Item", id) for id in "abd"}
            async with a_node_on(home.disk, folder):
                assert {item.id for item in await Item.all()} == set("abd")
                await Item.create(id="new", title="new")
            if failing.calls < nth:
                break
        assert refusals > 10


async def test_a_view_whose_disk_is_full_takes_no_write_and_catches_up(tmp_path: Path) -> None:
    """What cannot be moved into the view stays in memory; writes are refused once it is known that it cannot."""
    files = MemoryFiles()
    async with a_node_on(files, tmp_path, flush_rows=20) as db:
        await prepare()
        await db.fingerprint()
        limit = db.store.view.db.execute("PRAGMA page_count").get
        db.store.view.db.execute(f"PRAGMA max_page_count = {limit}")
        acknowledged: list[str] = []
        refused: list[str] = []
        for n in range(200):
            try:
                await Item.create(id=f"i{n}", title=f"i {n}", text="x" * 300)
            except StorageError as error:
                refused.append(str(error))
            else:
                acknowledged.append(f"i{n}")
            if acknowledged:
                assert (await Item.get(acknowledged[-1])).title
        assert refused
        assert all("full" in text for text in refused)
        assert acknowledged
        assert "full" in db.status().last_failure
        with pytest.raises(StorageError, match="full"):
            await Item.count()
        db.store.view.db.execute("PRAGMA max_page_count = 1000000")
        await Item.create(id="i", title="after")
        assert await Item.count() == 4 + len(acknowledged)
        assert db.status().last_failure == ""
        fingerprint = await db.fingerprint()
    forget_view(tmp_path)
    async with a_node_on(files, tmp_path) as db:
        assert await db.fingerprint() == fingerprint


async def test_whatever_read_fails_while_a_right_is_taken_or_given_the_records_follow_once_the_disk_is_well(
    tmp_path: Path,
) -> None:
    ana, bo = Identity.generate(), Identity.generate()
    failing = FailingFiles(MemoryFiles())
    async with a_node_on(failing, tmp_path, identity=ana, admins=[ana.did]) as db:
        await db.grant(bo.did)
        await Item.create(id="of ana", title="of ana")
        without = await shown()
        async with db.acting_as(bo):
            for n in range(3):
                await (await Item.create(id=f"i{n}", title=f"{n}")).update(text="edited")
        with_bo = await shown()
        failures = 0
        for change, expected in ((partial(db.revoke, keep=False), without), (db.grant, with_bo)) * 8:
            nth = failures // 2 + 1
            failing.arm(nth, on=("pread",))
            with suppress(StorageError):
                await change(bo.did)
                await shown()
            failures += failing.calls >= nth
            failing.arm(())
            await change(bo.did)
            assert await shown() == expected
        assert failures > 6
