"""Several processes of one program on one machine, as a web server's workers are: each has a home of its own, and they meet over loopback.

Run: `python examples/workers.py [folder]` (one for the time of the run when none is given; needs `debros[net]`). One process stays
and listens, three workers dial it, write at once as one user, and wait until they see what the others wrote. It prints exactly:
    worker 0 sees 30 visits, 30 views
    worker 1 sees 30 visits, 30 views
    worker 2 sees 30 visits, 30 views
    the process that stays sees 30 visits, 30 views
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

import debros
from debros import Field, Identity, Model, field, model

WORKERS = 3
VISITS = 10  # by each of them


@model()
class Visit(Model):
    path: Field[str] = field(index=True)


@model()
class Page(Model):
    views: Field[int] = field(default=0, merge="counter")


async def seen() -> str:
    """Return what this process sees, once everybody's visits have come."""
    async with Visit.query().live() as visits:
        while len(visits.rows) < WORKERS * VISITS:
            await anext(visits)
    return f"sees {await Visit.count()} visits, {(await Page.get('front')).views} views"


async def work(folder: Path, number: int, hub: str) -> None:
    """Be a worker: write, as one of several, and read what all wrote."""
    home, user = folder / f"worker-{number}", Identity.load(folder / "user.key")
    async with debros.open(home, models=[Visit, Page], app="workers", identity=user, peers=[hub]) as db:
        for _ in range(VISITS):
            async with db.transaction():
                await Visit.create(path="front")
                await Page.increment("front", views=1)
        print(f"worker {number}", await seen())
        await db.synced(timeout_s=30)


async def stay(folder: Path) -> None:
    """Be the process that the others meet through, and start them."""
    user = Identity.generate()
    user.save(folder / "user.key")
    loopback = "/ip4/127.0.0.1/tcp/0"  # any free port: give a fixed one where the address has to stay
    async with debros.open(folder / "hub", models=[Visit, Page], app="workers", identity=user, listen=loopback) as db:
        told: dict[int, bytes] = {}

        async def start(number: int) -> None:
            command = [sys.executable, __file__, str(folder), str(number), db.addresses[0]]
            told[number] = (await trio.run_process(command, capture_stdout=True)).stdout

        async with trio.open_nursery() as workers:
            for number in range(WORKERS):
                workers.start_soon(start, number)
        for number in range(WORKERS):
            print(told[number].decode(), end="")
        print("the process that stays", await seen())


def main(folder: str = ":memory:", number: str = "", hub: str = "") -> None:
    """Be a worker if told which one, else the process that starts them."""
    if number:
        trio.run(work, Path(folder), int(number), hub)
    elif folder == ":memory:":
        with TemporaryDirectory() as temporary:
            trio.run(stay, Path(temporary))
    else:
        Path(folder).mkdir(parents=True, exist_ok=True)
        trio.run(stay, Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
