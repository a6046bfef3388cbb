"""A member that floods: `flooding_peer.py HOME ADDRESS` meets the node there, says so, and when told to asks without end.

It waits for no answer before it asks again, so that asking costs it next to nothing.
"""

from __future__ import annotations

import sys

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID

import debros
from debros.net.libp2p.adapter import Libp2pTransport
from debros.net.libp2p.framing import DATA, framed
from debros.sync.wire import NONCE, PROTOCOL, Hello, encode_request
from tests.integration.peer_program import Thing

STREAMS = 16
AT_ONCE = 200  # requests in one write
REQUEST = framed(DATA, encode_request(Hello(bytes(NONCE), [], None)))


async def main(home: str, address: str) -> None:
    async with debros.open(home, app="processes", models=[Thing], peers=[address]) as db:
        await Thing.create(title="a member's")
        await db.synced(timeout_s=60)
        print("met", flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        transport = db.met.transport
        assert isinstance(transport, Libp2pTransport)
        async with trio.open_nursery() as nursery:
            for _ in range(STREAMS):
                nursery.start_soon(flood, transport, ID.from_base58(address.rpartition("/")[2]))


async def flood(transport: Libp2pTransport, victim: ID) -> None:
    while True:
        try:
            stream = await transport._host.new_stream(victim, [TProtocol(PROTOCOL)])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen, stream)
                while True:
                    await stream.write(REQUEST * AT_ONCE)
        except Exception:  # it was cut off, and tries again
            await trio.sleep(0.1)


async def listen(stream: INetStream) -> None:
    while True:
        await stream.read(1 << 16)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
