"""The ceiling holds while much comes at once, and after a power cut that brings back what had gone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from debros.blocks.carstore import CarStore
from debros.blocks.files import MemoryFiles
from debros.blocks.tail import Block
from debros.env import SYSTEM
from debros.errors import CeilingError
from debros.pinning.contents import Contents
from debros.testing.blocks import block_of
from debros.testing.environment import SimulatedEnv

SIZE = 1000


class SlowStore(CarStore):
    """A store that takes a while, so that others come meanwhile."""

    async def put(self, blocks: Sequence[Block], *, durable: bool = True) -> None:
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        await super().put(blocks, durable=durable)


async def test_what_comes_at_once_does_not_fit_together_where_each_would_alone(tmp_path: Path) -> None:
    contents = Contents(SimulatedEnv(1), SlowStore.open(SYSTEM, MemoryFiles(), "/content", ":memory:"), 3 * SIZE)
    refused: list[CeilingError] = []

    async def put(n: int) -> None:
        try:
            await contents.put([block_of(bytes([n]) * SIZE)], durable=True)
        except CeilingError as error:
            refused.append(error)

    async with trio.open_nursery() as nursery:
        for n in range(5):
            nursery.start_soon(put, n)
    assert len(refused) == 2
    assert refused[0].ceiling == 3 * SIZE
    assert (await contents.measure()).bytes == contents.used == 3 * SIZE
    with pytest.raises(CeilingError):  # and what was refused left nothing behind that counts
        await contents.put([block_of(b"x" * SIZE)], durable=True)
    await contents.store.delete([link async for link in contents.store.scan()][:1])
    await contents.measure()
    await contents.put([block_of(b"x" * SIZE)], durable=True)
    await contents.aclose()
