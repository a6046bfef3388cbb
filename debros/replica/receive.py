"""Entries from outside: through the gate, onto the disk, into the view.

Parents come before children. Those before a refused or held one stay admitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from debros.blocks import cid
from debros.errors import EntryHeldError, EntryRefusedError
from debros.log.gate import Admission, Known, judge
from debros.replica.entries import EntryRow
from debros.replica.replay import changes_in
from debros.replica.replica import Replica
from debros.replica.store import Admitted, Store


class Delivery(NamedTuple):
    """An entry as it comes: header bytes, and body bytes or `None` when the body did not come."""

    header: bytes
    body: bytes | None


class _Batch:
    """The log as the gate sees it while a batch is judged: what is admitted, and what is about to be."""

    def __init__(self, replica: Replica, deliveries: Sequence[Delivery]) -> None:
        self.log_id = replica.log_id
        self.manifest = replica.manifest
        self._replica = replica
        self.accepted: list[tuple[Delivery, Admission]] = []
        self._offered = {sha256(delivery.header).digest() for delivery in deliveries}
        self._known = replica.known_among(self._offered)  # asked at once: most are new, and a miss costs a query each

    def entry(self, digest: bytes) -> Known | None:
        return self._known.get(digest) if digest in self._offered else self._replica.entry(digest)

    def take(self, delivery: Delivery, admission: Admission) -> None:
        header = admission.header
        self._known[header.digest] = Known(header.author, header.seq, header.clock, admission.user)
        self.accepted.append((delivery, admission))


async def receive(store: Store, replica: Replica, deliveries: Sequence[Delivery]) -> int:
    """Admit entries of a log, parents first, and return how many were new. On return they are durable.

    Raises:
        EntryRefusedError, EntryHeldError: of the first that the gate does not let in; those before it are admitted.
        StorageError: the disk failed; none is admitted.
    """
    store.check_open()
    async with store.writer.exclusive():
        batch, failure = judge_all(replica, deliveries, store.env.now_us() // 1000)
        if batch.accepted:
            blocks = _blocks(replica, batch)
            positions = await store.append(blocks, store.parts_for(replica, len(blocks)))
            try:
                admitted = _admit_all(store, replica, batch, positions[-2 * len(batch.accepted) :])
            except BaseException as error:
                raise store.break_off(error) from error
            store.announce(admitted)
            if any(admission.body is not None and admission.body.tx is not None for _, admission in batch.accepted):
                store.flush()  # a part of an own transaction that came back from a peer is no unfinished one
            store.flush_if_full()
    if failure is not None:
        raise failure
    return len(batch.accepted)


def judge_all(
    replica: Replica, deliveries: Sequence[Delivery], now_ms: int
) -> tuple[_Batch, EntryRefusedError | EntryHeldError | None]:
    """Put a batch through the gate, up to the first that it does not let in."""
    batch = _Batch(replica, deliveries)
    for delivery in deliveries:
        try:
            admission = judge(delivery.header, delivery.body, batch, now_ms)
        except (EntryRefusedError, EntryHeldError) as error:
            return batch, error
        if not admission.known:
            batch.take(delivery, admission)
    return batch, None


def _blocks(replica: Replica, batch: _Batch) -> list[tuple[int, bytes, bytes]]:
    blocks = [] if replica.heads else [(cid.DAG_CBOR, replica.log_id, replica.manifest.block)]
    for delivery, admission in batch.accepted:
        header = admission.header
        blocks.append((header.body_codec, header.body, delivery.body or b""))
        blocks.append((cid.DAG_CBOR, header.digest, delivery.header))
    return blocks


def _admit_all(store: Store, replica: Replica, batch: _Batch, positions: list[int]) -> list[Admitted]:
    admitted: list[Admitted] = []
    for n, (_, (header, body, user, _)) in enumerate(batch.accepted):
        body_at, header_at = positions[2 * n : 2 * n + 2]
        entry = EntryRow.of(header, store.entries.next_e, replica.n, user, header_at, body_at)
        changes, skipped = changes_in(body)
        acts = body.acts if body is not None else None
        replica._admit(entry, header.parents(), changes, acts, skipped)
        store.admitted_up_to(header_at, header.digest, len(header.raw))
        admitted.append(Admitted(replica, entry, changes, "remote"))
    return admitted
