"""Whoever writes here gets half of the time while peers bring much; otherwise peers get all of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

import pytest
import trio

from debros.net.memory import MemoryNetwork
from debros.replica.receive import Batch, Delivery
from debros.sync.sync import LONGEST_YIELD_S, WRITING_S
from debros.testing.environment import SimulatedEnv
from tests.support.peers import in_virtual_time, peer
from tests.sync.test_two_nodes import models

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class SlowDisk(SimulatedEnv):
    """A world in which what is done apart takes its time."""

    def __init__(self, seed: str, takes_s: float) -> None:
        super().__init__(seed)
        self.takes_s = takes_s

    async def offload(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        await trio.sleep(self.takes_s)
        return function(*args)


async def entries(both: Any, count: int) -> list[Delivery]:
    async with peer(MemoryNetwork(), "other", models=both) as other:
        with other.current():
            for n in range(count):
                await both[0].create(title=f"{n}")
        store = other.store
        rows = [store.entries.by_number(e) for e in range(1, store.entries.next_e)]
        return [Delivery(store.log.read(row.header), store.log.read(row.body)) for row in rows]


async def took_s(node: Any, delivery: Delivery) -> float:
    begun_s = trio.current_time()
    sync = node.met.sync
    outcome = await sync.take("somebody", sync.account("somebody"), node.shared, Batch.of([delivery]))
    assert outcome.admitted == 1
    return trio.current_time() - begun_s


@pytest.mark.parametrize(("disk_s", "waited_s"), [(0.1, 0.1), (0.4, LONGEST_YIELD_S)])
@in_virtual_time
async def test_what_peers_bring_stands_back_for_as_long_as_it_took_while_somebody_writes(
    disk_s: float, waited_s: float, tmp_path: Path
) -> None:
    both = models()
    brought = await entries(both, 3)
    async with peer(
        MemoryNetwork(), "left", models=both, home=tmp_path, env=SlowDisk("left", disk_s), peers=["nobody"]
    ) as left:
        assert await took_s(left, brought[0]) == pytest.approx(disk_s)
        with left.current():
            await both[0].create(title="mine")
        assert await took_s(left, brought[1]) == pytest.approx(disk_s + waited_s)
        await trio.sleep(WRITING_S)
        assert await took_s(left, brought[2]) == pytest.approx(disk_s)
