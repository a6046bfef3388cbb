"""Files and directories as IPFS has them: UnixFS in dag-pb and raw blocks, with the CIDs that Kubo gives.

    async with debros.blocks.open_store("memory://") as store:
        cid = await unixfs.add(store, b"hello world")
        assert await unixfs.cat(store, cid) == b"hello world"

CIDs are text here, `bafy...` or `Qm...`. Profiles: `unixfs-v1-2025` and `unixfs-v0-2015` (IPIP-0499), and `kubo-v1-2018`,
what `ipfs add --cid-version=1` did before.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterable

from debros.blocks import cid as cids
from debros.blocks.cid import Link
from debros.blocks.store import BlockStore
from debros.blocks.unixfs import reading
from debros.blocks.unixfs.adding import Adder, Path, Progress, text_of
from debros.blocks.unixfs.extracting import extract
from debros.blocks.unixfs.profiles import PROFILES, named
from debros.blocks.unixfs.reading import Content, Entry, Stat
from debros.errors import ContentError

__all__ = ["PROFILES", "Content", "Entry", "Stat", "add", "cat", "get", "ls", "resolve", "stat"]


async def add(
    store: BlockStore, data: bytes | Path | AsyncIterable[bytes], /, *, profile: str = "unixfs-v1-2025",
    progress: Progress | None = None,
) -> str:  # fmt: skip
    """Add bytes, a stream of them, or the file or directory at a path; return the CID. On return it is durable.

    Raises:
        ContentError: no such profile; a file changed while it was read; something is neither file, directory nor link.
        StorageError: something cannot be read, or the store's disk refused.
    """
    chosen = named(profile)
    adder = Adder(store, chosen, progress)
    if isinstance(data, (bytes, bytearray, memoryview)):
        built = await adder.add_bytes(bytes(data))
    elif isinstance(data, (str, os.PathLike)):
        built = await adder.add_path(data)
    else:
        built = await adder.add_chunks(data)
    await adder.flush()
    return text_of(built, chosen)


def cat(store: BlockStore, cid: str, /, *, start: int = 0, length: int | None = None) -> Content:
    """Return a file's content: `await` gives bytes, `async for` chunks of at most a block's size.

    Args:
        store: where its blocks are.
        cid: of the file.
        start: the first byte wanted; only blocks in the range are read.
        length: how many bytes are wanted; to the end if not given.

    Raises:
        ContentError: this is no CID that is known here, or the range is below 0.
    """
    return Content(store, parse(cid), start, length)


async def stat(store: BlockStore, cid: str, /) -> Stat:
    """Return whether a CID is a file, a directory or a symbolic link, and how many bytes a file has.

    Raises:
        ContentError, ContentMissingError: it is none of these; its first block is not here.
    """
    return await reading.stat(store, parse(cid))


async def ls(store: BlockStore, cid: str, /) -> list[Entry]:
    """Return what is in a directory, sharded or not, by name.

    Raises:
        ContentError, ContentMissingError: it is no directory; a block of it is not here.
    """
    found = [entry async for entry in reading.list_entries(store, parse(cid))]
    return sorted(found, key=lambda entry: entry.name.encode())


async def resolve(store: BlockStore, cid: str, path: str, /) -> str:
    """Return the CID of what has this path, `"sub/b.txt"`, below a directory.

    Raises:
        ContentError: there is no such path.
    """
    link = parse(cid)
    for name in path.split("/"):
        inside = {entry.name: entry.link async for entry in reading.list_entries(store, link)}
        if name not in inside:
            raise ContentError(f"{cid} has no {path!r}")
        link = inside[name]
    return str(link)


async def get(store: BlockStore, cid: str, target: Path, /) -> None:
    """Write a file or a directory at a path that is not there yet: whole, or not at all.

    Raises:
        ContentError: a name or a symbolic link in it leads elsewhere, or it is damaged.
        ContentMissingError: a block is not here.
        StorageError: the path is there already, or cannot be written.
    """
    await extract(store, parse(cid), os.fspath(target))


def parse(cid: str) -> Link:
    """Return what a CID's text names.

    Raises:
        ContentError: it is no CID, or one of a codec or hash that is not known here.
    """
    try:
        return cids.parse(cid)
    except ValueError as error:
        raise ContentError(str(error)) from error
