"""Reading files and directories back: streamed, in constant memory, any range of them, checked at every step.

What a parent says of the sizes below it is held against what is found, so a tree that lies ends in an error where the lie
is met, and no answer depends on it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from debros.blocks import cid
from debros.blocks.cid import Link
from debros.blocks.store import BlockSource
from debros.blocks.unixfs import node
from debros.blocks.unixfs.directory import check_name, hash_of, prefix_width, slot_of
from debros.errors import ContentError

MAX_DEPTH: Final = 32  # of nodes below each other: more than any file that fits on a disk has
MAX_WHOLE: Final = 1 << 30  # bytes of content that are given in one piece

Kind = Literal["file", "directory", "symlink"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a directory. `total` is what its blocks take together, in bytes, as the directory says."""

    name: str
    link: Link
    total: int

    @property
    def cid(self) -> str:
        return str(self.link)


@dataclass(frozen=True, slots=True)
class Stat:
    """What a CID leads to. `size` counts the bytes of a file's content; 0 for the others."""

    kind: Kind
    size: int


class Content:
    """Content to come: `await` gives it as bytes, `async for` in chunks.

    Raises, when it is read:
        ContentError: it is no file, damaged, or awaited whole and larger than 1 GiB.
        ContentMissingError: a block is not in the store.
        CorruptionError: a block on disk is not what its CID says.
    """

    def __init__(self, store: BlockSource, link: Link, start: int, length: int | None) -> None:
        if start < 0 or (length is not None and length < 0):
            raise ContentError(f"a range of {length} bytes from {start} on: neither may be below 0")
        self._store, self._link, self._start, self._length = store, link, start, length

    def __await__(self) -> Generator[object, None, bytes]:
        return self._whole().__await__()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return read(self._store, self._link, self._start, self._length)

    async def _whole(self) -> bytes:
        parts: list[bytes] = []
        total = 0
        async for chunk in self:
            total += len(chunk)
            if total > MAX_WHOLE:
                raise ContentError(f"more than {MAX_WHOLE} bytes; read it in chunks: `async for chunk in ...`")
            parts.append(chunk)
        return b"".join(parts)


async def stat(store: BlockSource, link: Link) -> Stat:
    """Return what a CID leads to; errors as for `Content`."""
    block = await store.get(link)
    if link.codec == cid.RAW:
        return Stat("file", len(block))
    found = _node(link, block)
    if found.kind in (node.DIRECTORY, node.SHARD):
        return Stat("directory", 0)
    return Stat("symlink", 0) if found.kind == node.SYMLINK else Stat("file", found.size)


def read(store: BlockSource, link: Link, start: int, length: int | None) -> AsyncIterator[bytes]:
    """Return the content of a file from byte `start` on, in chunks; only blocks that are in the range are read."""
    return _Reader(store, link, start, length)


class _Part(NamedTuple):
    """A tree that is still to be read: what its parent says it has, where it begins, how deep it lies."""

    link: Link
    size: int | None
    begin: int
    depth: int


class _Reader:
    """A walk over the leaves of a file, from left to right. No generator: whoever stops early has nothing to close."""

    def __init__(self, store: BlockSource, link: Link, start: int, length: int | None) -> None:
        self._store = store
        self._start = start
        self._end = None if length is None else start + length
        self._waiting = [_Part(link, None, 0, 0)]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        start, end = self._start, self._end
        while self._waiting:
            part = self._waiting.pop()
            begin = part.begin
            if (end is not None and begin >= end) or (part.size is not None and begin + part.size <= start):
                continue
            data = self._opened(part, await self._store.get(part.link))
            low, high = max(0, start - begin), len(data) if end is None else max(0, end - begin)
            if data[low:high]:
                return data[low:high]
        raise StopAsyncIteration

    def _opened(self, part: _Part, block: bytes) -> bytes:
        """Return the content in a block itself; what is below it waits."""
        if part.link.codec == cid.RAW:
            _check_size(part.link, part.size, len(block))
            return block
        if part.depth > MAX_DEPTH:
            raise ContentError(f"{part.link}: a file of more than {MAX_DEPTH} levels")
        found = _node(part.link, block)
        if found.kind not in (node.FILE, node.RAW):
            raise ContentError(f"{part.link} is no file; `unixfs.ls` lists a directory")
        _check_size(part.link, part.size, found.size)
        begin = part.begin + len(found.data)
        below: list[_Part] = []
        for link, size in zip(found.links, found.sizes, strict=True):
            below.append(_Part(link.link, size, begin, part.depth + 1))
            begin += size
        self._waiting += reversed(below)
        return found.data


def _check_size(link: Link, said: int | None, found: int) -> None:
    if said is not None and said != found:
        raise ContentError(f"{link} has {found} bytes, and what links to it says {said}")


def _node(link: Link, block: bytes) -> node.Node:
    if link.codec != cid.DAG_PB:
        raise ContentError(f"{link} is neither a file nor a directory: its codec is {link.codec:#x}")
    return node.decode(block)


async def list_entries(store: BlockSource, link: Link) -> AsyncIterator[Entry]:
    """Yield what is in a directory: by name, or, where it is sharded, in the order of its trie."""
    waiting: list[tuple[Link, int]] = [(link, 0)]
    while waiting:
        at, depth = waiting.pop()
        found = _node(at, await store.get(at))
        if found.kind == node.DIRECTORY and at is link:
            for part in found.links:
                yield _entry(part.name, part.link, part.total)
        elif found.kind == node.SHARD:
            width = prefix_width(found)
            for part in found.links:
                if len(part.name) == width:
                    slot_of(0, depth + 1, found.fanout)  # raises where it is too deep
                    waiting.append((part.link, depth + 1))
                else:
                    name = part.name[width:]
                    if part.name[:width] != b"%0*X" % (width, slot_of(hash_of(name), depth, found.fanout)):
                        raise ContentError(f"{at}: {name!r} stands in a shard that is not its own")
                    yield _entry(name, part.link, part.total)
        else:
            raise ContentError(f"{at} is no directory")


def _entry(name: bytes, link: Link, total: int) -> Entry:
    check_name(name)
    try:
        return Entry(name.decode(), link, total)
    except UnicodeDecodeError as error:
        raise ContentError(f"{name!r} is no name in a directory: not UTF-8") from error


async def walk(store: BlockSource, link: Link) -> AsyncIterator[tuple[Link, bytes]]:
    """Yield every block of a tree once, parents first: what must be there for the content to be whole."""
    seen: set[Link] = set()
    waiting = [link]
    while waiting:
        at = waiting.pop()
        if at in seen:
            continue
        seen.add(at)
        block = await store.get(at)
        yield at, block
        waiting += reversed(links_of(at, block))


def links_of(link: Link, block: bytes) -> list[Link]:
    """Return what a block of content links to.

    Raises:
        ContentError: it is not of its codec, or links to what is not known here.
    """
    if link.codec == cid.DAG_PB:
        from debros.blocks import dagpb

        return [part.link for part in dagpb.decode(block)[0]]
    return []
