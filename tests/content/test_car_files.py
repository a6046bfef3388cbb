"""CAR files of content, of version 1 and 2: written, read, and what a reader of a hostile one says."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from debros.blocks import car, cid, dagcbor, unixfs
from debros.blocks.archive import Writer, header_of
from debros.blocks.cid import Link
from debros.blocks.store import MemoryStore
from debros.errors import ContentError, ContentMissingError, StorageError
from debros.testing.blocks import block_of, link_of

CONTENT = bytes(range(256)) * 20_000


async def written(path: Path, version: int = 1) -> str:
    store = MemoryStore()
    root = await unixfs.add(store, CONTENT)
    blocks = await car.export(store, root, path, version=version)
    assert blocks == 3  # the five leaves are of two kinds
    return root


@pytest.mark.parametrize("version", [1, 2])
async def test_what_was_exported_is_there_after_an_import(version: int, tmp_path: Path) -> None:
    root = await written(tmp_path / "x.car", version)
    told: list[tuple[int, int]] = []
    store = MemoryStore()
    assert await car.load(store, tmp_path / "x.car", progress=lambda done, total: told.append((done, total))) == [root]
    assert await unixfs.cat(store, root) == CONTENT
    assert told[-1][0] == told[-1][1] == (tmp_path / "x.car").stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["x.car"]


async def test_the_bytes_of_a_small_car_are_those_of_the_specification(tmp_path: Path) -> None:
    store = MemoryStore()
    root = await unixfs.add(store, b"hi")
    await car.export(store, root, tmp_path / "x.car")
    link = Link(cid.RAW, cid.digest_of(b"hi"))
    header = dagcbor.encode({"roots": [link], "version": 1})
    section = cid.to_bytes(link.digest, cid.RAW) + b"hi"
    assert (tmp_path / "x.car").read_bytes() == bytes([len(header)]) + header + bytes([len(section)]) + section
    await car.export(store, root, tmp_path / "y.car", version=2)
    raw = (tmp_path / "y.car").read_bytes()
    data = (tmp_path / "x.car").read_bytes()
    assert (
        raw
        == bytes.fromhex("0aa16776657273696f6e02")
        + bytes(16)
        + (51).to_bytes(8, "little")
        + len(data).to_bytes(8, "little")
        + bytes(8)
        + data
    )


async def test_a_block_that_is_missing_leaves_no_file(tmp_path: Path) -> None:
    store = MemoryStore()
    root = await unixfs.add(store, CONTENT)
    [last, *_] = [link async for link in store.scan()]
    await store.delete([last])
    with pytest.raises(ContentMissingError):
        await car.export(store, root, tmp_path / "x.car")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StorageError, match="cannot be written"):
        await car.export(store, root, tmp_path / "no" / "x.car")
    with pytest.raises(ContentError, match="version 1 or 2"):
        await car.export(store, root, tmp_path / "x.car", version=3)


async def test_a_file_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        await car.load(MemoryStore(), tmp_path / "nowhere.car")


async def test_every_truncation_is_told_or_ends_between_two_blocks(tmp_path: Path) -> None:
    store = MemoryStore()
    blocks = [block_of(bytes([n]) * 40) for n in range(3)]
    await store.put(blocks)
    await car.export(store, [str(link_of(block)) for block in blocks], tmp_path / "x.car")
    raw = (tmp_path / "x.car").read_bytes()
    whole = 0
    for size in range(len(raw)):
        (tmp_path / "cut.car").write_bytes(raw[:size])
        try:
            await car.load(MemoryStore(), tmp_path / "cut.car")
        except ContentError:
            continue
        whole += 1
    assert whole == 3  # behind the header, and behind the first two blocks


HEAD = header_of([])
GOOD = block_of(b"good")


def section(raw_cid: bytes, block: bytes) -> bytes:
    return bytes([len(raw_cid) + len(block)]) + raw_cid + block


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"", "cut off"),
        (b"\x00", "no bytes"),
        (b"hello, this is no car at all", ""),
        (b"\xff" * 20, "length without end"),
        (b"\xff\xff\xff\xff\x7f" + bytes(100), "are allowed"),
        (b"\x80\x00" + bytes(10), "are allowed"),
        (bytes([len(dagcbor.encode({"roots": [], "version": 2}))]) + dagcbor.encode({"roots": [], "version": 2}), "version"),
        (bytes([len(dagcbor.encode({"roots": ["x"], "version": 1}))]) + dagcbor.encode({"roots": ["x"], "version": 1}), "roots"),
        (HEAD + section(cid.to_bytes(GOOD[1], cid.RAW), b"evil"), "does not hash"),
        (HEAD + section(b"\x01\x78\x12\x20" + bytes(32), b"x"), "codec"),
        (HEAD + section(b"\x01\x55\x00\x04", b"identity"), "codec"),
        (HEAD + b"\xff\xff\xff\x7f" + bytes(100), "are allowed"),
        (HEAD + b"\x05abcde", "known|codec"),
        (HEAD + b"\x00", "no bytes"),
        (bytes.fromhex("0aa16776657273696f6e02") + bytes(40), "version 2"),
        (bytes.fromhex("0aa16776657273696f6e02") + bytes(16) + (51).to_bytes(8, "little") + (2**60).to_bytes(8, "little") + bytes(8), "version 2"),
    ],
)  # fmt: skip
async def test_what_is_no_car_or_lies_is_a_clear_error(raw: bytes, what: str, tmp_path: Path) -> None:
    import re

    (tmp_path / "x.car").write_bytes(raw)
    store = MemoryStore()
    with pytest.raises(ContentError) as caught:
        await car.load(store, tmp_path / "x.car")
    assert re.search(what, str(caught.value)), str(caught.value)
    assert [link async for link in store.scan()] == []


async def test_blocks_of_cids_of_version_0_are_read(tmp_path: Path) -> None:
    store = MemoryStore()
    root = await unixfs.add(store, b"hello world\n", profile="unixfs-v0-2015")
    block = await store.get(cid.parse(root))
    (tmp_path / "x.car").write_bytes(HEAD + section(b"\x12\x20" + cid.digest_of(block), block))
    other = MemoryStore()
    await car.load(other, tmp_path / "x.car")
    assert await unixfs.cat(other, root) == b"hello world\n"


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 255))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused(tmp_path: Path, tail: bytes, at: int, byte: int) -> None:
    import trio

    async def check() -> None:
        store = MemoryStore()
        raw = bytearray(HEAD + section(cid.to_bytes(GOOD[1], cid.RAW), b"good") + tail)
        raw[at % len(raw)] = byte
        (tmp_path / "x.car").write_bytes(raw)
        with suppress(ContentError):
            await car.load(store, tmp_path / "x.car")
        async for link in store.scan():
            assert cid.digest_of(await store.get(link)) == link.digest

    trio.run(check)


async def test_an_import_takes_little_memory_whatever_the_file_says(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "bomb.car"
    path.write_bytes(b"\xff\xff\xff\x03")
    os.truncate(path, 1 << 32)  # a header that claims the most, in a sparse file
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ContentError):
        await car.load(MemoryStore(), path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    os.remove(path)


async def test_when_an_export_returns_its_file_and_its_name_are_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def told(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        fsync(fd)

    monkeypatch.setattr("debros.blocks.archive.os.fsync", told)
    async with Writer(tmp_path / "a.car", []):
        pass
    assert [Path(path).name.partition(".part-")[0] for path in synced] == ["a.car", tmp_path.name]
