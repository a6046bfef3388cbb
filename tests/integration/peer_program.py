"""A node that other tests start as a process: `peer_program.py HOME LISTEN WRITE [PEER ...]`; it answers lines on stdin."""

from __future__ import annotations

import sys

import trio

import debros
from debros import Field, Model, model


@model(scope="global", name="Thing")
class Thing(Model):
    title: Field[str]


async def main(home: str, listen: str, write: int, peers: list[str]) -> None:
    async with debros.open(home, app="processes", models=[Thing], listen=listen, peers=peers) as db:
        opened = await Thing.count()
        print(db.addresses[0], flush=True)
        async with trio.open_nursery() as nursery:

            async def keep_writing() -> None:
                for n in range(write):
                    await Thing.create(title=f"other {n}")
                    await trio.sleep(0.005)

            nursery.start_soon(keep_writing)
            while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
                match line.strip():
                    case "count":
                        print(await Thing.count(), flush=True)
                    case "opened":
                        print(opened, flush=True)
                    case "fingerprint":
                        print(await db.fingerprint(), flush=True)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
