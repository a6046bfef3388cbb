"""The other process of the measurement of replication: a node that serves what it was asked to write.

`python -m bench.peer HOME SINGLE BULK`: it writes so many one-document entries and so many documents in bulk, prints its address,
and serves until its input ends.
"""

from __future__ import annotations

import sys

import trio

import debros
from bench.document import Documents, Post


async def main(home: str, single: int, bulk: int) -> None:
    """Write, serve, end."""
    async with debros.open(
        home, app="bench", models=[Post], durability="process", listen="/ip4/127.0.0.1/tcp/0"
    ) as node:
        for values in Documents(single, seed=7).many(single) if single else ():
            await Post.create(**values)
        if bulk:
            await Post.create_many(Documents(bulk, seed=8).many(bulk))
        print(node.addresses[0], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
