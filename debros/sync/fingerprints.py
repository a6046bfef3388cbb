"""Fingerprints of ranges of entries: how two replicas find where they differ, in a few round trips.

A range is a prefix of digests in hex; its fingerprint says how many entries it has and what their digests add up to
modulo 2**256. The sums of the 65,536 ranges of four digits are kept, in memory and only for what exists; every other
range is added up from those, or read from the index by one query. They are brought up to date when somebody asks, so a
write costs nothing.

Fingerprints only *find*. Whether replicas are equal is decided by their heads, which no writer can forge: equal heads mean
equal entries. (Additive hashes fall to generalised birthdays; Wagner, CRYPTO 2002.)

Range-based set reconciliation: Meyer, arXiv:2212.13567.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import trio

from debros.replica.store import Store
from debros.sync.wire import FAN_OUT, MAX_LISTED, PRINT, RECORD, Children, Difference, Range

KEPT: Final = 4  # hex digits of the ranges whose sums are kept
SLICE: Final = 4096  # entries read between two steps of the scheduler
LISTED: Final = 24  # a range with no more entries is answered by their list
_MODULUS: Final = 2**256


class Fingerprints:
    """The sums of one store, for all its logs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sums: dict[int, dict[int, tuple[int, int]]] = {}  # log -> first 16 bits -> count and sum
        self._upto = 0  # number of the last entry that is in the sums

    async def catch_up(self) -> None:
        """Take in the entries that came since the last call."""
        store = self._store
        while self._upto < store.entries.next_e - 1:
            store.check_open()
            flush(store)
            rows = store.view.read(
                "SELECT e, log, digest FROM entries WHERE e > ? ORDER BY e LIMIT ?", (self._upto, SLICE)
            )
            for e, log, digest in rows:
                if e > self._upto:
                    buckets = self._sums.setdefault(log, {})
                    place = (digest[0] << 8) | digest[1]
                    count, total = buckets.get(place, (0, 0))
                    buckets[place] = count + 1, total + int.from_bytes(digest, "big")
                    self._upto = e
            await trio.lowlevel.checkpoint()

    def count(self, log: int) -> int:
        """Return how many entries of a log are in the sums."""
        return sum(count for count, _ in self._sums.get(log, {}).values())

    def range(self, log: int, prefix: str) -> Range:
        """Return the fingerprint of a range."""
        if len(prefix) <= KEPT:
            count, total = self._sum(log, prefix)
        else:
            digests = [record[8:] for record in self.records(log, prefix)]
            count, total = len(digests), sum(int.from_bytes(digest, "big") for digest in digests)
        return Range(prefix, count, fingerprint(count, total))

    def children(self, log: int, prefix: str) -> Children:
        """Return count and fingerprint of the 16 ranges below a range."""
        if len(prefix) < KEPT:
            sums = [self._sum(log, f"{prefix}{digit:x}") for digit in range(FAN_OUT)]
        else:
            counts, totals = [0] * FAN_OUT, [0] * FAN_OUT
            for record in self.records(log, prefix):
                digit = int(record[8:].hex()[len(prefix)], 16)
                counts[digit] += 1
                totals[digit] += int.from_bytes(record[8:], "big")
            sums = list(zip(counts, totals, strict=True))
        return [(count, fingerprint(count, total)) for count, total in sums]

    def records(self, log: int, prefix: str) -> list[bytes]:
        """Return clock and digest, 40 bytes, of every entry of a range."""
        query, bindings = "SELECT t, digest FROM entries WHERE log = ?", [log]
        if prefix:
            low = int(prefix[:16].ljust(16, "0"), 16)
            high = int(prefix[:16].ljust(16, "f"), 16)
            query += " AND k BETWEEN ? AND ?"  # the index is by the first 8 bytes as a signed integer
            bindings += [_signed(low), _signed(high)]
        rows = self._store.view.read(query, bindings)
        found = [t.to_bytes(8, "big") + digest for t, digest in rows]
        return found if len(prefix) <= 16 else [record for record in found if record[8:].hex().startswith(prefix)]

    def difference(self, log: int, theirs: Range) -> Difference:
        """Answer about a range of which the asker has said what it has: a list where it is short, else what is below.

        A range that the asker has little of is listed up to 4,096 entries, for then most of it is missing there.
        """
        ours = self.range(log, theirs.prefix)
        if ours == theirs or not ours.size:
            return b""
        if ours.size <= LISTED or (2 * theirs.size < ours.size <= MAX_LISTED):
            return b"".join(self.records(log, theirs.prefix))
        return self.children(log, theirs.prefix)

    def _sum(self, log: int, prefix: str) -> tuple[int, int]:
        buckets = self._sums.get(log, {})
        width = 4 * (KEPT - len(prefix))
        first = int(prefix or "0", 16) << width
        places = range(first, first + (1 << width))
        found = (
            [buckets[place] for place in places if place in buckets]
            if len(places) < len(buckets)
            else [pair for place, pair in buckets.items() if place in places]
        )
        return sum(count for count, _ in found), sum(total for _, total in found)


def fingerprint(count: int, total: int) -> bytes:
    """Return what stands for a set of so many digests with this sum, 16 bytes."""
    return sha256(count.to_bytes(8, "big") + (total % _MODULUS).to_bytes(32, "big")).digest()[:PRINT]


def split_records(listed: bytes) -> list[bytes]:
    """Cut a list into its records."""
    return [listed[at : at + RECORD] for at in range(0, len(listed), RECORD)]


def flush(store: Store) -> None:
    """Move what is pending into the view, so that queries find it."""
    store.view.hide_provisional()
    store.flush()


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
