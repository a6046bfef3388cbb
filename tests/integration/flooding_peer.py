"""A member that floods: `flooding_peer.py HOME ADDRESS` meets the node there, says so, and when told to asks without end."""

from __future__ import annotations

import sys

import trio

import debros
from debros.sync.asking import Asker
from debros.sync.wire import NONCE, Hello
from tests.integration.peer_program import Thing


async def main(home: str, address: str) -> None:
    async with debros.open(home, app="processes", models=[Thing], peers=[address]) as db:
        await Thing.create(title="a member's")
        await db.synced(timeout_s=60)
        print("met", flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        transport = db.met.transport
        assert transport is not None
        asker = Asker(transport, address.rpartition("/")[2])

        async def flood() -> None:
            while True:
                try:
                    await asker.one(Hello(bytes(NONCE), [], None))
                except debros.DebrosError:
                    await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(flood)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
