"""Replicate: a node in another process, over libp2p on loopback; time gone by, not CPU, for two processes share the work.

Beside it: what the admission gate alone does with such entries in this process, and for a live write a bare request.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from statistics import median
from typing import Any, Final

import trio
import trio.lowlevel

import debros
from bench.document import Documents, Post
from bench.homes import Homes, opened
from bench.measure import Line
from bench.paths.receive import BATCH, foreign
from bench.setting import Setting
from debros import Debros
from debros.replica.receive import receive
from debros.replica.replica import Replica

SINGLE: Final = 10_000
BULK: Final = 30_000
WRITES: Final = 60
ECHO: Final = "/debros/bench/1"


async def _fetched(homes: Homes, single: int, bulk: int) -> float:
    """Return how long a new node takes to fetch all of another process's documents."""
    command = [sys.executable, "-m", "bench.peer", str(homes.place()), str(single), str(bulk)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:  # noqa: ASYNC220 - nothing else runs
        assert other.stdout is not None
        assert other.stdin is not None
        address = other.stdout.readline().strip()
        async with _peer(homes.place(), address) as node:
            begun = time.perf_counter()
            await node.synced(timeout_s=600)
            took = time.perf_counter() - begun
            assert await Post.count() == single + bulk
        other.stdin.close()
    return took


def _peer(home: Path, address: str):  # type: ignore[no-untyped-def]
    return debros.open(home, app="bench", models=[Post], durability="disk", peers=[address])


async def _gate(homes: Homes) -> float:
    """Return entries a second through the gate, onto the disk, into the view."""
    deliveries = await foreign(homes, SINGLE // 4)
    async with opened(homes.place(), durability="disk") as node:
        replica: Replica = node.replica_of(Post.__schema__, b"")
        begun = time.perf_counter()
        for at in range(0, len(deliveries), BATCH):
            await receive(node.store, replica, deliveries[at : at + BATCH])
        return len(deliveries) / (time.perf_counter() - begun)


async def _echo(peer: str, body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


async def _live(homes: Homes) -> tuple[float, float]:
    """Return milliseconds from the begin of a write to its being seen at the peer, and of a bare request; medians."""
    options: dict[str, Any] = {"app": "bench", "models": [Post], "durability": "process"}
    async with (
        debros.open(homes.place(), listen="/ip4/127.0.0.1/tcp/0", **options) as left,
        debros.open(homes.place(), peers=left.addresses, **options) as right,
    ):
        await right.synced(timeout_s=60)
        seen: list[float] = []
        right.store.on_admitted.append(lambda admitted: seen.append(time.perf_counter()))
        writes: list[float] = []
        with left.current():
            for values in Documents(WRITES, seed=9).many(WRITES):
                begun, before = time.perf_counter(), len(seen)
                await Post.create(**values)
                while len(seen) == before:
                    await trio.lowlevel.checkpoint()
                writes.append(seen[-1] - begun)
        return median(writes) * 1000, await _bare(left, right) * 1000


async def _bare(left: Debros, right: Debros) -> float:
    transport, other = left.met.transport, right.met.transport
    assert transport is not None
    assert other is not None
    other.handle(ECHO, _echo)
    times: list[float] = []
    for _ in range(WRITES):
        begun = time.perf_counter()
        async with transport.request(other.peer_id, ECHO, b"x" * 500, max_bytes=1000) as frames:
            assert [frame async for frame in frames]
        times.append(time.perf_counter() - begun)
    return median(times)


async def measure(setting: Setting) -> list[Line]:
    """Return the lines."""
    single = SINGLE // 4 if setting.quick else SINGLE
    gate = await _gate(setting.homes)
    rate = single / await _fetched(setting.homes, single, 0)
    bulk = BULK / await _fetched(setting.homes, 0, BULK)
    live, bare = await _live(setting.homes)
    return [
        Line("replicate, one document an entry", rate, "entries/s", "the gate alone", gate, ">= 0.5 x, or 5,000/s",
             rate >= 5000 or rate >= 0.5 * gate),
        Line("replicate, 1,000 documents an entry", bulk, "documents/s", target=">= 30,000/s", met=bulk >= 30_000),
        Line("live write to the peer's view, p50", live, "ms", "a bare request", bare, "<= 5 x", live <= 5 * bare),
    ]  # fmt: skip
