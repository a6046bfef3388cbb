"""Entries from outside: through the gate, onto the disk, into the view.

Parents come before children. Those before a refused or held one stay admitted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from hashlib import sha256
from typing import Final, NamedTuple

import trio
from trio.lowlevel import enable_ki_protection

from debros.blocks import cid
from debros.blocks.tail import Block
from debros.env import collector_paused
from debros.errors import BodyError, EntryHeldError, EntryRefusedError
from debros.log.body import LARGE, Body, packed_body, parse_body
from debros.log.gate import Admission, Checked, Known, LogState, check_alone, judge
from debros.replica.changes import changes_to_fold
from debros.replica.entries import EntryRow
from debros.replica.replica import Replica
from debros.replica.store import Admitted, Store

CHECKED_APART: Final = 16  # entries for which it is worth asking a thread: it costs about as much as four signatures
LARGE_BODY: Final = 32 << 10  # bytes of one for which it is worth that


class Delivery(NamedTuple):
    """An entry as it comes: header bytes, and body bytes or `None` when the body did not come."""

    header: bytes
    body: bytes | None


class Batch(NamedTuple):
    """Entries that came together, by what names them, and what is known of each before the log is asked."""

    deliveries: Sequence[Delivery]
    digests: Sequence[bytes]  # of the headers
    ready: list[Checked | None]  # `None`: not checked yet, or not good

    @classmethod
    def of(cls, deliveries: Sequence[Delivery]) -> Batch:
        """Return these entries, none of them checked."""
        return cls(deliveries, [sha256(header).digest() for header, _ in deliveries], [None] * len(deliveries))

    @property
    def is_checked(self) -> bool:
        """Whether the first of them was found good: then they were looked at, up to one that is not."""
        return bool(self.ready) and self.ready[0] is not None

    @property
    def is_large(self) -> bool:
        """Whether it takes long to check."""
        return len(self.digests) >= CHECKED_APART or any(len(body or b"") >= LARGE_BODY for _, body in self.deliveries)

    def after(self, at: int) -> Batch:
        """Return what comes behind the entry at this place."""
        return Batch(self.deliveries[at + 1 :], self.digests[at + 1 :], self.ready[at + 1 :])

    def without(self, places: set[int]) -> Batch:
        """Return the entries but those at some places."""
        kept = [n for n in range(len(self.digests)) if n not in places]
        return Batch(*([column[n] for n in kept] for column in self))  # type: ignore[arg-type]  # column by column


_known = partial(tuple.__new__, Known)  # as `Known`, of a tuple: a call of Python less for each entry


class _Log:
    """The log as the gate sees it while a batch is judged: what is admitted, and what is about to be."""

    def __init__(self, replica: Replica, offered: Sequence[bytes]) -> None:
        self.log_id = replica.log_id
        self.manifest = replica.manifest
        self._replica = replica
        self.accepted: list[tuple[Delivery, Admission]] = []
        self._offered = frozenset(offered)
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

    @property
    def known(self) -> frozenset[bytes]:
        """Those of the batch that are admitted, as of the last look."""
        return frozenset(self._known)

    def entry(self, digest: bytes) -> Known | None:
        return self._known.get(digest) if digest in self._offered else self._replica.entry(digest)

    def take(self, delivery: Delivery, admission: Admission) -> None:
        header = admission.header
        self._known[header.digest] = _known((header.author, header.seq, header.clock, admission.user))
        self.accepted.append((delivery, admission))


async def receive(store: Store, replica: Replica, deliveries: Sequence[Delivery]) -> int:
    """Admit entries of a log, parents first, and return how many were new. On return they are durable.

    Raises:
        EntryRefusedError, EntryHeldError: of the first that the gate does not let in; those before it are admitted.
        StorageError: the disk failed; none is admitted.
    """
    return await receive_batch(store, replica, Batch.of(deliveries))


@enable_ki_protection
async def receive_batch(store: Store, replica: Replica, batch: Batch) -> int:
    """Like `receive`, for a batch that may have been checked."""
    store.check_open()
    log = _Log(replica, batch.digests)
    if not batch.is_checked:
        await _check_apart(store, batch, log, log.known)
    async with store.writer.exclusive():
        log.look()
        with collector_paused():
            failure = _judge_all(log, batch, store.env.now_us() // 1000)
        count = len(log.accepted)
        if count:
            first, blocks = _blocks(replica, log)
            positions = await store.append(blocks, store.parts_for(replica, len(blocks)))
            with collector_paused():
                _show(store, replica, log, positions[first : first + 2 * count])
                log.accepted.clear()  # what was decoded goes before the collector could look at it
                batch.ready[:] = [None] * len(batch.ready)
    if failure is not None:
        raise failure
    return count


async def check_apart(store: Store, replica: Replica, batch: Batch) -> None:
    """Check what of a large batch needs nothing but its bytes, so that it is done when `receive_batch` looks.

    Many signatures are verified in a thread, which releases the interpreter: meanwhile this one reads the next frame, or
    admits the batch before.
    """
    await _check_apart(store, batch, replica, replica.remembered_among(frozenset(batch.digests)))


async def _check_apart(store: Store, batch: Batch, log: LogState, known: Collection[bytes]) -> None:
    """Check a large batch, but for what is known: that is found out again, with the writer's lock."""
    if batch.is_large and (len(batch.digests) >= CHECKED_APART or not await _check_quickly(batch, log, known)):
        await store.env.offload(_check_all, batch, log, known)


async def _check_quickly(batch: Batch, log: LogState, known: Collection[bytes]) -> bool:
    """Check entries of the usual form here, one by one, and return whether all were such.

    Most of that is work that holds the interpreter, so a thread gains nothing, and its turns cost a tenth of the whole. What
    takes long is hostile, and comes to a thread.
    """
    for n, digest in enumerate(batch.digests):
        if digest in known or batch.ready[n] is not None:
            continue
        header, body = batch.deliveries[n]
        with collector_paused():
            found = check_alone([(header, body, digest)], log, _quick_body)
        if not found:
            return False
        batch.ready[n] = found[0]
        await trio.lowlevel.checkpoint()
    return True


def _quick_body(raw: bytes) -> Body:
    """Read a body, if that is surely quick.

    Raises:
        BodyError: it is not of the form, or nobody knows yet.
    """
    if len(raw) < LARGE:
        return parse_body(raw)
    packed = packed_body(raw)
    if packed is None:
        raise BodyError("not the usual large body")
    return packed


def _check_all(batch: Batch, log: LogState, known: Collection[bytes]) -> None:
    """Check entries by themselves, up to the first that is not good: what is behind it may never be asked."""
    deliveries, digests, ready = batch
    places = [n for n, digest in enumerate(digests) if digest not in known and ready[n] is None]
    with collector_paused():
        found = check_alone([(deliveries[n].header, deliveries[n].body, digests[n]) for n in places], log)
    for n, checked in zip(places, found, strict=False):
        ready[n] = checked


def _judge_all(log: _Log, batch: Batch, now_ms: int) -> EntryRefusedError | EntryHeldError | None:
    """Put a batch through the gate, up to the first that it does not let in."""
    for delivery, ready in zip(batch.deliveries, batch.ready, strict=True):
        try:
            admission = judge(delivery.header, delivery.body, log, now_ms, ready)
        except (EntryRefusedError, EntryHeldError) as error:
            return error
        if not admission.known:
            log.take(delivery, admission)
    return None


def _blocks(replica: Replica, log: _Log) -> tuple[int, list[Block]]:
    """Return what is to be written, and where in it the entries begin.

    The log's manifest stands before its first entry, and once more behind a part of a transaction: else one of this home's
    own that came back from elsewhere would look like an unfinished one, whenever the log is replayed.
    """
    manifest: Block = (cid.DAG_CBOR, replica.log_id, replica.manifest.block)
    blocks: list[Block] = [] if replica.heads else [manifest]
    first = len(blocks)
    for delivery, admission in log.accepted:
        header = admission.header
        blocks.append((header.body_codec, header.body, delivery.body or b""))
        blocks.append((cid.DAG_CBOR, header.digest, delivery.header))
    return first, [*blocks, manifest] if _has_parts(log) else blocks


def _has_parts(log: _Log) -> bool:
    """Whether entries that were accepted are parts of transactions."""
    return any(admission.body is not None and admission.body.tx is not None for _, admission in log.accepted)


def _show(store: Store, replica: Replica, log: _Log, positions: list[int]) -> None:
    """Let entries be seen that are on disk at these positions."""
    try:
        admitted = _admit_all(store, replica, log, positions)
    except BaseException as error:
        raise store.break_off(error) from error
    store.announce(admitted)
    store.flush_if_full()


def _admit_all(store: Store, replica: Replica, log: _Log, positions: list[int]) -> list[Admitted]:
    admitted: list[Admitted] = []
    entries, n, at = store.entries, replica.n, 0
    for _, (header, body, user, _) in log.accepted:
        entry = EntryRow.of(header, entries.next_e, n, user, positions[at + 1], positions[at])
        changes = changes_to_fold(body)
        acts, among = (None, None) if body is None else (body.acts, len(body.ops))
        replica._admit(entry, header.parents(), changes, acts, among)
        admitted.append(Admitted(replica, entry, changes, "remote"))
        at += 2
    last = admitted[-1].entry
    store.admitted_up_to(last.header, last.digest, len(log.accepted[-1][1].header.raw))
    return admitted
