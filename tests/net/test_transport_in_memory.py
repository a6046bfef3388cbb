"""The network in memory keeps the contract of every transport."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from debros.net.memory import MemoryNetwork, MemoryTransport
from debros.testing.contract import TransportContract


class TestMemory(TransportContract):
    @asynccontextmanager
    async def pair(self) -> AsyncIterator[tuple[MemoryTransport, MemoryTransport]]:
        network = MemoryNetwork()
        async with network.host("left") as left, network.host("right") as right:
            yield left, right
