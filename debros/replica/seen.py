"""Had the writer of one entry seen another? If not, they are concurrent, and what both wrote is a conflict.

An entry names its parents, so the answer is a walk backward. What a key once had seen it has seen ever after, and a
chain of one key is one line, so a walk ends where it meets the other's chain, and what it found is kept.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Final

from cachetools import LRUCache

from debros.log.entry import parse_header
from debros.replica.pacing import TURN, finished

if TYPE_CHECKING:
    from debros.replica.entries import EntryRow
    from debros.replica.store import Store

_KEPT: Final = 4096  # pairs of keys


class Seen:
    """Answers for one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # (reader, writer): the reader's entry `seq` had seen the writer's entries up to a number
        self._known: LRUCache[tuple[int, bytes, bytes], tuple[int, int]] = LRUCache(_KEPT)

    def __call__(self, reader: EntryRow, other: EntryRow) -> bool:
        """Whether the writer of an entry had seen another entry of the same log. A forked chain counts as one line."""
        return finished(self.steps(reader, other))

    def steps(self, reader: EntryRow, other: EntryRow) -> Generator[None, None, bool]:
        """Do the same in steps of some entries each."""
        if reader.author == other.author:
            return other.seq < reader.seq
        if reader.clock <= other.clock:  # clocks grow along every line
            return False
        pair = (reader.log, reader.author, other.author)
        at, up_to = self._known.get(pair, (-1, -1))
        if at >= 0 and reader.seq >= at and other.seq <= up_to:
            return True
        found = yield from self._walk(reader, other)
        if found >= other.seq:
            self._known[pair] = (reader.seq, found)
        return found >= other.seq

    def _walk(self, reader: EntryRow, other: EntryRow) -> Generator[None, None, int]:
        """Return the number of an entry by the other's key, not before `other`, that was seen; -1 if there is none."""
        visited: set[bytes] = set()
        open_ends = [reader]
        while open_ends:
            entry = open_ends.pop()
            if entry.author == other.author and entry.seq >= other.seq:
                return entry.seq
            for digest in parse_header(self._store.log.read(entry.header)).parents():
                parent = self._store.entries.find(digest)
                if digest not in visited and parent is not None and parent.clock >= other.clock:
                    visited.add(digest)
                    open_ends.append(parent)
                    if len(visited) % TURN == 0:
                        yield
        return -1
