"""A block store in CAR segments: appended like the log, found through an index, compacted while it is used.

The index is an SQLite file that may be deleted at any time: it is what the segments say up to the position `applied`, less
what was deleted. So a power cut can only take it back to an earlier moment, from which it is brought up again: every
block that `put` returned for is in a segment, and a segment goes only when its blocks have been synced in another one.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import suppress
from threading import Lock
from typing import Final, NamedTuple

import apsw
import trio

from debros.blocks import car
from debros.blocks.cid import Link
from debros.blocks.files import Files
from debros.blocks.index import Index, Place
from debros.blocks.logfile import LogFile
from debros.blocks.store import check_blocks
from debros.blocks.tail import Block
from debros.env import Env
from debros.errors import ClosedError, ContentMissingError, CorruptionError, StorageError

MAX_SEGMENT: Final = 64 << 20  # small enough that rewriting one is quick
SPARSE: Final = 0.5  # of a segment that is in use: below, it is worth rewriting
_STEP: Final = 4 << 20  # bytes that compaction moves at once
_PAGE: Final = 512  # blocks that a scan looks up at once


class Usage(NamedTuple):
    """What a store takes: blocks, their bytes, and the bytes of its files."""

    blocks: int
    bytes: int
    file_bytes: int


class CarStore:
    """Blocks on disk. `CarStore.open` makes one; `aclose` closes it."""

    def __init__(self, env: Env, log: LogFile, index: Index) -> None:
        self._env = env
        self._log = log
        self._index = index
        self._writing = trio.Lock()  # appends and compaction, one after another
        self._lock = Lock()  # the index, used by threads
        self._unnoted: list[Place] = []  # blocks on disk for which the index had no room
        self._is_closed = False

    @classmethod
    def open(cls, env: Env, files: Files, directory: str, index: str, *, max_segment: int = MAX_SEGMENT) -> CarStore:
        """Open a store; make it if there is none. Blocking.

        Args:
            env: randomness, and threads for what blocks.
            files: where the segments lie.
            directory: of the segments.
            index: the file of the index, or `:memory:`.
            max_segment: bytes of a segment.

        Raises:
            StorageError: the disk refused.
        """
        if index != ":memory:":
            os.makedirs(directory, 0o700, exist_ok=True)
        found = Index.open(index)
        log = LogFile.open(
            files, directory, applied=found.applied, random_bytes=env.random_bytes, max_segment=max_segment,
            is_streamed=True,
        )  # fmt: skip
        if not log.reaches(found.applied) or found.applied > log.end or found.store not in (b"", log.store):
            found = found.renewed()
        store = cls(env, log, found)
        store._catch_up()
        return store

    def _catch_up(self) -> None:
        found: list[Place] = []
        for section in self._log.scan(self._index.applied):
            found.append(Place(section.codec, section.digest, section.position, len(section.block)))
            if len(found) == _PAGE:
                self._index.add(found, car.position(0, 0))
                found = []
        self._index.add(found, self._log.end, self._log.store)

    async def get(self, link: Link) -> bytes:
        return await self._env.offload(self._get, link)

    def _get(self, link: Link) -> bytes:
        tried = -1
        while True:
            at = self._find(link)
            if at is None:
                raise ContentMissingError((str(link),))
            try:
                codec, digest, block = self._log.read_section(at)
            except (CorruptionError, StorageError):
                if at == tried:
                    raise
                tried = at  # compaction may have moved it meanwhile: look again
                continue
            if codec != link.codec or digest != link.digest:
                raise CorruptionError(f"another block stands where {link} was stored")
            return block

    def _find(self, link: Link) -> int | None:
        with self._lock:
            self._check_open()
            found = self._index.find(link)
            return None if found is None else found.position

    async def put(self, blocks: Sequence[Block], *, durable: bool = True) -> None:
        check_blocks(blocks)
        async with self._writing:
            await self._env.offload(self._put, blocks, durable)

    def _put(self, blocks: Sequence[Block], durable: bool) -> None:
        with self._lock:
            self._check_open()
            new = {(c, d): b for c, d, b in blocks if self._index.find(Link(c, d)) is None}
        group = [(codec, digest, block) for (codec, digest), block in new.items()]
        if group:
            places = self._log.append(group, durable=durable)
            self._note(group, places)
        elif durable:
            self._log.sync()

    def _note(self, group: Sequence[Block], places: Sequence[int]) -> None:
        found = [Place(c, d, at, len(b)) for (c, d, b), at in zip(group, places, strict=True)]
        with self._lock:
            self._unnoted += found
            self._index.add(self._unnoted, self._log.end)
            self._unnoted = []

    async def has(self, link: Link) -> bool:
        await trio.lowlevel.checkpoint()
        return self._find(link) is not None

    async def size_of_all(self, links: Collection[Link]) -> int:
        """Return the bytes of those of these blocks that are here."""
        await trio.lowlevel.checkpoint()
        with self._lock:
            self._check_open()
            places = [self._index.find(link) for link in links]
        return sum(place.size for place in places if place is not None)

    async def delete(self, links: Collection[Link]) -> None:
        await self._env.offload(self._delete, links)

    def _delete(self, links: Iterable[Link]) -> None:
        with self._lock:
            self._check_open()
            self._index.remove(links)

    async def scan(self) -> AsyncIterator[Link]:
        after = 0
        while True:
            await trio.lowlevel.checkpoint()
            with self._lock:
                self._check_open()
                page, after = self._index.page(after, _PAGE)
            for link in page:
                yield link
            if len(page) < _PAGE:
                return

    # -- compaction --------------------------------------------------------------------------------------------

    async def usage(self) -> Usage:
        """Return what the store takes."""
        return await self._env.offload(self._usage)

    def _usage(self) -> Usage:
        with self._lock:
            self._check_open()
            count, total = self._index.totals()
        return Usage(count, total, sum(self._log.size_of(number) for number in self._log.segments))

    async def compact(self, *, below: float = SPARSE) -> int:
        """Rewrite segments of which less than this part is in use, and return how many bytes of files went.

        Reads go on all the time, writes between two steps of a few MiB. Cancelled or cut off, nothing is lost.

        Raises:
            StorageError: the disk refused; what was moved so far stays moved.
        """
        freed = 0
        async with self._writing:
            written = await self._env.offload(self._begin_new_if_sparse, below)
        for number in written:
            async with self._writing:
                size = await self._env.offload(self._log.size_of, number)
            moved = 0
            while True:
                async with self._writing:
                    step = await self._env.offload(self._move_some, number)
                moved += step
                if not step:
                    break
            async with self._writing:
                await self._env.offload(self._log.drop, number)
            freed += size - moved
        return freed

    def _begin_new_if_sparse(self, below: float) -> list[int]:
        with self._lock:
            self._check_open()
            live = self._index.live_by_segment()
        segments = self._log.segments
        sparse = [n for n in segments if live.get(n, 0) < below * (self._log.size_of(n) - _head_size())]
        if segments[-1] in sparse:
            if live.get(segments[-1], 0) == 0 and self._log.size_of(segments[-1]) <= _head_size():
                sparse.remove(segments[-1])  # new, and empty
            else:
                self._log.begin_segment()
        return sparse

    def _move_some(self, number: int) -> int:
        """Move some blocks of a segment to the end of the newest one; return how many bytes they have."""
        with self._lock:
            self._check_open()
            places = self._index.in_segment(number, _STEP)
        group: list[Block] = []
        for place in places:
            try:
                codec, digest, block = self._log.read_section(place.position)
            except CorruptionError:  # it cannot be read any more: it is missing, and may come back from a peer
                self._delete([Link(place.codec, place.digest)])
                continue
            group.append((codec, digest, block))
        if group:
            self._note(group, self._log.append(group, durable=True))
        return sum(place.size for place in places)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("the block store is closed")

    async def aclose(self) -> None:
        """Sync and close."""
        with trio.CancelScope(shield=True):
            async with self._writing:
                await self._env.offload(self.close)

    def close(self) -> None:
        """Sync and close. Blocking; nothing may be going on."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            with suppress(StorageError):  # what was put durably is synced, and of the rest nobody was promised that
                self._log.sync()
            with suppress(apsw.Error):  # it may be deleted at any time, so it may fail at any time
                self._index.close()
            self._log.close()


def _head_size() -> int:
    return len(car.segment_start(1, bytes(16)))
