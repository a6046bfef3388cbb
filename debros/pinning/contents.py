"""The content of a node: adding, reading, bringing missing blocks, and throwing away what nobody needs.

Blocks are kept while a piece of content that is pinned or wanted reaches them. Whoever is adding holds a `Session`: its
blocks are safe from the collector until the ledger knows what they belong to.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

import trio

from debros.blocks.carstore import CarStore, Usage
from debros.blocks.cid import Link
from debros.blocks.tail import Block
from debros.blocks.unixfs import profiles, reading
from debros.blocks.unixfs.adding import Adder, Path, Progress
from debros.env import Env
from debros.errors import CeilingError, ContentError, ContentMissingError, CorruptionError

PROFILE: Final = profiles.V1_2025
_STEP: Final = 500  # blocks that the collector looks at between two checkpoints


class Source(Protocol):
    """Where blocks come from that are not here."""

    async def bring(self, links: Collection[Link], take: Callable[[Sequence[Block]], Awaitable[None]]) -> None:
        """Hand these blocks, whose hashes have been checked, to `take` as they come.

        Raises:
            ContentMissingError: nobody who is connected has some of them.
        """
        ...


class Session:
    """A store as somebody who adds sees it; keeps its blocks until `end`."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self.links: set[Link] = set()
        self.new_bytes = 0

    async def get(self, link: Link) -> bytes:
        return await self._contents.get(link)

    async def put(self, blocks: Sequence[Block], *, durable: bool = True) -> None:
        self.links.update(Link(codec, digest) for codec, digest, _ in blocks)
        self.new_bytes += await self._contents.put(blocks, durable=durable)

    async def has(self, link: Link) -> bool:
        return await self._contents.store.has(link)

    async def delete(self, links: Collection[Link]) -> None:
        raise ContentError("blocks are not deleted while they are added")

    def scan(self) -> AsyncIterator[Link]:
        return self._contents.store.scan()


class Contents:
    """The block store of a node with its room, its source of missing blocks, and its collector.

    `make_room(n)` is asked when `n` bytes more would not fit; it frees what it may.
    """

    def __init__(self, env: Env, store: CarStore, max_bytes: int) -> None:
        self._env = env
        self.store = store
        self.max_bytes = max_bytes
        self.source: Source | None = None
        self.make_room: Callable[[int], Awaitable[None]] | None = None
        self.used = 0  # bytes of blocks
        self._coming = 0  # bytes that are let in and not yet put: several come at once
        self._sessions: list[Session] = []
        self._ended: set[Link] | None = None  # what sessions put that ended while the collector runs
        self._guard = trio.Lock()  # no block is found to be here already, and deleted in the same moment

    async def measure(self) -> Usage:
        """Return what the store takes."""
        usage = await self.store.usage()
        self.used = usage.bytes
        return usage

    # -- blocks ------------------------------------------------------------------------------------------------

    async def get(self, link: Link) -> bytes:
        """Return a block, brought by a peer if it is not here or has rotted; errors as for `BlockStore.get`."""
        try:
            return await self.store.get(link)
        except CorruptionError:
            async with self._guard:
                await self.store.delete([link])
            if self.source is None:
                raise
        except ContentMissingError:
            if self.source is None:
                raise
        async with self.session() as session:
            await self.source.bring([link], session.put)
        return await self.store.get(link)

    async def put(self, blocks: Sequence[Block], *, durable: bool) -> int:
        """Keep blocks; return how many bytes of them are new.

        Raises:
            CeilingError: there is no room for them, and none can be made.
            StorageError, TooLargeError: as for `BlockStore.put`.
        """
        new = 0
        for codec, digest, block in blocks:
            if not await self.store.has(Link(codec, digest)):
                new += len(block)
        if new and not self._has_room_for(new):
            if self.make_room is not None:
                await self.make_room(self._coming + new)
            if not self._has_room_for(new):
                needed = self.used + self._coming + new
                raise CeilingError(needed, self.max_bytes, "what is here is pinned, protected, or held nowhere else")
        self._coming += new
        try:
            async with self._guard:
                await self.store.put(blocks, durable=durable)
                self.used += new
        finally:
            self._coming -= new
        return new

    def _has_room_for(self, new: int) -> bool:
        return self.used + self._coming + new <= self.max_bytes

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """Hold on to what is put in the block, until its end."""
        session = Session(self)
        self._sessions.append(session)
        try:
            yield session
        finally:
            self._sessions.remove(session)
            if self._ended is not None:
                self._ended |= session.links

    # -- content -----------------------------------------------------------------------------------------------

    async def add(
        self, session: Session, data: bytes | Path | AsyncIterable[bytes], progress: Progress | None = None
    ) -> tuple[Link, int, int]:
        """Add content; return its CID, its size, and the bytes of its blocks. On return it is durable.

        Raises:
            ContentError, StorageError, CeilingError: and nothing of it stays.
        """
        from debros.blocks.dagpb import link_of

        adder = Adder(session, PROFILE, progress, self._env)
        if isinstance(data, (bytes, bytearray, memoryview)):
            built = await adder.add_bytes(bytes(data))
        elif isinstance(data, AsyncIterable):
            built = await adder.add_chunks(data)
        else:
            built = await adder.add_path(data)
        await adder.flush()
        return link_of(built.cid), built.size, built.total

    async def is_whole(self, link: Link) -> bool:
        """Whether every block of a piece of content is here."""
        return not await self.missing_of(link)

    async def size_of(self, link: Link) -> int:
        """Return the bytes of those blocks of a piece of content that are here."""
        return await self.store.size_of_all([at async for at, missing in self._reached([link]) if not missing])

    async def missing_of(self, link: Link) -> list[Link]:
        """Return the blocks of a piece of content that are known to be missing: what is below them is not known."""
        return [at async for at, missing in self._reached([link]) if missing]

    async def _reached(self, roots: Iterable[Link]) -> AsyncIterator[tuple[Link, bool]]:
        """Yield every block that is reached from these, once, and whether it is missing. Leaves are not read."""
        from debros.blocks import cid

        seen: set[Link] = set()
        waiting = list(roots)
        while waiting:
            at = waiting.pop()
            if at in seen:
                continue
            seen.add(at)
            if at.codec != cid.DAG_PB:
                yield at, not await self.store.has(at)
                continue
            try:
                block = await self.store.get(at)
            except (ContentMissingError, CorruptionError):
                yield at, True
                continue
            yield at, False
            try:
                waiting += reading.links_of(at, block)
            except ContentError:  # what is no dag-pb links to nothing
                continue

    # -- the collector -----------------------------------------------------------------------------------------

    async def collect(self, roots: Callable[[], Awaitable[Iterable[Link]]]) -> int:
        """Delete every block that is not reached from the roots, nor from what is being added; return their bytes.

        Reads and additions go on. `roots` is asked again before each step that deletes.
        """
        if self._ended is not None:
            return 0  # one is at it already
        self._ended = set()
        before = self.used
        try:
            present = [link async for link in self.store.scan()]
            marked: set[Link] = set()
            live: set[Link] = set()
            await self._mark(roots, marked, live)
            dead = [link for link in present if link not in live]
            for at in range(0, len(dead), _STEP):
                async with self._guard:
                    await self._mark(roots, marked, live)
                    held = self._ended.union(*(session.links for session in self._sessions))
                    await self.store.delete(
                        [link for link in dead[at : at + _STEP] if link not in held and link not in live]
                    )
        finally:
            self._ended = None
        await self.measure()
        return max(0, before - self.used)

    async def _mark(self, roots: Callable[[], Awaitable[Iterable[Link]]], marked: set[Link], live: set[Link]) -> None:
        """Add the roots that are not `marked` yet, and whatever they reach to what is `live`."""
        while new := [link for link in await roots() if link not in marked]:
            marked.update(new)
            async for link, missing in self._reached(new):
                if not missing:
                    live.add(link)

    async def aclose(self) -> None:
        """Close the store."""
        await self.store.aclose()
