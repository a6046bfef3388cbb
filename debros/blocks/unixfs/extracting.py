"""Content out of a store onto a file system: whole or not at all, and nowhere but below the path that was named."""

from __future__ import annotations

import os
import shutil
from typing import Final

from debros.blocks.cid import Link
from debros.blocks.store import BlockSource
from debros.blocks.unixfs import node, reading
from debros.env import SYSTEM
from debros.errors import ContentError, StorageError

MAX_NESTING: Final = 128  # directories below each other


async def extract(store: BlockSource, link: Link, target: str) -> None:
    """Write what a CID leads to at `target`, which must not be there yet; see `unixfs.get`."""
    path, partial = await SYSTEM.offload(_places, target)
    try:
        await _write(store, link, partial, 0)
        await SYSTEM.offload(os.rename, partial, path)
    except OSError as error:
        raise StorageError(f"{target} cannot be written: {error.strerror}") from error
    finally:
        await SYSTEM.offload(_remove, partial)


def _places(target: str) -> tuple[str, str]:
    """Return where to write in the end, and where until all of it is there."""
    if not target or "\0" in target:
        raise ContentError(f"{target!r} is no path to write to")
    path = os.path.abspath(target)
    if os.path.lexists(path):
        raise StorageError(f"{path} is there already; it is not overwritten")
    return path, os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.part-{SYSTEM.random_bytes(4).hex()}")


async def _write(store: BlockSource, link: Link, path: str, depth: int) -> None:
    if depth > MAX_NESTING:
        raise ContentError(f"directories more than {MAX_NESTING} levels deep")
    found = await reading.stat(store, link)
    if found.kind == "directory":
        entries = [entry async for entry in reading.list_entries(store, link)]
        await SYSTEM.offload(os.mkdir, path, 0o755)
        for entry in entries:
            await _write(store, entry.link, os.path.join(path, entry.name), depth + 1)
    elif found.kind == "symlink":
        target = os.fsdecode(node.decode(await store.get(link)).data)
        if not target or "\0" in target or target.startswith("/") or _climbs(target, depth):
            raise ContentError(f"a symbolic link to {target!r}, outside of what it is a part of; it is not written")
        await SYSTEM.offload(os.symlink, target, path)
    else:
        fd = await SYSTEM.offload(os.open, path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            async for chunk in reading.read(store, link, 0, None):
                await SYSTEM.offload(_write_all, fd, chunk)
        finally:
            os.close(fd)


def _climbs(target: str, depth: int) -> bool:
    """Whether a relative link from `depth` levels below the top leads above it."""
    level = depth - 1
    for part in target.split("/"):
        level += 0 if part in ("", ".") else -1 if part == ".." else 1
        if level < 0:
            return True
    return False


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)
