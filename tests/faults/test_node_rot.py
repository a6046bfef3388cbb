"""Bits rot in a node's log, or its view is damaged: nothing wrong is ever shown, and what is whole still is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from debros.blocks.files import MemoryFiles
from debros.errors import CorruptionError, StorageError
from debros.replica.verify import Finding, verify_log
from tests.support.stories import (
    Item,
    Memo,
    QuietEnv,
    Shown,
    Tally,
    a_node_on,
    forget_view,
    put_view,
    quick_directory,
    shown,
)

PAGE = 4096


async def write_some() -> None:
    for n in range(4):
        await Item.create(id=f"i{n}", title=f"title {n}")
    await Memo.create(id="m", text="mine")
    item = await Item.get("i1")
    await item.update(note="noted")
    await Tally.increment("t", n=5)
    await Item.create(id="last", title="the last one")


def found_in(files: MemoryFiles, home: Path) -> list[Finding]:
    return [found for found in verify_log(files, str(home / "log")) if isinstance(found, Finding)]


async def test_rot_in_any_byte_of_the_log_is_named_and_never_shown() -> None:
    """With the view all records still show; without it those that do not build on what has rotted."""
    with quick_directory() as folder:
        home, whole = folder / "home", MemoryFiles()
        async with a_node_on(whole, home, max_segment_bytes=1 << 20):
            await write_some()
            expected = await shown()
        (path,) = whole.files
        content = bytes(whole.files[path])
        os.makedirs(folder / "view")
        (folder / "view" / "view.sqlite").write_bytes((home / "view.sqlite").read_bytes())
        device = (home / "device").read_bytes()
        for at in range(len(content)):
            files = MemoryFiles()
            files.makedirs(os.path.dirname(path))
            files.files[path] = bytearray(content)
            files.files[path][at] ^= 1 << at % 8
            assert found_in(files, home), at
            if at % 5:
                continue
            with_view = at % 2 == 0
            put_view(home, folder / "view" if with_view else None)
            (home / "device").write_bytes(device)
            async with a_node_on(files, home, env=QuietEnv(at + 1), max_segment_bytes=1 << 20) as db:
                now = await shown()
                assert now == expected if with_view else is_of(now, expected)
                assert now == expected or db.status().findings or db.status().rejected
                await check_histories()
                await Item.create(id="new", title="new")
                await Memo.create(id="new", text="new")
                now = await shown()
            if at % 3 == 0:
                if not with_view:
                    forget_view(home)
                async with a_node_on(files, home, env=QuietEnv(at + 2), max_segment_bytes=1 << 20):
                    assert await shown() == now, at


@pytest.mark.parametrize("flip", range(8))
async def test_rot_in_a_codec_is_named_too_though_no_digest_covers_it(flip: int) -> None:
    with quick_directory() as home:
        files = MemoryFiles()
        async with a_node_on(files, home, max_segment_bytes=1 << 20):
            await write_some()
            expected = await shown()
        (path,) = files.files
        content = bytes(files.files[path])
        codecs = [m.start() + 1 for m in re.finditer(rb"\x01\x71\x12\x20", content) if content[m.start() - 1] != 0]
        assert len(codecs) > 16
        view = (home / "view.sqlite").read_bytes()
        for n, at in enumerate(codecs):
            files.files[path] = bytearray(content)
            files.files[path][at] ^= 1 << flip
            assert found_in(files, home)
            if n % 2:
                (home / "view.sqlite").write_bytes(view)
            else:
                forget_view(home)
            async with a_node_on(files, home, max_segment_bytes=1 << 20) as db:
                now = await shown()
                assert now == expected or (is_of(now, expected) and not n % 2)
                assert now == expected or db.status().findings or db.status().rejected
                await check_histories()


async def check_histories() -> None:
    """A history is told as it was, or not at all."""
    for id, steps in (("i0", 1), ("i1", 2)):
        item = await Item.get_or_none(id)
        if item is not None:
            try:
                told = [version.row for version in await item.history()]
            except CorruptionError:
                continue
            assert [row.title for row in told] == [item.title] * len(told)
            assert len(told) == steps or item.note is None


def is_of(found: Shown, expected: Shown) -> bool:
    """Whether all that shows was once so: a record that was changed may show as it was before."""
    before = expected | {("Item", "i1"): ("i1", "title 1", None, None, frozenset(), 0)}
    return all(value in (expected.get(place), before.get(place)) for place, value in found.items())


# -- the view -----------------------------------------------------------------------------------------------------


def zeroed(view: bytearray, page: int, random: Random) -> None:
    view[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)


def scribbled(view: bytearray, page: int, random: Random) -> None:
    view[page * PAGE : (page + 1) * PAGE] = random.randbytes(PAGE)


def cut(view: bytearray, page: int, random: Random) -> None:
    del view[page * PAGE :]


def cut_in_a_page(view: bytearray, page: int, random: Random) -> None:
    del view[page * PAGE + random.randrange(PAGE) :]


@pytest.mark.parametrize("damage", [zeroed, scribbled, cut, cut_in_a_page])
async def test_a_damaged_view_is_made_anew_from_the_log(damage: Callable[[bytearray, int, Random], None]) -> None:
    """At once where it is found when the home is opened, else at the next opening; the error says so."""
    with quick_directory() as home:
        files = MemoryFiles()
        async with a_node_on(files, home, max_segment_bytes=1 << 20):
            await write_some()
            await Item.create_many({"id": f"x{n}", "title": f"x {n}", "text": "x" * 90} for n in range(150))
            expected = await shown()
        view = (home / "view.sqlite").read_bytes()
        random = Random(0)
        told: list[str] = []
        rebuilt = 0
        for page in range(len(view) // PAGE):
            files_now = MemoryFiles()
            files_now.directories = set(files.directories)
            files_now.files = {path: bytearray(content) for path, content in files.files.items()}
            changed = bytearray(view)
            damage(changed, page, random)
            forget_view(home)
            (home / "view.sqlite").write_bytes(changed)
            acknowledged: set[str] = set()
            try:
                async with a_node_on(files_now, home, max_segment_bytes=1 << 20) as db:
                    rebuilt += db.status().rebuilt
                    assert await shown() == expected
                    for n in range(3):
                        await Item.create(id=f"new{n}", title=f"new {n}")
                        acknowledged.add(f"new{n}")
                    assert await Item.count() == 155 + 3
            except StorageError as error:
                told.append(str(error))
            async with a_node_on(files_now, home, env=QuietEnv(1), max_segment_bytes=1 << 20) as db:
                now = await shown()
                assert {place: v for place, v in now.items() if not place[1].startswith("new")} == expected
                assert {id for _, id in now if id.startswith("new")} >= acknowledged
        assert all("damaged" in text and "open the node again, and the view is made anew" in text for text in told)
        assert len(told) + rebuilt > len(view) // PAGE // 3


async def test_text_in_the_view_that_is_no_text_any_more_is_damage(tmp_path: Path) -> None:
    files = MemoryFiles()
    async with a_node_on(files, tmp_path):
        await Item.create(id="a", title="a title")
    view = bytearray((tmp_path / "view.sqlite").read_bytes())
    at = view.index(b"a title", view.index(b"CREATE TABLE") + PAGE)
    view[at] = 0xFF
    (tmp_path / "view.sqlite").write_bytes(view)
    with pytest.raises(StorageError, match="the view is damaged"):
        async with a_node_on(files, tmp_path):
            await Item.all()
    async with a_node_on(files, tmp_path) as db:
        assert db.status().rebuilt
        assert [item.title for item in await Item.all()] == ["a title"]


@pytest.mark.parametrize("content", [b"", b"\0" * 8192, b"not a database, but long enough to be taken for one" * 99])
async def test_what_is_no_view_is_replaced_by_one(content: bytes, tmp_path: Path) -> None:
    files = MemoryFiles()
    async with a_node_on(files, tmp_path):
        await write_some()
        expected = await shown()
    (tmp_path / "view.sqlite").write_bytes(content)
    (tmp_path / "view.sqlite-wal").write_bytes(content)
    async with a_node_on(files, tmp_path) as db:
        assert db.status().rebuilt
        assert await shown() == expected


async def test_a_view_that_was_given_up_is_made_anew_after_a_crash_too(tmp_path: Path) -> None:
    files = MemoryFiles()
    async with a_node_on(files, tmp_path) as db:
        await write_some()
        expected = await shown()
        db.store.view.give_up()
        assert not (tmp_path / "view.sqlite").exists()
        found = MemoryFiles()
        found.directories, found.files = set(files.directories), dict(files.files)
    async with a_node_on(found, tmp_path) as db:
        assert db.status().rebuilt
        assert await shown() == expected


async def test_a_key_that_signed_what_has_rotted_signs_no_more(tmp_path: Path) -> None:
    """Its next number may be on another node already."""
    files = MemoryFiles()
    async with a_node_on(files, tmp_path) as db:
        await write_some()
        key = db.device().public
    for path in sorted(files.files)[:1]:
        files.files[path][700] ^= 1
    forget_view(tmp_path)
    async with a_node_on(files, tmp_path) as db:
        assert db.status().rejected
        assert db.device().public != key
        await Item.create(id="new", title="new")


async def test_rot_in_a_manifest_costs_nothing(tmp_path: Path) -> None:
    """The node knows which logs it writes to."""
    files = MemoryFiles()
    async with a_node_on(files, tmp_path):
        await write_some()
        expected = await shown()
    (path, *_) = sorted(files.files)
    at = files.files[path].index(b"av\x01capp")
    files.files[path][at + 3] ^= 1
    forget_view(tmp_path)
    async with a_node_on(files, tmp_path) as db:
        assert await shown() == expected
        assert db.status().findings
    assert {found.what for found in found_in(files, tmp_path)} >= {"damage", "manifest"}


async def test_rot_in_the_last_entry_is_no_tear_for_the_view_has_read_it(tmp_path: Path) -> None:
    files = MemoryFiles()
    async with a_node_on(files, tmp_path) as db:
        await Item.create(id="a", title="a")
        await Item.create(id="b", title="b")
        key = db.device().public
    (path,) = files.files
    content = bytes(files.files[path])
    for at in (len(content) - 1, len(content) - 290):  # in the header's signature, and in its CID
        files.files = {path: bytearray(content)}
        files.files[path][at] ^= 1
        async with a_node_on(files, tmp_path) as db:
            assert [item.id for item in await Item.all()] == ["a", "b"]
            assert db.device().public == key
        assert list(files.files) == [path]  # nothing was saved aside, for nothing was cut
        assert {found.what for found in found_in(files, tmp_path)} == {"damage"}


async def test_a_log_that_lost_its_end_is_another_past(tmp_path: Path) -> None:
    files = MemoryFiles()
    async with a_node_on(files, tmp_path) as db:
        await Item.create(id="a", title="a")
        await Item.create(id="b", title="b")
        key = db.device().public
    (path,) = files.files
    del files.files[path][-1:]
    async with a_node_on(files, tmp_path) as db:
        assert db.status().rebuilt
        assert [item.id for item in await Item.all()] == ["a"]
        assert db.device().public != key
