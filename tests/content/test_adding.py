"""Adding while the store writes: what is handed over stays as it was, and failures of either side are told as they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from debros.blocks import open_store, unixfs
from debros.blocks.store import MemoryStore
from debros.blocks.tail import Block
from debros.blocks.unixfs import adding, profiles
from debros.blocks.unixfs.adding import Adder, text_of
from debros.errors import StorageError

SMALL = replace(profiles.V1_2025, chunk=1000)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "BATCH", 4500)  # four chunks


class SlowStore(MemoryStore):
    """A store that looks at its blocks again after a while, as one does whose disk is slow."""

    changed = 0

    async def put(self, blocks: Sequence[Block], *, durable: bool = True) -> None:
        before = [bytes(block) for _, _, block in blocks]
        for _ in range(50):
            await trio.lowlevel.checkpoint()
            await trio.to_thread.run_sync(bytes)
        self.changed += before != [bytes(block) for _, _, block in blocks]
        await super().put(blocks, durable=durable)


class FullStore(MemoryStore):
    async def put(self, blocks: Sequence[Block], *, durable: bool = True) -> None:
        raise StorageError("no space is left")


@pytest.mark.usefixtures("small_batches")
async def test_a_batch_stays_as_it_is_until_the_store_has_it_while_the_next_ones_are_read(tmp_path: Path) -> None:
    content = {
        f"{n}.bin": bytes(n + at * 7 & 255 for at in range(size))
        for n, size in enumerate((0, 1, 999, 1000, 3999, 4000, 4001, 9000, 17, 12_345))
    }
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    store = SlowStore()
    adder = Adder(store, SMALL)
    root = text_of(await adder.add_path(tmp_path), SMALL)
    await adder.flush()
    assert not store.changed
    for name, data in content.items():
        assert await unixfs.cat(store, await unixfs.resolve(store, root, name)) == data


@pytest.mark.usefixtures("small_batches")
async def test_bytes_a_file_and_a_stream_have_one_cid_wherever_batches_end(tmp_path: Path) -> None:
    data = bytes(at * 13 & 255 for at in range(10_007))
    (tmp_path / "a").write_bytes(data)

    async def coming() -> AsyncIterator[bytes]:
        for at in range(0, len(data), 1234):
            yield data[at : at + 1234]

    store = MemoryStore()
    found = [
        await Adder(store, SMALL).add_bytes(data),
        await Adder(store, SMALL).add_path(tmp_path / "a"),
        await Adder(store, SMALL).add_chunks(coming()),
    ]
    assert found[0] == found[1] == found[2]


@pytest.mark.usefixtures("small_batches")
async def test_a_store_that_refuses_while_more_is_read_is_told_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(50_000))
    with pytest.raises(StorageError, match="no space is left"):
        await Adder(FullStore(), SMALL).add_path(tmp_path / "a")
    with pytest.raises(StorageError, match="no space is left"):
        await Adder(FullStore(), SMALL).add_bytes(bytes(50_000))


@pytest.mark.usefixtures("small_batches")
async def test_what_a_teller_of_progress_raises_is_raised_as_it_is() -> None:
    def tell(done: int) -> None:
        if done > 4000:
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        await Adder(MemoryStore(), SMALL, tell).add_bytes(bytes(50_000))


async def test_large_content_is_there_and_whole_when_its_store_is_opened_anew(tmp_path: Path) -> None:
    data = bytes(range(256)) * (80 << 10)  # 20 MiB: what is written begins to go to the disk before the sync
    async with open_store(tmp_path / "blocks") as store:
        cid = await unixfs.add(store, data)
    async with open_store(tmp_path / "blocks") as store:
        assert await unixfs.cat(store, cid) == data
