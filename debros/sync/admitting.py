"""Entries of a peer into a log: batch by batch through the gate, and what the gate keeps out sorted by its verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from debros.errors import BodyError, EntryHeldError, EntryRefusedError, MissingBodyError, OrphanError
from debros.replica.receive import Batch, receive_batch
from debros.replica.replica import Replica
from debros.replica.store import Store
from debros.sync.held import Held, Pool, Refused

MOST_KEPT_OUT: Final = 32  # of one batch: who sends more of them has the rest of it unread


@dataclass
class Outcome:
    """What became of a batch."""

    admitted: int = 0
    refused: int = 0
    held: int = 0


async def admit(store: Store, replica: Replica, batch: Batch, pool: Pool, refused: Refused) -> Outcome:
    """Put a batch through the gate, parents first; those that are admitted are durable and visible on return.

    Raises:
        StorageError, ClosedError: the store takes nothing more.
    """
    outcome = Outcome()
    if len(refused) and (again := {n for n, digest in enumerate(batch.digests) if refused.has(replica.n, digest)}):
        batch = batch.without(again)
    while batch.digests and outcome.refused + outcome.held < MOST_KEPT_OUT:
        before = store.entries.next_e
        try:
            outcome.admitted += await receive_batch(store, replica, batch)
            return outcome
        except EntryRefusedError as error:
            at = _culprit(replica, batch)
            outcome.refused += 1
            if not isinstance(error, BodyError):
                refused.add(replica.n, batch.digests[at])
            pool.remove(batch.digests[at])
        except EntryHeldError as error:
            at = _culprit(replica, batch)
            outcome.held += 1
            if not isinstance(error, MissingBodyError):
                missing = error.missing if isinstance(error, OrphanError) else ()
                pool.add(Held(replica.n, batch.digests[at], batch.deliveries[at], missing))
        outcome.admitted += max(0, store.entries.next_e - before)
        batch = batch.after(at)
    return outcome


async def admit_held(store: Store, replica: Replica, pools: Iterable[Pool], refused: Refused, *, all: bool) -> None:
    """Try held entries again whose parents have come, and with `all` those that wait for time."""
    for pool in pools:
        progress, timed = True, all
        while progress:
            progress = False
            for held in pool.of_log(replica.n):
                known = replica.entry(held.digest) is not None
                if known or refused.has(replica.n, held.digest):
                    pool.remove(held.digest)
                elif any(replica.entry(parent) is None for parent in held.missing) or not (held.missing or timed):
                    continue
                else:
                    outcome = await admit(store, replica, Batch.of([held.delivery]), pool, refused)
                    if outcome.admitted:
                        pool.remove(held.digest)
                        progress = True
            timed = False  # time does not pass meanwhile


def _culprit(replica: Replica, batch: Batch) -> int:
    """Return the place of the first entry that is not in the log: the one that the gate raised about."""
    for at, digest in enumerate(batch.digests):
        if replica.entry(digest) is None:
            return at
    raise AssertionError("the gate kept out an entry that is in the log")
