"""Answering what peers ask about logs, from what is synced to disk."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Set
from hashlib import sha256

from debros.errors import CorruptionError
from debros.replica.receive import Delivery
from debros.replica.replica import Replica
from debros.replica.store import Store
from debros.sync.fingerprints import Fingerprints
from debros.sync.wire import (
    FRAME_SIZE,
    MAX_ANSWER,
    Difference,
    Range,
    encode_entries,
)


def print_of(heads: frozenset[bytes] | set[bytes]) -> bytes:
    """Return what stands for a set of heads, 32 bytes. Equal heads mean equal entries."""
    return sha256(b"".join(sorted(heads))).digest()


def newest(store: Store, heads: Set[bytes], most: int) -> list[bytes]:
    """Return at most so many heads, the newest ones, ascending."""
    if len(heads) <= most:
        return sorted(heads)
    rows = sorted(store.entries.find_all(heads), key=lambda row: (-row.clock, row.digest))
    return sorted(row.digest for row in rows[:most])


async def make_durable(store: Store) -> None:
    """Return once what the node shows survives a power cut: nothing leaves it before, else it could fork itself."""
    if not store.log.is_synced:
        async with store.writer.exclusive():
            await store.env.offload(store.log.sync)


def differences(prints: Fingerprints, replica: Replica, ranges: list[Range]) -> list[Difference]:
    """Answer about ranges, in order, until the answer is large enough; the rest is to be asked about again."""
    found: list[Difference] = []
    size = 0
    for range in ranges:
        if size > MAX_ANSWER // 8:
            found.append(None)
            continue
        difference = prints.difference(replica.n, range)
        size += len(difference) if isinstance(difference, bytes) else 320
        found.append(difference)
    return found


async def entries(store: Store, replica: Replica, digests: list[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield frames of the entries that are here, in the order asked; at most about 4 MiB of them."""
    rows = {row.digest: row for row in store.entries.find_all(frozenset(digests)) if row.log == replica.n}
    frame: list[Delivery] = []
    size = sent = 0
    for digest in digests:
        row = rows.get(digest)
        if row is None or sent > MAX_ANSWER - FRAME_SIZE:
            continue
        delivery = delivery_of(store, row.header, row.body)
        if delivery is None:
            continue
        length = len(delivery.header) + len(delivery.body or b"")
        if frame and size + length > FRAME_SIZE:
            yield encode_entries(frame)
            frame, size = [], 0
        frame.append(delivery)
        size += length
        sent += length
    if frame:
        yield encode_entries(frame)


def delivery_of(store: Store, header: int, body: int) -> Delivery | None:
    """Read an entry from the log; `None` where it has rotted: what does not hash to its address is never served."""
    try:
        (_, _, its_body), (_, _, its_header) = store.log.read_pair(body, header)  # in this order they were written
        return Delivery(its_header, its_body)
    except CorruptionError:
        return None
