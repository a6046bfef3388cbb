"""The port of block stores, and the one in memory, which is its executable specification.

A store keeps blocks by their CID and gives back nothing else: what it reads is hashed every time. Blocks may come
back that were deleted shortly before a crash; none is lost that `put` returned for.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Protocol

import trio

from debros.blocks import car, cid
from debros.blocks.cid import Link
from debros.blocks.files import DiskFiles
from debros.blocks.tail import Block
from debros.env import SYSTEM
from debros.errors import ClosedError, ContentError, ContentMissingError, CorruptionError, StorageError, TooLargeError


class BlockSource(Protocol):
    """Where blocks can be read."""

    async def get(self, link: Link) -> bytes:
        """Return a block.

        Raises:
            ContentMissingError: it is not here.
            CorruptionError: what is kept does not hash to its CID any more.
            StorageError: the disk refused.
        """
        ...


class BlockStore(BlockSource, Protocol):
    """Where blocks are kept."""

    async def put(self, blocks: Sequence[Block], *, durable: bool = True) -> None:
        """Keep blocks: codec, sha2-256 digest and bytes of each. Those that are here already change nothing.

        On return they survive the end of the process, and with `durable` a power cut, with all that were put before.
        Digests are taken on trust, for whoever makes a block or checks a foreign one has just hashed it: a block under a
        wrong one is never given back.

        Raises:
            ContentError: a codec that is none of ours; none is kept.
            TooLargeError: a block has more than 2 MiB; none is kept.
            StorageError: the disk refused; none is kept for sure.
        """
        ...

    async def has(self, link: Link) -> bool:
        """Whether a block is here; it is not read."""
        ...

    async def delete(self, links: Collection[Link]) -> None:
        """Forget blocks; those that are not here change nothing."""
        ...

    def scan(self) -> AsyncIterator[Link]:
        """Yield what is here, in no order, each once. What comes or goes meanwhile may be told or not."""
        ...


def check_blocks(blocks: Sequence[Block]) -> None:
    """Refuse what no store may keep; see `BlockStore.put`."""
    for codec, digest, block in blocks:
        if len(block) > car.MAX_BLOCK:
            raise TooLargeError(f"a block of {len(block)} bytes; at most {car.MAX_BLOCK} can be stored")
        if codec not in cid.CODECS or len(digest) != 32:
            raise ContentError(f"a block of codec {codec:#x}: raw, dag-pb and dag-cbor of sha2-256 can be stored")


class MemoryStore:
    """A store in memory."""

    def __init__(self) -> None:
        self._blocks: dict[Link, bytes] = {}
        self._is_closed = False

    async def get(self, link: Link) -> bytes:
        await self._ready()
        block = self._blocks.get(link)
        if block is None:
            raise ContentMissingError((str(link),))
        if sha256(block).digest() != link.digest:
            raise CorruptionError(f"{link} in memory does not hash to its CID any more")
        return block

    async def put(self, blocks: Sequence[Block], *, durable: bool = True) -> None:
        await self._ready()
        check_blocks(blocks)
        for codec, digest, block in blocks:
            self._blocks[Link(codec, digest)] = bytes(block)

    async def has(self, link: Link) -> bool:
        await self._ready()
        return link in self._blocks

    async def delete(self, links: Collection[Link]) -> None:
        await self._ready()
        for link in links:
            self._blocks.pop(link, None)

    async def scan(self) -> AsyncIterator[Link]:
        await self._ready()
        for link in list(self._blocks):
            yield link

    def close(self) -> None:
        """Give nothing any more."""
        self._is_closed = True

    async def _ready(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._is_closed:
            raise ClosedError("the block store is closed")


@asynccontextmanager
async def open_store(url: str | os.PathLike[str]) -> AsyncIterator[BlockStore]:
    """Open a block store: `"memory://"`, or the path of a directory, which is made if it is not there.

    Raises:
        StorageError: the disk refused, or the URL is of a kind that is not known.
    """
    from debros.blocks.carstore import CarStore

    text = os.fspath(url)
    if text == "memory://":
        memory = MemoryStore()
        try:
            yield memory
        finally:
            memory.close()
        return
    path = text.removeprefix("file://")
    if "://" in path or not path:
        raise StorageError(f'no block store is named {text!r}: "memory://", or the path of a directory')
    store = await SYSTEM.offload(CarStore.open, SYSTEM, DiskFiles(), path, os.path.join(path, "index.sqlite"))
    try:
        yield store
    finally:
        await store.aclose()
