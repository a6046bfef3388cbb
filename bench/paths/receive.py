"""Receive: one-document entries of another user, through the whole gate, onto the disk, into the view.

Batches of 256, as `debros.replica.receive.receive` takes them from a peer; durable, so one sync for each batch. A turn is as many
of them as four flushes of the view take.
Beside it: one verification of a signature over a message as long as a header.
"""

from __future__ import annotations

from typing import Final

from bench.document import Documents, Post
from bench.homes import Homes, opened
from bench.measure import Action, Line, against, in_turns
from bench.setting import Setting
from bench.yardsticks import verifying
from debros.replica.receive import Delivery, receive
from debros.replica.replica import Replica

BATCH: Final = 256
BATCHES: Final = 8  # in one turn


async def foreign(homes: Homes, count: int) -> list[Delivery]:
    """Return the entries of a home in which somebody else created documents one by one."""
    async with opened(homes.place(), durability="process") as node:
        for values in Documents(count, seed=5).many(count):
            await Post.create(**values)
        store = node.store
        rows = [store.entries.by_number(e) for e in range(1, store.entries.next_e)]
        return [Delivery(store.log.read(row.header), store.log.read(row.body)) for row in rows]


async def measure(setting: Setting) -> list[Line]:
    """Return the line."""
    each = BATCH * BATCHES
    count = each * (setting.rounds + 1)
    entries = await foreign(setting.homes, count)
    waiting = iter([entries[at : at + each] for at in range(0, count, each)])
    async with opened(await setting.homes.copy(setting.size)) as node:
        replica: Replica = node.replica_of(Post.__schema__, b"")

        async def run(deliveries: list[Delivery]) -> None:
            for at in range(0, each, BATCH):
                assert await receive(node.store, replica, deliveries[at : at + BATCH]) == BATCH

        admit = Action("receive", each, run, lambda: next(waiting))
        costs = await in_turns([admit, verifying()], setting.rounds)
    cost, limit = costs["receive"], costs["verification"]
    return [against("receive, one document an entry", cost, "one verification", limit, 1.7)]
