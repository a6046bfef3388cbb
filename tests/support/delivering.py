"""Bringing what one node has into another, as sync would, without a network."""

from __future__ import annotations

from debros.node import Debros
from debros.replica.receive import Delivery, receive


async def deliver(giver: Debros, taker: Debros) -> int:
    """Let `taker` receive every entry that `giver` has, in the order of its log, and return how many were new."""
    store = giver.store
    store.flush()
    by_log: dict[int, list[Delivery]] = {}
    for e in range(1, store.entries.next_e):
        entry = store.entries.by_number(e)
        by_log.setdefault(entry.log, []).append(Delivery(store.log.read(entry.header), store.log.read(entry.body)))
    new = 0
    for n, deliveries in sorted(by_log.items()):
        new += await receive(taker.store, taker.store.replica(store.by_number[n].manifest), deliveries)
    return new
