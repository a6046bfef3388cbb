"""Bytes, streams, files and directories into blocks, streamed in constant memory.

While the store writes one batch, a thread reads and hashes the next. Nothing names the blocks of something that failed half
way, so they are garbage: the store's owner collects it.
"""

from __future__ import annotations

import os
import stat as modes
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from itertools import cycle
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import Final, TypeAlias, TypeVar, TypeVarTuple

import trio

from debros.blocks import cid, dagpb
from debros.blocks.dagpb import link_of
from debros.blocks.store import BlockStore
from debros.blocks.tail import Block
from debros.blocks.unixfs import directory, node
from debros.blocks.unixfs.profiles import Profile
from debros.blocks.unixfs.tree import Built, Tree, written
from debros.env import SYSTEM, Env
from debros.errors import ContentError, StorageError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Path: TypeAlias = "str | os.PathLike[str]"
Progress: TypeAlias = Callable[[int], None]  # bytes of content read so far

BATCH: Final = 4 << 20  # bytes of content that are hashed, and written, at once


class Adder:
    """Puts content into a store, and tells how much it has read."""

    def __init__(
        self, store: BlockStore, profile: Profile, progress: Progress | None = None, env: Env = SYSTEM
    ) -> None:
        """`env` gives the threads that read and hash."""
        self._env = env
        self._store = store
        self._profile = profile
        self._progress = progress
        self._done = 0
        self._blocks: list[Block] = []
        self._batch = max(1, BATCH // profile.chunk) * profile.chunk
        # one is filled while the other is written; a mapping, for small files touch little of it
        self._buffers = cycle([memoryview(mmap(-1, self._batch, flags=MAP_PRIVATE | MAP_ANONYMOUS)) for _ in range(2)])

    async def add_bytes(self, data: bytes) -> Built:
        """Add a file of these bytes."""
        tree = Tree(self._profile, self._take)
        for at in range(0, len(data), self._batch):
            await self._while_writing(self._cut, tree, memoryview(data)[at : at + self._batch])
        return tree.finish()

    async def add_chunks(self, chunks: AsyncIterable[bytes]) -> Built:
        """Add a file that comes in pieces of any size.

        Raises:
            ContentError: a piece is not bytes.
        """
        tree = Tree(self._profile, self._take)
        waiting = bytearray()
        try:
            async for piece in chunks:
                if not isinstance(piece, (bytes, bytearray, memoryview)):
                    raise ContentError(f"a stream of content gives bytes, not {type(piece).__name__}")
                waiting += piece
                if len(waiting) >= self._batch:
                    whole = len(waiting) // self._profile.chunk * self._profile.chunk
                    full, waiting = waiting, waiting[whole:]
                    await self._while_writing(self._cut, tree, memoryview(full)[:whole])
        finally:
            if isinstance(chunks, AsyncGenerator):  # one that was stopped half way
                await chunks.aclose()
        await self._while_writing(self._cut, tree, memoryview(waiting))
        return tree.finish()

    async def add_path(self, path: Path) -> Built:
        """Add a file or a directory, with everything in it; a symbolic link stays one, except `path` itself.

        Raises:
            StorageError: something cannot be read.
            ContentError: a file changed while it was read, or is neither file, directory nor link; a name is not UTF-8.
        """
        try:
            found = await self._env.offload(os.stat, path)
            if modes.S_ISDIR(found.st_mode):
                return await self._add_directory(os.fspath(path))
            return await self._add_file(os.fspath(path), found)
        except OSError as error:
            cure = "; content itself is given as bytes" if isinstance(error, FileNotFoundError) else ""
            raise StorageError(f"{error.filename or path} cannot be read: {error.strerror}{cure}") from error

    def _take(self, block: Block) -> None:
        self._blocks.append(block)

    async def flush(self) -> None:
        """Return once everything added survives a power cut."""
        blocks, self._blocks = self._blocks, []
        await self._store.put(blocks, durable=True)

    async def _while_writing(self, work: Callable[[*Ts], T], *args: *Ts) -> T:
        """Make further blocks in a thread, while those that are made already go into the store.

        Raises:
            Exception: what `put` of the store raises, or `work`.
        """
        blocks, self._blocks = self._blocks, []
        if not blocks:
            return await self._env.offload(work, *args)
        failures: list[Exception] = []
        made: list[T] = []

        async def put() -> None:
            try:
                await self._store.put(blocks, durable=False)
            except Exception as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(put)
            try:
                made.append(await self._env.offload(work, *args))
            except Exception as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return made[0]

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
        for name, kind in await self._env.offload(_listed, path):
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
                entries[raw] = await self._add_file(inside, await self._env.offload(os.lstat, inside))
        return await self._while_writing(directory.build, entries, self._profile, self._take)

    async def _add_symlink(self, path: str) -> Built:
        target = os.fsencode(await self._env.offload(os.readlink, path))
        block = dagpb.encode((), node.symlink_data(target))
        return Built(written(block, cid.DAG_PB, self._profile, self._take), 0, len(block))

    async def _add_file(self, path: str, found: os.stat_result) -> Built:
        if not modes.S_ISREG(found.st_mode):
            raise ContentError(f"{path} is neither a file, a directory nor a symbolic link")
        tree = Tree(self._profile, self._take)
        fd = await self._env.offload(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            before = os.fstat(fd)
            done = 0
            while size := await self._while_writing(self._read_batch, tree, fd, next(self._buffers)):
                done += size
            after = os.fstat(fd)
        finally:
            os.close(fd)
        same = (before.st_size, before.st_mtime_ns, before.st_ino) == (after.st_size, after.st_mtime_ns, found.st_ino)
        if not same or done != before.st_size:
            raise ContentError(f"{path} changed while it was read; nothing was added. Add it again when it is at rest")
        return tree.finish()

    def _read_batch(self, tree: Tree, fd: int, buffer: memoryview) -> int:
        done = 0
        size = self._profile.chunk
        while done < len(buffer):
            begin = done
            while done < begin + size and (more := os.readv(fd, [buffer[done : begin + size]])):
                done += more
            if done == begin:
                break
            tree.add(buffer[begin:done])
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
