"""CAR files for the world: any blocks, written and read as a stream, version 1 and 2. `debros.blocks.car` names both calls.

A CAR is a header (roots, version) and sections of length, CID and block. Version 2 puts 51 bytes before that: where the
data begins and how long it is; an index may follow and is not needed (https://ipld.io/specs/transport/car/). A reader
believes nothing: every block is hashed, lengths are bounded before anything is read, and an end in the middle is told.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from hashlib import sha256
from typing import Final, TypeAlias

from debros.blocks import car, cid, dagcbor
from debros.blocks.cid import Link
from debros.blocks.dagpb import link_of
from debros.blocks.store import BlockSource, BlockStore
from debros.blocks.tail import Block
from debros.env import SYSTEM
from debros.errors import ContentError, StorageError

Path: TypeAlias = "str | os.PathLike[str]"
Progress: TypeAlias = Callable[[int, int], None]  # bytes so far, bytes in all (0: not known)

MAX_HEADER: Final = 8 << 20
_PRAGMA: Final = bytes.fromhex("0aa16776657273696f6e02")
_V2_HEADER: Final = 40  # characteristics 16, offset and size of the data, offset of the index: 8 each, little-endian
_BATCH: Final = 4 << 20


def header_of(roots: Sequence[Link]) -> bytes:
    """Return the header of a CAR, with its length."""
    block = dagcbor.encode({"roots": list(roots), "version": 1})
    return _leb(len(block)) + block


def _leb(value: int) -> bytes:
    groups = [value >> shift & 127 for shift in range(0, max(1, value.bit_length()), 7)]
    return bytes([group | 128 for group in groups[:-1]] + groups[-1:])


class Writer:
    """Writes a CAR beside its name, and gives it the name when it is whole. An async context manager."""

    def __init__(
        self, target: Path, roots: Sequence[Link], *, version: int = 1, progress: Progress | None = None
    ) -> None:
        if version not in (1, 2):
            raise ContentError(f"CAR files are of version 1 or 2, not {version!r}")
        self._target = os.fspath(target)
        self._partial = f"{self._target}.part-{SYSTEM.random_bytes(4).hex()}"
        self._version = version
        self._progress = progress
        self._start = bytes(len(_PRAGMA) + _V2_HEADER) if version == 2 else b""
        self._waiting = bytearray(self._start + header_of(roots))
        self._fd = -1
        self._done = 0
        self.blocks = 0

    async def __aenter__(self) -> Writer:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._fd = await SYSTEM.offload(os.open, self._partial, flags, 0o644)
        except OSError as error:
            raise StorageError(f"{self._target} cannot be written: {error.strerror}") from error
        return self

    async def add(self, codec: int, digest: bytes, block: bytes) -> None:
        """Write a section."""
        self._waiting += car.section_head(codec, digest, len(block))
        self._waiting += block
        self.blocks += 1
        if len(self._waiting) >= _BATCH:
            await self._drain()

    async def __aexit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        try:
            if kind is None:
                await self._drain()
                try:
                    await SYSTEM.offload(self._finish)
                except OSError as error:
                    raise StorageError(f"{self._target} cannot be written: {error.strerror}") from error
        finally:
            await SYSTEM.offload(self._drop)

    async def _drain(self) -> None:
        data, self._waiting = bytes(self._waiting), bytearray()
        try:
            await SYSTEM.offload(_write_all, self._fd, data)
        except OSError as error:
            raise StorageError(f"{self._target} cannot be written: {error.strerror}") from error
        self._done += len(data)
        if self._progress is not None:
            self._progress(self._done, 0)

    def _finish(self) -> None:
        if self._version == 2:
            offset = len(self._start)
            sizes = b"".join(part.to_bytes(8, "little") for part in (offset, self._done - offset, 0))
            os.pwrite(self._fd, _PRAGMA + bytes(16) + sizes, 0)
        os.fsync(self._fd)
        os.replace(self._partial, self._target)
        directory = os.open(os.path.dirname(self._target) or ".", os.O_RDONLY)
        try:
            os.fsync(directory)  # else a power cut may take the name back
        finally:
            os.close(directory)

    def _drop(self) -> None:
        os.close(self._fd)
        if os.path.lexists(self._partial):
            os.remove(self._partial)


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


class Reader:
    """Reads a CAR: `roots` after `open`, then `async for block in reader`. No generator: it may be left at any point."""

    def __init__(self, source: Path, *, progress: Progress | None = None) -> None:
        self._source = os.fspath(source)
        self._progress = progress
        self._fd = -1
        self._buffer = b""
        self._at = 0  # in the buffer
        self._read = self._end = 0
        self.roots: tuple[Link, ...] = ()
        self.version = 1

    async def __aenter__(self) -> Reader:
        try:
            self._fd = await SYSTEM.offload(os.open, self._source, os.O_RDONLY | os.O_CLOEXEC)
            self._end = os.fstat(self._fd).st_size
            await self._begin()
        except OSError as error:
            raise StorageError(f"{self._source} cannot be read: {error.strerror}") from error
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __aiter__(self) -> AsyncIterator[Block]:
        return self

    async def __anext__(self) -> Block:
        """Return the next block; it hashes to its CID.

        Raises:
            ContentError: it does not, it is of a codec or hash that is not known here, too long, or cut off.
            StorageError: the file cannot be read.
        """
        if self._at == len(self._buffer) and self._read >= self._end:
            raise StopAsyncIteration
        length = await self._length(car.MAX_LENGTH, "a section")
        section = await self._take(length)
        link, width = self._cid(section)
        block = section[width:]
        if len(block) > car.MAX_BLOCK:
            raise self._flaw(f"a block of {len(block)} bytes; {car.MAX_BLOCK} are allowed")
        if sha256(block).digest() != link.digest:
            raise self._flaw(f"a block that does not hash to its CID {link}")
        return link.codec, link.digest, block

    def _cid(self, section: bytes) -> tuple[Link, int]:
        if section[:2] == b"\x12\x20":
            return Link(cid.DAG_PB, section[2:34]), 34
        return link_of(section[: cid.SIZE]), cid.SIZE

    async def _begin(self) -> None:
        start = await self._peek(len(_PRAGMA) + _V2_HEADER)
        if start.startswith(_PRAGMA):
            offset, size = (int.from_bytes(start[at : at + 8], "little") for at in (27, 35))
            if len(start) < len(_PRAGMA) + _V2_HEADER or offset < len(start) or offset + size > self._end:
                raise self._flaw("the header of version 2 names data that is not there")
            self.version = 2
            self._buffer, self._at, self._read, self._end = b"", 0, offset, offset + size
        length = await self._length(MAX_HEADER, "a header")
        try:
            header = dagcbor.decode(await self._take(length))
        except ValueError as error:
            raise self._flaw(f"its header is not what that of a CAR is: {error}") from error
        if type(header) is not dict or header.get("version") != 1 or type(header.get("roots")) is not list:
            raise self._flaw("its header is not that of a CAR of version 1 or 2")
        roots = header["roots"]
        if not all(type(root) is Link for root in roots):
            raise self._flaw("its roots are not links to what is known here")
        self.roots = tuple(roots)

    async def _length(self, most: int, what: str) -> int:
        raw = await self._peek(10)
        value = 0
        for width, byte in enumerate(raw, 1):
            value |= (byte & 127) << 7 * (width - 1)
            if byte < 128:
                self._at += width
                if value > most or (width > 1 and byte == 0):
                    raise self._flaw(f"{what} of {value} bytes; {most} are allowed")
                if value == 0:
                    raise self._flaw(f"{what} of no bytes")
                return value
        raise self._flaw(f"{what} that is cut off" if len(raw) < 10 else f"{what} of a length without end")

    async def _peek(self, size: int) -> bytes:
        await self._fill(size)
        return self._buffer[self._at : self._at + size]

    async def _take(self, size: int) -> bytes:
        await self._fill(size)
        data = self._buffer[self._at : self._at + size]
        if len(data) < size:
            raise self._flaw("its end cuts a section off")
        self._at += size
        return data

    async def _fill(self, size: int) -> None:
        while len(self._buffer) - self._at < size and self._read < self._end:
            wanted = min(max(_BATCH, size), self._end - self._read)
            data = await SYSTEM.offload(os.pread, self._fd, wanted, self._read)
            if not data:
                self._end = self._read  # it was cut while it was read
                break
            self._buffer = self._buffer[self._at :] + data
            self._at = 0
            self._read += len(data)
            if self._progress is not None:
                self._progress(self._read, self._end)

    def _flaw(self, what: str) -> ContentError:
        return ContentError(f"{self._source}, before byte {self._read}: {what}")


async def export(
    store: BlockSource, cids: str | Sequence[str], target: Path, /, *, version: int = 1, progress: Progress | None = None
) -> int:  # fmt: skip
    """Write content, with every block it reaches, into a CAR file; return how many blocks. See `debros.blocks.car`.

    Raises:
        ContentMissingError: a block is not in the store; no file is written.
        ContentError: a CID that is not known here.
        StorageError: the file cannot be written.
    """
    from debros.blocks.unixfs import parse, reading

    roots = [parse(text) for text in ([cids] if isinstance(cids, str) else cids)]
    seen: set[Link] = set()
    async with Writer(target, roots, version=version, progress=progress) as writer:
        waiting = list(reversed(roots))
        while waiting:
            link = waiting.pop()
            if link in seen:
                continue
            seen.add(link)
            block = await store.get(link)
            await writer.add(link.codec, link.digest, block)
            waiting += reversed(reading.links_of(link, block))
    return writer.blocks


async def load(store: BlockStore, source: Path, /, *, progress: Progress | None = None) -> list[str]:
    """Take the blocks of a CAR file into a store; return the CIDs of its roots. On return they are durable.

    Raises:
        ContentError: it is no CAR, cut off, or holds a block that does not hash to its CID, or of an unknown codec.
        StorageError: it cannot be read, or the store's disk refused.
    """
    async with Reader(source, progress=progress) as reader:
        batch: list[Block] = []
        size = 0
        async for block in reader:
            batch.append(block)
            size += len(block[2])
            if size >= _BATCH:
                await store.put(batch, durable=False)
                batch, size = [], 0
        await store.put(batch, durable=True)
        return [str(root) for root in reader.roots]
