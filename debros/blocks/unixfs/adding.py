"""Bytes, streams, files and directories into blocks, streamed in constant memory.

Nothing names the blocks of something that failed half way, so they are garbage: the store's owner collects it.
"""

from __future__ import annotations

import os
import stat as modes
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from typing import Final, TypeAlias

from debros.blocks import cid, dagpb
from debros.blocks.dagpb import link_of
from debros.blocks.store import BlockStore
from debros.blocks.tail import Block
from debros.blocks.unixfs import directory, node
from debros.blocks.unixfs.profiles import Profile
from debros.blocks.unixfs.tree import Built, Tree, written
from debros.env import SYSTEM
from debros.errors import ContentError, StorageError

Path: TypeAlias = "str | os.PathLike[str]"
Progress: TypeAlias = Callable[[int], None]  # bytes of content read so far

BATCH: Final = 4 << 20  # bytes of content that are in memory at once


class Adder:
    """Puts content into a store, and tells how much it has read."""

    def __init__(self, store: BlockStore, profile: Profile, progress: Progress | None = None) -> None:
        self._store = store
        self._profile = profile
        self._progress = progress
        self._done = 0
        self._blocks: list[Block] = []

    async def add_bytes(self, data: bytes) -> Built:
        """Add a file of these bytes."""
        tree = Tree(self._profile, self._take)
        per_batch = BATCH // self._profile.chunk * self._profile.chunk
        for at in range(0, len(data), per_batch):
            await SYSTEM.offload(self._cut, tree, memoryview(data)[at : at + per_batch])
            await self._put()
        return tree.finish()

    async def add_chunks(self, chunks: AsyncIterable[bytes]) -> Built:
        """Add a file that comes in pieces of any size.

        Raises:
            ContentError: a piece is not bytes.
        """
        tree = Tree(self._profile, self._take)
        size = self._profile.chunk
        waiting = bytearray()
        try:
            async for piece in chunks:
                if not isinstance(piece, (bytes, bytearray, memoryview)):
                    raise ContentError(f"a stream of content gives bytes, not {type(piece).__name__}")
                waiting += piece
                if len(waiting) >= BATCH:
                    whole = len(waiting) // size * size
                    await SYSTEM.offload(self._cut, tree, memoryview(bytes(waiting[:whole])))
                    del waiting[:whole]
                    await self._put()
        finally:
            if isinstance(chunks, AsyncGenerator):  # one that was stopped half way
                await chunks.aclose()
        await SYSTEM.offload(self._cut, tree, memoryview(bytes(waiting)))
        return tree.finish()

    async def add_path(self, path: Path) -> Built:
        """Add a file or a directory, with everything in it; a symbolic link stays one, except `path` itself.

        Raises:
            StorageError: something cannot be read.
            ContentError: a file changed while it was read, or is neither file, directory nor link; a name is not UTF-8.
        """
        try:
            found = await SYSTEM.offload(os.stat, path)
            if modes.S_ISDIR(found.st_mode):
                return await self._add_directory(os.fspath(path))
            return await self._add_file(os.fspath(path), found)
        except OSError as error:
            raise StorageError(f"{error.filename or path} cannot be read: {error.strerror}") from error

    def _take(self, block: Block) -> None:
        self._blocks.append(block)

    async def flush(self) -> None:
        """Return once everything added survives a power cut."""
        blocks, self._blocks = self._blocks, []
        await self._store.put(blocks, durable=True)

    async def _put(self) -> None:
        blocks, self._blocks = self._blocks, []
        if blocks:
            await self._store.put(blocks, durable=False)

    def _cut(self, tree: Tree, data: memoryview) -> None:
        size = self._profile.chunk
        for at in range(0, len(data), size):
            tree.add(data[at : at + size])
        self._note(len(data))

    def _note(self, size: int) -> None:
        self._done += size
        if self._progress is not None:
            self._progress(self._done)

    async def _add_directory(self, path: str) -> Built:
        entries: dict[bytes, Built] = {}
        for name, kind in await SYSTEM.offload(_listed, path):
            inside = os.path.join(path, name)
            try:
                raw = name.encode()
            except UnicodeEncodeError as error:
                raise ContentError(f"{inside!r}: a name that is not UTF-8") from error
            if kind == "link":
                entries[raw] = await self._add_symlink(inside)
            elif kind == "directory":
                entries[raw] = await self._add_directory(inside)
            else:
                entries[raw] = await self._add_file(inside, await SYSTEM.offload(os.lstat, inside))
        built = directory.build(entries, self._profile, self._take)
        await self._put()
        return built

    async def _add_symlink(self, path: str) -> Built:
        target = os.fsencode(await SYSTEM.offload(os.readlink, path))
        block = dagpb.encode((), node.symlink_data(target))
        return Built(written(block, cid.DAG_PB, self._profile, self._take), 0, len(block))

    async def _add_file(self, path: str, found: os.stat_result) -> Built:
        if not modes.S_ISREG(found.st_mode):
            raise ContentError(f"{path} is neither a file, a directory nor a symbolic link")
        tree = Tree(self._profile, self._take)
        fd = await SYSTEM.offload(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            before = os.fstat(fd)
            done = 0
            while size := await SYSTEM.offload(self._read_batch, tree, fd):
                done += size
                await self._put()
            after = os.fstat(fd)
        finally:
            os.close(fd)
        same = (before.st_size, before.st_mtime_ns, before.st_ino) == (after.st_size, after.st_mtime_ns, found.st_ino)
        if not same or done != before.st_size:
            raise ContentError(f"{path} changed while it was read; nothing was added. Add it again when it is at rest")
        return tree.finish()

    def _read_batch(self, tree: Tree, fd: int) -> int:
        done = 0
        size = self._profile.chunk
        while done < BATCH:
            chunk = os.read(fd, size)
            while 0 < len(chunk) < size and (more := os.read(fd, size - len(chunk))):
                chunk += more
            if not chunk:
                break
            tree.add(chunk)
            done += len(chunk)
        self._note(done)
        return done


def _listed(path: str) -> list[tuple[str, str]]:
    with os.scandir(path) as found:
        entries = [
            (entry.name, "link" if entry.is_symlink() else "directory" if entry.is_dir() else "file") for entry in found
        ]
    return sorted(entries)


def text_of(built: Built, profile: Profile) -> str:
    """Return a built tree's CID as text."""
    link = link_of(built.cid)
    return cid.to_text_v0(link.digest) if profile.version == 0 and link.codec == cid.DAG_PB else str(link)
