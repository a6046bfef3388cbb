"""Differences: what ten entries that are missing of very many cost on the wire, what equal replicas say, and what an idle node does.

Replicas of a million entries are stood for by their digests: what is asked and answered is what nodes ask and answer.
"""

from __future__ import annotations

import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from types import SimpleNamespace
from typing import Any, Final, cast

import trio

import debros
from bench.document import Documents, Post
from bench.homes import Homes
from bench.measure import Line
from bench.paths.receive import foreign
from bench.setting import Setting
from debros.env import SYSTEM
from debros.net.memory import MemoryNetwork
from debros.opening import open_node
from debros.replica.replica import Replica
from debros.sync.asking import Asker
from debros.sync.fingerprints import Fingerprints
from debros.sync.pulling import Pull
from debros.sync.serving import differences
from debros.sync.wire import (
    Fetch,
    Offer,
    Request,
    State,
    encode_differences,
    encode_entries,
    encode_request,
    encode_state,
    parse_request,
)

ENTRIES: Final = 1_000_000
MISSING: Final = 10
PEERS: Final = 5
REPLICA: Final = cast(Replica, SimpleNamespace(n=1, log_id=bytes(32)))


class _Sums(Fingerprints):
    """Fingerprints over plain digests."""

    def __init__(self, digests: list[bytes]) -> None:
        self._digests = sorted(digests)
        buckets: dict[int, tuple[int, int]] = {}
        for digest in digests:
            place = (digest[0] << 8) | digest[1]
            count, total = buckets.get(place, (0, 0))
            buckets[place] = count + 1, total + int.from_bytes(digest, "big")
        self._sums = {1: buckets}

    async def catch_up(self) -> None:
        await trio.lowlevel.checkpoint()

    def records(self, log: int, prefix: str) -> list[bytes]:
        low, high = bytes.fromhex(prefix.ljust(64, "0")), bytes.fromhex(prefix.ljust(64, "f"))
        found = self._digests[bisect_left(self._digests, low) : bisect_left(self._digests, high)]
        return [bytes(8) + digest for digest in found]


class _Wire:
    """The other side, and how much went to it and back."""

    def __init__(self, prints: Fingerprints) -> None:
        self.prints = prints
        self.trips = self.sent_bytes = 0

    async def may_ask(self) -> None:
        """Return at once: it can bear whatever it is asked."""

    async def one(self, request: Request) -> bytes:
        asked = encode_request(request)
        ranges: Any = parse_request(asked)
        answer = encode_differences(differences(self.prints, REPLICA, ranges.ranges))
        self.count(asked, answer)
        await trio.lowlevel.checkpoint()
        return answer

    def count(self, asked: bytes, answer: bytes) -> None:
        self.trips += 1
        self.sent_bytes += len(asked) + len(answer)


async def _ten_of_very_many(homes: Homes) -> tuple[int, int]:
    """Return round trips and bytes: heads, ranges, and the entries."""
    random = Random(11)
    digests = [random.randbytes(32) for _ in range(ENTRIES)]
    wire = _Wire(_Sums(digests))
    here = _Sums(digests[:-MISSING])
    missing = await Pull(
        cast(Asker, wire), REPLICA, here, lambda listed: set(listed).difference(digests[:-MISSING])
    ).missing()
    assert {record[8:] for record in missing} == set(digests[-MISSING:])
    heads = digests[-1:]
    wire.count(
        encode_request(Offer(bytes(32), bytes(32), heads, [])), encode_state(State(False, False, ENTRIES, heads))
    )
    entries = encode_entries(await foreign(homes, MISSING))
    wire.count(encode_request(Fetch(bytes(32), digests[-MISSING:])), entries)
    return wire.trips, wire.sent_bytes


@asynccontextmanager
async def _host(network: MemoryNetwork, name: str, *others: str) -> AsyncIterator[debros.Debros]:
    async with open_node(
        SYSTEM, None, ":memory:", app="bench", models=[Post], peers=[f"/memory/{other}" for other in others],
        make_transport=lambda _: network.host(name),
    ) as node:  # fmt: skip
        yield node


async def _equal() -> int:
    """Return bytes that two nodes with the same entries say to each other to know it."""
    network = MemoryNetwork()
    async with _host(network, "left") as left, _host(network, "right", "left") as right:
        with left.current():
            for values in Documents(100, seed=3).many(100):
                await Post.create(**values)
        await right.synced(timeout_s=60)
        await left.synced(timeout_s=60)
        before = network.sent_bytes
        await right.synced(timeout_s=60)
        return network.sent_bytes - before


async def _idle(homes: Homes, seconds: float) -> float:
    """Return the share of a core, in percent, of a node with nothing to do and five peers in processes of their own."""
    async with AsyncExitStack() as stack:
        addresses = []
        for _ in range(PEERS):
            command = [sys.executable, "-m", "bench.peer", str(homes.place()), "0", "0"]
            other = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - nothing else runs
            )
            assert other.stdout is not None
            assert other.stdin is not None
            stack.callback(other.stdin.close)
            addresses.append(other.stdout.readline().strip())
        node = await stack.enter_async_context(debros.open(homes.place(), app="bench", models=[Post], peers=addresses))
        await node.synced(timeout_s=60)
        while sum(peer.connected for peer in node.peers) < PEERS:  # noqa: ASYNC110 - they are in other processes
            await trio.sleep(0.1)
        await trio.sleep(2)
        begun, cpu = time.perf_counter(), time.process_time()
        await trio.sleep(seconds)
        return 100 * (time.process_time() - cpu) / (time.perf_counter() - begun)


async def measure(setting: Setting) -> list[Line]:
    """Return the lines."""
    trips, sent = await _ten_of_very_many(setting.homes)
    equal = await _equal()
    idle = await _idle(setting.homes, 16 if setting.quick else 60)
    return [
        Line("10 entries missing of 1,000,000", trips, "round trips", target="<= 8", met=trips <= 8),
        Line("10 entries missing of 1,000,000", sent / 1024, "KiB", target="<= 64 KiB", met=sent <= 64 << 10),
        Line("equal replicas compared", equal, "bytes", target="< 1 KiB", met=equal < 1024),
        Line("an idle node with 5 peers", idle, "% of a core", target="< 1 %", met=idle < 1),
    ]
