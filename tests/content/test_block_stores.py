"""Block stores: the contract that all of them keep, and what the one on disk survives."""

from __future__ import annotations

import os
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio

from debros.blocks.carstore import CarStore
from debros.blocks.files import Files, MemoryFiles
from debros.blocks.store import BlockStore, open_store
from debros.env import SYSTEM
from debros.errors import ContentMissingError, CorruptionError, DebrosError, StorageError
from debros.testing.blocks import STORE_CONTRACT, Check, block_of, link_of
from debros.testing.faults import FailingFiles, RecordingFiles


@asynccontextmanager
async def car_store(files: Files, index: str = ":memory:", max_segment: int = 1 << 16) -> AsyncIterator[CarStore]:
    store = CarStore.open(SYSTEM, files, "/content", index, max_segment=max_segment)
    try:
        yield store
    finally:
        await store.aclose()


def opener(kind: str, path: Path) -> Callable[[], AbstractAsyncContextManager[BlockStore]]:
    if kind == "memory":
        return partial(open_store, "memory://")
    return partial(open_store, path / "blocks")


@pytest.mark.parametrize("kind", ["memory", "car"])
@pytest.mark.parametrize("check", STORE_CONTRACT, ids=lambda check: check.__name__)
async def test_every_store_keeps_the_contract(kind: str, check: Check, tmp_path: Path) -> None:
    await check(opener(kind, tmp_path))


async def test_a_store_of_another_kind_of_url_is_refused() -> None:
    with pytest.raises(StorageError, match="s3"):
        async with open_store("s3://bucket"):
            pass


async def test_what_is_on_disk_is_there_again_with_its_index_or_without(tmp_path: Path) -> None:
    blocks = [block_of(os.urandom(1000)) for _ in range(30)]
    async with open_store(tmp_path) as store:
        await store.put(blocks)
    for lost in ((), ("index.sqlite",)):
        for name in lost:
            (tmp_path / name).unlink()
        async with open_store(tmp_path) as store:
            assert [await store.get(link_of(block)) for block in blocks] == [block[2] for block in blocks]


async def test_an_index_that_is_no_database_or_of_another_past_is_made_anew(tmp_path: Path) -> None:
    block = block_of(b"stays")
    async with open_store(tmp_path / "a") as store:
        await store.put([block])
    async with open_store(tmp_path / "b") as store:
        await store.put([block_of(b"x" * 5000)])
    (tmp_path / "a" / "index.sqlite").write_bytes(b"rubbish" * 1000)
    async with open_store(tmp_path / "a") as store:
        assert await store.get(link_of(block)) == b"stays"
    (tmp_path / "a" / "index.sqlite").write_bytes((tmp_path / "b" / "index.sqlite").read_bytes())
    async with open_store(tmp_path / "a") as store:
        assert await store.get(link_of(block)) == b"stays"
        assert [link async for link in store.scan()] == [link_of(block)]


async def test_a_rotten_block_is_told_and_may_be_put_again() -> None:
    files = MemoryFiles()
    async with car_store(files) as store:
        rotten, other = block_of(b"r" * 100), block_of(b"o" * 100)
        await store.put([rotten, other])
        raw = files.files["/content/000001.car"]
        raw[raw.index(b"rrr")] ^= 1
        with pytest.raises(CorruptionError):
            await store.get(link_of(rotten))
        assert await store.get(link_of(other)) == other[2]
        await store.delete([link_of(rotten)])
        await store.put([rotten])
        assert await store.get(link_of(rotten)) == rotten[2]


async def test_compaction_frees_what_was_deleted_and_keeps_the_rest() -> None:
    files = MemoryFiles()
    async with car_store(files) as store:
        blocks = [block_of(Random(n).randbytes(5000)) for n in range(60)]
        for block in blocks:
            await store.put([block])
        before = await store.usage()
        kept, gone = blocks[::4], [block for n, block in enumerate(blocks) if n % 4]
        await store.delete([link_of(block) for block in gone])
        freed = await store.compact()
        after = await store.usage()
        assert after.bytes == sum(len(block[2]) for block in kept)
        assert after.file_bytes < before.file_bytes / 2
        assert freed >= before.file_bytes - after.file_bytes - 1000
        for block in kept:
            assert await store.get(link_of(block)) == block[2]
        for block in gone:
            assert not await store.has(link_of(block))
        assert await store.compact() == 0  # there is nothing more to gain
    async with car_store(files) as store:  # and the index is not needed to find it
        for block in kept:
            assert await store.get(link_of(block)) == block[2]


async def test_reads_and_writes_go_on_during_compaction() -> None:
    files = MemoryFiles()
    async with car_store(files) as store:
        blocks = [block_of(Random(n).randbytes(3000)) for n in range(100)]
        await store.put(blocks[:90])
        await store.delete([link_of(block) for n, block in enumerate(blocks[:90]) if n % 3])
        kept = blocks[:90:3]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.compact)
            for n in range(10):
                await store.put([blocks[90 + n]])
                for block in kept:
                    assert await store.get(link_of(block)) == block[2]
        for block in (*kept, *blocks[90:]):
            assert await store.get(link_of(block)) == block[2]


async def test_a_power_cut_at_any_moment_of_puts_and_compaction_loses_nothing_that_was_put_durably() -> None:
    files = RecordingFiles()
    done: list[tuple[int, set[bytes], set[bytes]]] = []  # ops, what must be there, what was deleted

    there: dict[bytes, bytes] = {}
    gone: set[bytes] = set()
    async with car_store(files, max_segment=4096) as store:
        done.append((len(files.ops), set(), set()))
        for n in range(16):
            block = block_of(Random(n).randbytes(900))
            await store.put([block])
            there[block[1]] = block[2]
            done.append((len(files.ops), set(there) - gone, set(gone)))
        delete = [link_of(block_of(data)) for n, data in enumerate(there.values()) if n % 3]
        gone |= {link.digest for link in delete}
        done.append((len(files.ops), set(there) - gone, set(gone)))
        await store.delete(delete)
        await store.compact()
        done.append((len(files.ops), set(there) - gone, set(gone)))
    random = Random(7)
    cuts = 0
    for ops, disk in files.power_cuts(random, per_boundary=3):
        must = [kept for at, kept, _ in done if at <= ops]
        if not must or "/content" not in disk.directories:
            continue
        cuts += 1
        async with car_store(disk, max_segment=4096) as store:
            for digest in must[-1]:
                assert await store.get(link_of(block_of(there[digest]))) == there[digest]
    assert cuts > 100


async def test_a_disk_that_fails_in_compaction_loses_nothing() -> None:
    for nth in range(1, 60):
        memory = MemoryFiles()
        files = FailingFiles(memory)
        blocks = [block_of(Random(n).randbytes(900)) for n in range(12)]
        store = CarStore.open(SYSTEM, files, "/content", ":memory:", max_segment=4096)
        await store.put(blocks)
        await store.delete([link_of(block) for block in blocks[::2]])
        files.arm(nth)
        failed = False
        try:
            await store.compact()
        except DebrosError:
            failed = True
        files.arm(())
        for block in blocks[1::2]:
            assert await store.get(link_of(block)) == block[2]
        with pytest.raises(ContentMissingError):
            await store.get(link_of(blocks[0]))
        try:
            await store.aclose()
        except StorageError:
            assert failed  # a log that refused is opened again
        async with car_store(memory, max_segment=4096) as again:
            for block in blocks[1::2]:
                assert await again.get(link_of(block)) == block[2]
        if not failed and files.calls == 0 and nth > 40:
            break


async def test_a_block_that_went_and_came_back_counts_once_when_the_index_is_made_anew() -> None:
    files = MemoryFiles()
    block, other = block_of(b"back again"), block_of(b"other")
    async with car_store(files) as store:
        for _ in range(3):
            await store.put([block, other])
            await store.delete([link_of(block)])
        await store.put([block])
        before = await store.usage()
    async with car_store(files) as store:
        assert await store.usage() == before
        assert [link async for link in store.scan()].count(link_of(block)) == 1
        await store.delete([link_of(block)])
        assert not await store.has(link_of(block))


async def test_an_index_without_room_is_an_error_of_ours_and_knows_all_blocks_once_it_has_some(tmp_path: Path) -> None:
    index, files = tmp_path / "index.sqlite", MemoryFiles()
    blocks = [block_of(bytes([n]) * 100) for n in range(60)]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with car_store(files, str(index)) as store:
        await store.put(blocks[:1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(f"{index}-wal"), before[1]))
        try:
            for block in blocks[1:50]:
                with pytest.raises(StorageError, match="make room"):
                    await store.put([block])
            with pytest.raises(StorageError, match="make room"):
                await store.delete([link_of(blocks[0])])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        await store.put(blocks[50:])
        assert [await store.get(link_of(block)) for block in blocks] == [block[2] for block in blocks]
    async with car_store(files, str(index)) as store:
        assert [await store.get(link_of(block)) for block in blocks] == [block[2] for block in blocks]
