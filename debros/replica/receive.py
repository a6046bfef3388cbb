"""Entries from outside: through the gate, onto the disk, into the view.

Parents come before children. Those before a refused or held one stay admitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from debros.blocks import cid
from debros.blocks.tail import Block
from debros.env import collector_paused
from debros.errors import EntryHeldError, EntryRefusedError
from debros.log.gate import Admission, Checked, Known, check_alone, judge
from debros.replica.entries import EntryRow
from debros.replica.replay import changes_in
from debros.replica.replica import Replica
from debros.replica.store import Admitted, Store

CHECKED_APART: Final = 16  # entries for which it is worth asking a thread: it costs about as much as four signatures


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
        self._digests = [sha256(delivery.header).digest() for delivery in deliveries]
        self._offered = frozenset(self._digests)
        self._next_e = 0
        self._known: dict[bytes, Known] = {}
        self.look()

    def look(self) -> None:
        """Ask which of the entries are admitted, unless nothing came since the last look.

        They are asked for at once, for most are new, and a miss costs a query each.
        """
        next_e = self._replica.next_e
        if self._next_e != next_e:
            self._known, self._next_e = self._replica.known_among(self._offered), next_e

    def unknown(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Return those of its deliveries that are not admitted."""
        return [
            delivery for delivery, digest in zip(deliveries, self._digests, strict=True) if digest not in self._known
        ]

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
    batch = _Batch(replica, deliveries)
    checked: dict[Delivery, Checked] = {}
    if len(deliveries) >= CHECKED_APART:  # verifying releases the interpreter: meanwhile this one reads the next frame
        checked = await store.env.offload(_check_apart, batch.unknown(deliveries), batch)
    async with store.writer.exclusive():
        batch.look()
        with collector_paused():
            failure = _judge_all(batch, deliveries, checked, store.env.now_us() // 1000)
        count = len(batch.accepted)
        if count:
            first, blocks = _blocks(replica, batch)
            positions = await store.append(blocks, store.parts_for(replica, len(blocks)))
            with collector_paused():
                _show(store, replica, batch, positions[first : first + 2 * count])
                batch.accepted.clear()  # what was decoded goes before the collector could look at it
                checked.clear()
    if failure is not None:
        raise failure
    return count


def _check_apart(deliveries: Sequence[Delivery], batch: _Batch) -> dict[Delivery, Checked]:
    """Check entries by themselves, in a thread, up to the first that is not good: what is behind it may never be asked."""
    checked: dict[Delivery, Checked] = {}
    with collector_paused():
        for delivery in deliveries:
            try:
                checked[delivery] = check_alone(delivery.header, delivery.body, batch)
            except (EntryRefusedError, EntryHeldError):
                break  # the gate finds it again, and says so if it is still asked then
    return checked


def _judge_all(
    batch: _Batch, deliveries: Sequence[Delivery], checked: Mapping[Delivery, Checked], now_ms: int
) -> EntryRefusedError | EntryHeldError | None:
    """Put a batch through the gate, up to the first that it does not let in."""
    for delivery in deliveries:
        try:
            admission = judge(delivery.header, delivery.body, batch, now_ms, checked.get(delivery))
        except (EntryRefusedError, EntryHeldError) as error:
            return error
        if not admission.known:
            batch.take(delivery, admission)
    return None


def _blocks(replica: Replica, batch: _Batch) -> tuple[int, list[Block]]:
    """Return what is to be written, and where in it the entries begin.

    The log's manifest stands before its first entry, and once more behind a part of a transaction: else one of this home's
    own that came back from elsewhere would look like an unfinished one, whenever the log is replayed.
    """
    manifest: Block = (cid.DAG_CBOR, replica.log_id, replica.manifest.block)
    blocks: list[Block] = [] if replica.heads else [manifest]
    first = len(blocks)
    for delivery, admission in batch.accepted:
        header = admission.header
        blocks.append((header.body_codec, header.body, delivery.body or b""))
        blocks.append((cid.DAG_CBOR, header.digest, delivery.header))
    return first, [*blocks, manifest] if _has_parts(batch) else blocks


def _has_parts(batch: _Batch) -> bool:
    """Whether entries of a batch are parts of transactions."""
    return any(admission.body is not None and admission.body.tx is not None for _, admission in batch.accepted)


def _show(store: Store, replica: Replica, batch: _Batch, positions: list[int]) -> None:
    """Let entries be seen that are on disk at these positions."""
    try:
        admitted = _admit_all(store, replica, batch, positions)
    except BaseException as error:
        raise store.break_off(error) from error
    store.announce(admitted)
    store.flush_if_full()


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
