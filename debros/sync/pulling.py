"""Fetching what a peer has and we lack: find the difference by ranges, fetch it in (clock, digest) order, admit it.

Frames are admitted in order, each durable and visible before the next one, so whatever ends a pull, the next one finds only
the rest missing. While one is admitted, the next one is read and checked, or asked for: so neither node waits for the other,
nor for the disk.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import Final

import trio

from debros.errors import DebrosError, ProtocolError
from debros.replica.receive import Batch
from debros.replica.replica import Replica
from debros.sync.asking import Asker
from debros.sync.fingerprints import Fingerprints, split_records
from debros.sync.wire import (
    MAX_FETCHED,
    MAX_RANGES,
    Fetch,
    Range,
    Ranges,
    parse_differences,
    parse_entries,
)

MOST_MISSING: Final = 200_000  # entries fetched before the difference is looked for again; 16 MB of memory
DEEPEST: Final = 64  # digits of a digest

Lacking = Callable[[Collection[bytes]], Collection[bytes]]  # those that are not admitted, refused or held here
Check = Callable[[Batch], Awaitable[None]]  # ahead of its turn
Take = Callable[[Batch], Awaitable[None]]


@dataclass
class Pull:
    """One pull of one log from one peer."""

    asker: Asker
    replica: Replica
    prints: Fingerprints
    lacking: Lacking

    async def missing(self) -> list[bytes]:
        """Return clock and digest of what the peer has and we lack, ascending.

        Raises:
            TransportError, ProtocolError: of the peer.
        """
        await self.prints.catch_up()
        todo = self._beginning()
        found: list[bytes] = []
        while todo:
            await self.asker.may_ask()
            asked, todo = todo[:MAX_RANGES], todo[MAX_RANGES:]
            ours = [self.prints.range(self.replica.n, prefix) for prefix in asked]
            frame = await self.asker.one(Ranges(self.replica.log_id, ours))
            for mine, difference in zip(ours, parse_differences(frame, len(ours)), strict=True):
                if difference is None:
                    todo.append(mine.prefix)
                elif isinstance(difference, bytes):
                    found += self._unjudged(mine, difference)
                else:
                    todo += self._differing(mine, difference)
            if len(todo) == len(asked) and todo == asked:
                raise ProtocolError("a peer that answers nothing about ranges")
            if len(found) > 2 * MOST_MISSING:
                found = nsmallest(MOST_MISSING, found)
        return nsmallest(MOST_MISSING, found) if len(found) > MOST_MISSING else sorted(found)

    async def fetch(self, missing: Sequence[bytes], check: Check, take: Take) -> None:
        """Fetch entries, have them checked, and hand them on, frame by frame.

        Raises:
            TransportError, ProtocolError: of the peer; what came before is handed on first.
            DebrosError: what `take` raises.
        """
        send, receive = trio.open_memory_channel[Batch](0)  # one is taken, one is made ready
        failures: list[DebrosError] = []

        async def read() -> None:
            with send:
                try:
                    await self._read(missing, check, send)
                except DebrosError as error:
                    failures.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            try:
                async for batch in receive:
                    await take(batch)
            except DebrosError as error:
                failures.insert(0, error)
                nursery.cancel_scope.cancel()
        if failures:
            raise failures[0]

    async def _read(self, missing: Sequence[bytes], check: Check, send: trio.MemorySendChannel[Batch]) -> None:
        wanted = [record[8:] for record in missing]
        while wanted:
            await self.asker.may_ask()
            asked = wanted[:MAX_FETCHED]
            its, came = frozenset(asked), set[bytes]()
            async with self.asker.frames(Fetch(self.replica.log_id, asked)) as frames:
                async for frame in frames:
                    batch = Batch.of(parse_entries(frame))
                    if not its.issuperset(batch.digests):
                        raise ProtocolError("an entry that nobody asked for")
                    came.update(batch.digests)
                    await check(batch)
                    await send.send(batch)
            if not came:  # it does not have them after all, or does not send them
                wanted = wanted[MAX_FETCHED:]
                continue
            behind = len(asked)
            while asked[behind - 1] not in came:
                behind -= 1
            wanted = wanted[behind:]

    def _beginning(self) -> list[str]:
        """Return the ranges to begin with: the more there is here, the more of them, for one round trip less each."""
        count = self.prints.count(self.replica.n)
        digits = 0 if count < 512 else 1 if count < 16_384 else 2
        return [f"{n:0{digits}x}" for n in range(16**digits)] if digits else [""]

    def _unjudged(self, asked: Range, listed: bytes) -> list[bytes]:
        records = split_records(listed)
        if asked.prefix and not all(record[8:].hex().startswith(asked.prefix) for record in records):
            raise ProtocolError("a list with entries of another range")
        lacking = self.lacking([record[8:] for record in records])
        return records if len(lacking) == len(records) else [record for record in records if record[8:] in lacking]

    def _differing(self, asked: Range, children: list[tuple[int, bytes]]) -> list[str]:
        if len(asked.prefix) >= DEEPEST:
            raise ProtocolError("a range that is one entry, and has others below")
        ours = self.prints.children(self.replica.n, asked.prefix)
        return [
            f"{asked.prefix}{digit:x}"
            for digit, (theirs, mine) in enumerate(zip(children, ours, strict=True))
            if theirs != mine and theirs[0]
        ]
