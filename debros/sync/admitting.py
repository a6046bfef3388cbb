"""Entries of a peer into a log: batch by batch through the gate, and what the gate keeps out sorted by its verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from debros.errors import BodyError, EntryHeldError, EntryRefusedError, MissingBodyError, OrphanError
from debros.replica.receive import Delivery, receive
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


async def admit(
    store: Store, replica: Replica, deliveries: Sequence[Delivery], pool: Pool, refused: Refused
) -> Outcome:
    """Put a batch through the gate, parents first; those that are admitted are durable and visible on return.

    Raises:
        StorageError, ClosedError: the store takes nothing more.
    """
    outcome = Outcome()
    left = [delivery for delivery in deliveries if not refused.has(replica.n, sha256(delivery.header).digest())]
    while left and outcome.refused + outcome.held < MOST_KEPT_OUT:
        before = store.entries.next_e
        try:
            outcome.admitted += await receive(store, replica, left)
            return outcome
        except EntryRefusedError as error:
            at, digest = _culprit(store, replica, left)
            outcome.refused += 1
            if not isinstance(error, BodyError):
                refused.add(replica.n, digest)
            pool.remove(digest)
        except EntryHeldError as error:
            at, digest = _culprit(store, replica, left)
            outcome.held += 1
            if not isinstance(error, MissingBodyError):
                missing = error.missing if isinstance(error, OrphanError) else ()
                pool.add(Held(replica.n, digest, left[at], missing))
        outcome.admitted += max(0, store.entries.next_e - before)
        left = left[at + 1 :]
    return outcome


async def admit_held(store: Store, replica: Replica, pools: Iterable[Pool], refused: Refused, *, all: bool) -> int:
    """Try held entries again whose parents have come, and with `all` those that wait for time; how many got in."""
    admitted = 0
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
                    outcome = await admit(store, replica, [held.delivery], pool, refused)
                    if outcome.admitted:
                        pool.remove(held.digest)
                        admitted += outcome.admitted
                        progress = True
            timed = False  # time does not pass meanwhile
    return admitted


def _culprit(store: Store, replica: Replica, deliveries: Sequence[Delivery]) -> tuple[int, bytes]:
    """Return place and digest of the first delivery that is not in the log: the one that the gate raised about."""
    for at, delivery in enumerate(deliveries):
        digest = sha256(delivery.header).digest()
        if replica.entry(digest) is None:
            return at, digest
    raise AssertionError("the gate kept out an entry that is in the log")
