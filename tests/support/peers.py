"""Nodes on a network in memory, in real or virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial, wraps
from typing import Any
from zlib import crc32

from debros.env import Env
from debros.net.memory import MemoryNetwork
from debros.node import Debros
from debros.opening import open_node
from debros.testing import deterministic
from debros.testing.environment import SimulatedEnv


def in_virtual_time(test: Callable[..., Any]) -> Callable[..., Any]:
    """Run a test on a clock that jumps to the next deadline when nothing can go on; tasks take turns in the same order each time."""

    @wraps(test)
    def run(**wanted: Any) -> None:
        deterministic.run(partial(test, **wanted), seed=crc32(test.__qualname__.encode()))

    return run


@asynccontextmanager
async def peer(
    network: MemoryNetwork, name: str, *, peers: Iterable[str] = (), models: Iterable[Any] = (), home: Any = ":memory:",
    env: Env | None = None, **options: Any,
) -> AsyncIterator[Debros]:  # fmt: skip
    """Open a node whose host has this name, and that dials hosts of these names."""
    async with open_node(
        env or SimulatedEnv(name), None, home, models=list(models), peers=[f"/memory/{other}" for other in peers],
        make_transport=lambda _: network.host(name), **options,
    ) as node:  # fmt: skip
        yield node


__all__ = ["in_virtual_time", "peer"]
