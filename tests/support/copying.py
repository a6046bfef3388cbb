"""Carrying entries from one node to another by hand, in any order of logs: what sync will do."""

from __future__ import annotations

from collections.abc import Iterable

from debros.node import Debros
from debros.replica.receive import Delivery, receive
from debros.replica.replica import Replica


def deliveries(node: Debros, replica: Replica) -> list[Delivery]:
    """Return a log's entries, parents first."""
    store = node.store
    store.flush()
    found = store.view.read("SELECT header, body FROM entries WHERE log = ? ORDER BY t, digest", (replica.n,))
    return [Delivery(store.log.read(header), store.log.read(body)) for header, body in found]


def logs_of(node: Debros) -> list[Replica]:
    """Return the logs that have entries, in the order in which the node met them."""
    return [replica for replica in node.store.by_number.values() if replica.heads]


async def carry(source: Debros, target: Debros, replicas: Iterable[Replica] | None = None) -> int:
    """Give the target what the source has of these logs, all if not given; return how many entries were new."""
    new = 0
    for replica in logs_of(source) if replicas is None else replicas:
        new += await receive(target.store, target.store.replica(replica.manifest), deliveries(source, replica))
    return new
