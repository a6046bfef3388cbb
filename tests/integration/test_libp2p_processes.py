"""Nodes in processes of their own, over real libp2p on loopback: killed, cut, stalled and fed garbage, they converge."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio

import debros
from debros import Debros
from debros.net.libp2p import libp2p_transport
from debros.net.libp2p.adapter import Libp2pTransport
from tests.integration.peer_program import Thing
from tests.support.programs import ROOT

PATIENCE_S = 90.0
PROGRAM = ROOT / "tests" / "integration" / "peer_program.py"


class Process:
    """A node in another process; it prints its address, then what it holds when asked."""

    def __init__(self, home: Path, *peers: str, write: int = 0, listen: str = "/ip4/127.0.0.1/tcp/0") -> None:
        arguments = [sys.executable, str(PROGRAM), str(home), listen, str(write), *peers]
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
        )
        self.address = self.line()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    async def ask(self, what: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return await trio.to_thread.run_sync(self.line)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def process(*arguments: object, **options: object) -> Iterator[Process]:
    found = Process(*arguments, **options)  # type: ignore[arg-type]
    try:
        yield found
    finally:
        found.process.kill()
        found.process.communicate()


async def until_equal(db: Debros, other: Process) -> None:
    with trio.fail_after(PATIENCE_S):
        while await db.fingerprint() != await other.ask("fingerprint"):  # noqa: ASYNC110 - it is in another process
            await trio.sleep(0.2)


@asynccontextmanager
async def opened(home: Path | str, **options: object) -> AsyncIterator[Debros]:
    async with debros.open(home, app="processes", models=[Thing], **options) as db:  # type: ignore[arg-type]
        yield db


async def test_a_node_that_is_killed_while_it_fetches_has_what_it_had_and_fetches_the_rest(tmp_path: Path) -> None:
    async with opened(tmp_path / "a", listen="/ip4/127.0.0.1/tcp/0") as db:
        for n in range(3000):
            await Thing.create(title=f"{n}")
        with process(tmp_path / "b", *db.addresses) as first:
            with trio.fail_after(PATIENCE_S):
                while int(await first.ask("count")) < 300:  # noqa: ASYNC110 - it is in another process
                    await trio.sleep(0.01)
            first.kill()
        with process(tmp_path / "b", *db.addresses) as second:
            had = int(await second.ask("opened"))
            assert had > 0
            await until_equal(db, second)
        with process(tmp_path / "c", *db.addresses) as third:
            await until_equal(db, third)


async def test_two_nodes_converge_through_a_proxy_that_cuts_stalls_and_corrupts(tmp_path: Path) -> None:
    async with opened(tmp_path / "a", listen="/ip4/127.0.0.1/tcp/0") as db, trio.open_nursery() as nursery:
        await Thing.create_many([{"title": f"{n}"} for n in range(2000)])
        for n in range(1500):
            await Thing.create(title=f"one {n}")
        port = int(db.addresses[0].split("/")[4])
        faults = Faults(Random(5))
        listeners = await nursery.start(partial(trio.serve_tcp, faults.proxy(port), 0, host="127.0.0.1"))
        proxied = db.addresses[0].replace(f"/tcp/{port}/", f"/tcp/{listeners[0].socket.getsockname()[1]}/")
        with process(tmp_path / "b", proxied, write=200) as other:
            await trio.sleep(4)
            faults.are_over = True
            await until_equal(db, other)
            assert faults.count > 0
        nursery.cancel_scope.cancel()


class Faults:
    """What a TCP proxy does to connections until it is told to stop."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.are_over = False
        self.count = 0

    def proxy(self, port: int):  # type: ignore[no-untyped-def]
        async def serve(client: trio.SocketStream) -> None:
            server = await trio.open_tcp_stream("127.0.0.1", port)
            async with client, server, trio.open_nursery() as nursery:
                nursery.start_soon(self._pipe, client, server, nursery.cancel_scope)
                nursery.start_soon(self._pipe, server, client, nursery.cancel_scope)

        return serve

    async def _pipe(self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
        passed = 0
        fault_at = self.random.randint(20_000, 200_000)
        try:
            async for data in source:
                passed += len(data)
                if not self.are_over and passed > fault_at:
                    self.count += 1
                    kind = self.random.choice(["cut", "stall", "corrupt"])
                    if kind == "cut":
                        break
                    if kind == "stall":
                        await trio.sleep(0.5)
                    else:
                        data = bytes(byte ^ 0x55 for byte in data)
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # what a proxy's sides do to each other is the test
        scope.cancel()


async def test_garbage_on_every_protocol_harms_neither_the_node_nor_its_other_peers(tmp_path: Path) -> None:
    protocols = ["/debros/sync/1", "/meshsub/1.2.0", "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"]
    random = Random(7)
    async with opened(tmp_path / "a", listen="/ip4/127.0.0.1/tcp/0") as db:
        await Thing.create(title="before")
        port = int(db.addresses[0].split("/")[4])
        half_open = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
        for n, connection in enumerate(half_open):
            if n % 2:
                connection.sendall(random.randbytes(60))
        async with libp2p_transport([], [], None) as attacker:
            assert isinstance(attacker, Libp2pTransport)
            for protocol in protocols * 3:
                await attacker.connect(db.addresses[0])
                await _say(attacker, db.addresses[0].rpartition("/")[2], protocol, random.randbytes(500))
        with process(tmp_path / "b", *db.addresses) as other:
            await until_equal(db, other)
        await Thing.create(title="after")
        for connection in half_open:
            connection.close()


async def _say(transport: Libp2pTransport, peer: str, protocol: str, garbage: bytes) -> None:
    from libp2p.custom_types import TProtocol
    from libp2p.peer.id import ID

    async def say() -> None:
        stream = await transport._host.new_stream(ID.from_base58(peer), [TProtocol(protocol)])
        await stream.write(garbage)
        await trio.sleep(0.1)
        await stream.reset()

    with trio.move_on_after(3):
        try:
            await transport._pumped(say)
        except Exception:
            return


async def test_wrong_and_refused_addresses_say_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(debros.TransportError, match="in use"):
            async with opened(tmp_path / "a", listen=f"/ip4/127.0.0.1/tcp/{port}"):
                pass
    for address, why in (
        ("nonsense", "no multiaddr"),
        ("/ip4/127.0.0.1/tcp/1", "/p2p/"),
        ("/ip4/127.0.0.1/udp/1", "p2p"),
    ):
        with pytest.raises(debros.TransportError, match=why):
            async with opened(tmp_path / "b", peers=[address]):
                pass
    nobody = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWF4prCAMENH3GF4egzcQrrBmXr1qntrAPQ64D3eEVzvbU"
    async with opened(tmp_path / "c", peers=[nobody]) as db:
        await Thing.create(title="the node goes on")
        with pytest.raises(debros.DeadlineError, match="cannot be reached"):
            await db.synced(timeout_s=4)
        [known] = db.peers
        assert (known.connected, known.address) == (False, nobody)
        assert "cannot be reached" in known.last_error


async def test_three_processes_converge_though_two_are_killed_while_all_write_and_fetch(tmp_path: Path) -> None:
    with process(tmp_path / "a", write=600) as a:
        with (
            process(tmp_path / "b", a.address, write=300) as b,
            process(tmp_path / "c", a.address, b.address, write=300) as c,
        ):
            with trio.fail_after(PATIENCE_S):
                while int(await c.ask("count")) < 200:  # noqa: ASYNC110 - it is in another process
                    await trio.sleep(0.01)
            seen = int(await b.ask("count")), int(await c.ask("count"))
            b.kill()
            c.kill()
        with process(tmp_path / "b", a.address, write=50) as b, process(tmp_path / "c", a.address, b.address) as c:
            assert int(await b.ask("opened")) >= seen[0]
            assert int(await c.ask("opened")) >= seen[1]
            with trio.fail_after(PATIENCE_S):
                while True:
                    prints = {await one.ask("fingerprint") for one in (a, b, c)}
                    counts = [int(await one.ask("count")) for one in (a, b, c)]
                    if len(prints) == 1 and min(counts) >= 650 and len(set(counts)) == 1:
                        break
                    await trio.sleep(0.2)


async def test_a_member_that_floods_is_cut_off_while_writers_keep_their_pace_and_memory_stays_flat(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path / "a", listen="/ip4/127.0.0.1/tcp/0") as db:
        command = [
            sys.executable,
            str(ROOT / "tests" / "integration" / "flooding_peer.py"),
            str(tmp_path / "b"),
            db.addresses[0],
        ]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
        ) as flooding:
            assert flooding.stdin is not None
            assert flooding.stdout is not None
            try:
                assert await trio.to_thread.run_sync(flooding.stdout.readline) == "met\n"
                [flooder] = db.met.sync.links  # type: ignore[union-attr]
                await _pace(100)
                alone, before = await _pace(WRITES), _resident()
                flooding.stdin.write("begin\n")
                flooding.stdin.flush()
                flooded = await _pace(WRITES)
                with trio.fail_after(PATIENCE_S):
                    while not db.met.sync.account(flooder).conduct.bans:  # type: ignore[union-attr] # noqa: ASYNC110
                        await trio.sleep(0.05)
                with trio.fail_after(PATIENCE_S):
                    while flooder in db.met.transport.connected:  # type: ignore[union-attr] # noqa: ASYNC110
                        await trio.sleep(0.05)
                assert flooded <= 2 * alone
                assert _resident() - before < 48 << 20
            finally:
                flooding.kill()


WRITES = 1000


async def _pace(writes: int) -> float:
    """Return seconds of this process's CPU that a write took, with all that was asked of the process meanwhile."""
    begun = time.process_time()
    for n in range(writes):
        await Thing.create(title=f"honest {n}")
    return (time.process_time() - begun) / writes


def _resident() -> int:
    """Return how much memory this process has, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
