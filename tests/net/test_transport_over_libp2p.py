"""libp2p, behind its fences, keeps the contract of every transport."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from debros.net.libp2p import libp2p_transport
from debros.net.transport import Transport
from debros.testing.contract import TransportContract


class TestLibp2p(TransportContract):
    @asynccontextmanager
    async def pair(self) -> AsyncIterator[tuple[Transport, Transport]]:
        left = libp2p_transport(["/ip4/127.0.0.1/tcp/0"], [], None)
        async with left, libp2p_transport([], [], None) as right:
            yield left, right


async def test_a_host_that_is_closed_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    for _ in range(2):
        async with libp2p_transport(["/ip4/127.0.0.1/tcp/0"], [], None):
            pass
    assert [thread.name for thread in set(threading.enumerate()) - before if "trio" not in thread.name.lower()] == []
