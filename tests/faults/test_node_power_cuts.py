"""Power cuts behind every call that a node makes to its log's disk, with every view that may be found beside it.

The laws: the node opens; every acknowledged write shows; nothing shows that was not written; transactions are whole
or absent; counters are the sums of what was acknowledged, with or without what was under way; a further write
works; and what shows then is what the log alone says.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pytest

from debros.blocks.files import MemoryFiles
from debros.node import Debros
from debros.replica import commit
from debros.testing.faults import FailingFiles, RecordingFiles
from tests.support.stories import (
    Item,
    Memo,
    QuietEnv,
    Story,
    Tally,
    a_node_on,
    forget_view,
    put_view,
    quick_directory,
    shown,
)


async def begin(story: Story, db: Debros) -> None:
    """One write after the other."""
    await story.step(Item.create(id="a", title="first", n=5, tags={"x"}))
    await story.step(Memo.create(id="m", text="mine"))
    a = await Item.get("a")
    a.n += 2
    a.tags.add("y")
    await story.step(a.update(text="changed", note="kept"))
    await story.step(Tally.increment("t", n=3))
    story.keep_view()
    await story.step(Item.create(id="b", title="second", text="b" * 1500))
    await story.step((await Item.get("b")).delete())
    await story.step(both_logs(db, "c", 7))
    await story.step(
        Item.create_many({"id": f"many{n}", "title": f"many {n}"} for n in range(8)),
        *([("Item", f"many{n}") for n in part] for part in ([0, 1, 2], [3, 4, 5], [6, 7])),
    )
    story.keep_view()
    await story.step(Tally.increment("t", n=4))


async def go_on(story: Story, db: Debros) -> None:
    """Restores, tasks at once, a transaction that changes what is there."""
    await story.step((await Item.get("b", deleted=True)).restore())
    await story.at_once(
        *((lambda n=n: Item.create(id=f"w{n}", title=f"w {n}"), [("Item", f"w{n}")]) for n in range(4)),
        (lambda: Memo.create(id="wm", text="of a task"), [("Memo", "wm")]),
        (lambda: both_logs(db, "d", 1), [("Item", "d"), ("Memo", "d")]),
        *((lambda n=n: Tally.increment("t", n=2**n), []) for n in range(4)),
        sums=[("Tally", "t")],
    )
    story.keep_view()
    await story.step(change_all(db))
    await story.step((await Memo.get("m")).delete())
    await story.step((await Item.get("a")).update(text="a" * 3000))


async def both_logs(db: Debros, id: str, n: int, first: int = 0, second: int = 0) -> None:
    async with db.transaction():
        await Item.create(id=id, title=f"of {id}", n=n, text="i" * first)
        await Memo.create(id=id, text="beside it" + "m" * second, n=n)


async def change_all(db: Debros) -> None:
    async with db.transaction():
        for item in await Item.query().where("n", ">", 0).all():
            item.n += 1
            await item.save()
        for memo in await Memo.all():
            await memo.update(text=memo.text + "!")


async def tell(story: Story, seed: int) -> None:
    """Write, close, open again, and go on; the last node is left without being closed, as far as the log knows."""
    async with a_node_on(story.disk, story.home, env=QuietEnv(seed)) as db:
        await begin(story, db)
    async with a_node_on(story.disk, story.home, env=QuietEnv(seed + 100)) as db:
        await go_on(story, db)


async def check(
    story: Story, done: int, found: MemoryFiles, view: Path | None, *, is_sound: bool | None, fully: bool
) -> None:
    """Open what was found and look; `fully`: write, too, and open it again without a view."""
    put_view(story.home, view)
    async with a_node_on(found, story.home, env=QuietEnv(1000)) as db:
        assert db.status().rebuilt is not is_sound  # None: it may be noticed, or just end earlier
        now = await shown()
        story.check(now, done)
        if not fully:
            return
        await Item.create(id="later", title="later")
        await Memo.create(id="later", text="later")
        now = await shown()
        fingerprint = await db.fingerprint()
        damage = [finding for finding in db.status().findings if "state='damaged'" in finding]
    forget_view(story.home)
    async with a_node_on(found, story.home, env=QuietEnv(1001)) as db:
        assert await shown() == now
        assert await db.fingerprint() == fingerprint
        assert list(db.status().findings) == damage  # what is torn was cut


def damaged(copy: Path, random: Random) -> Path:
    """Damage a copy of a view so that it is noticed, or its write-ahead log so that it ends earlier."""
    for name in copy.iterdir():
        content = bytearray(name.read_bytes())
        if not content:
            continue
        kind = random.choice(["end", "beginning", "gone"])
        if kind == "end":
            del content[random.randrange(len(content)) :]
        elif kind == "beginning":
            content[:100] = random.randbytes(100)
        else:
            content.clear()
        name.write_bytes(content)
    return copy


def some_view(story: Story, done: int, random: Random) -> tuple[Path | None, bool | None]:
    """No view, one as it was once, or a damaged one; and whether it is one to be kept, `None` for perhaps."""
    before = [copy for at, copy in story.views if at <= done]
    kind = random.choice(["none", "old", "old", "damaged"]) if before else "none"
    if kind == "none":
        return None, False
    copy = random.choice(before)
    if kind == "old":
        return copy, True
    shutil.rmtree(story.shelf / "damaged", ignore_errors=True)
    return damaged(Path(shutil.copytree(copy, story.shelf / "damaged")), random), None


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_was_acknowledged_survives_a_power_cut(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "MAX_PART", 3)  # of a bulk write: several entries in one call
    with quick_directory() as folder:
        story = Story(RecordingFiles(), folder / "home", folder / "views")
        await tell(story, seed)
        assert await cut(story, Random(seed), per_boundary=8) > 400


async def cut(story: Story, random: Random, per_boundary: int, start: int = 0) -> int:
    """Check the disks that may be found behind each call from one on; return how many there were."""
    device = (story.home / "device").read_bytes()
    cuts = 0
    for done, found in story.disk.power_cuts(random, per_boundary):
        if done >= start:
            (story.home / "device").write_bytes(device)
            view, is_sound = some_view(story, done, random)
            await check(story, done, found, view, is_sound=is_sound, fully=random.random() < 0.4)
            cuts += 1
    return cuts


@pytest.mark.parametrize("sizes", [(0, 0), (1500, 0), (0, 1500), (900, 900)])
async def test_no_half_of_a_transaction_over_two_logs_shows_whatever_sectors_are_found(sizes: tuple[int, int]) -> None:
    with quick_directory() as folder:
        story = Story(RecordingFiles(), folder / "home", folder / "views")
        async with a_node_on(story.disk, story.home, max_segment_bytes=20_000) as db:
            await story.step(Memo.create(id="m", text="before"))
            story.keep_view()
            start = len(story.disk.ops)
            await story.step(both_logs(db, "c", 7, *sizes))
        assert await cut(story, Random(sum(sizes)), 40, start) > 40


async def test_a_transaction_that_a_failed_sync_let_be_written_twice_shows_once() -> None:
    """The first copy may be found in part, and with it a part of the same transaction that is not its last."""
    with quick_directory() as folder:
        story = Story(RecordingFiles(), folder / "home", folder / "views")
        failing = FailingFiles(story.disk)
        async with a_node_on(failing, story.home, max_segment_bytes=20_000) as db:
            await story.step(Memo.create(id="m", text="before"))
            start = len(story.disk.ops)
            failing.arm({1, 2}, on={"sync", "truncate"})  # the group's sync, and taking back what it wrote
            await story.step(both_logs(db, "c", 7, 600, 600))
            assert failing.calls > 2
        assert await cut(story, Random(0), 30, start) > 100


async def test_a_part_of_a_first_copy_counts_once_with_the_second_copy_behind_it() -> None:
    """A failed sync and a failed truncate leave what they please of a group that was then written anew."""
    with quick_directory() as folder:
        files = MemoryFiles()
        failing = FailingFiles(files)
        async with a_node_on(failing, folder, max_segment_bytes=20_000) as db:
            await Memo.create(id="m", text="before")
            (path,) = files.files
            start = len(files.files[path])
            failing.arm({1, 2}, on={"sync", "truncate"})
            await both_logs(db, "c", 7)
            expected = await shown()
        first, second = sorted(files.files)
        content = {path: bytes(files.files[path]) for path in (first, second)}
        assert len(content[first]) > start
        for size in range(start, len(content[first]) + 1, 7):
            files.files = {first: bytearray(content[first][:size]), second: bytearray(content[second])}
            forget_view(folder)
            async with a_node_on(files, folder, max_segment_bytes=20_000):
                assert await shown() == expected
