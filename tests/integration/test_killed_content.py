"""Processes that are killed while they sweep or fetch content: what was acknowledged is there, and what came stays."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest

import debros
from debros import Field, File, Model, fixed, model, popularity
from debros.env import SystemEnv
from debros.net.memory import MemoryNetwork
from tests.support.peers import in_virtual_time, peer

ROOT = Path(__file__).parents[2]

SWEEPING = """
import sys
from random import Random
import trio, debros
from debros import Field, File, Model, fixed, model

@model(scope="global", name="Photo", pinning=fixed(copies=(0, 2)))
class Photo(Model):
    picture: Field[File]

async def main():
    random = Random(int(sys.argv[2]))
    async with debros.open(sys.argv[1], models=[Photo], app="killed", sweep_s=1e6) as db:
        while True:
            loose = [await File.add(random.randbytes(300_000)) for _ in range(3)]
            photo = await Photo.create(picture=loose[0])
            gone = await Photo.create(picture=loose[1])
            await gone.delete()
            for file in loose[1:]:
                await db.pins.unpin(file.cid)  # sweeps, collects blocks, compacts
            print(photo.id, flush=True)

trio.run(main)
"""

FETCHING = """
import sys
import trio
from debros import Field, File, Model, fixed, model
from debros.net.memory import MemoryNetwork
from tests.support.peers import peer

@model(scope="global", name="Photo", pinning=fixed(copies=(1, 2)))
class Photo(Model):
    picture: Field[File]

async def main():
    network = MemoryNetwork()
    async with peer(network, "left", models=[Photo], home=sys.argv[1], app="killed"):
        async with peer(network, "right", models=[Photo], home=sys.argv[2], peers=["left"], app="killed") as right:
            await right.synced(timeout_s=60)
            await right.pins.sweep()  # else the next one begins it
            print("begun", flush=True)
            while True:
                _, contents = await right.pins.ready()
                print(contents.used, flush=True)
                await trio.sleep(0.001)

trio.run(main)
"""

EVICTING = """
import sys
from random import Random
import trio
from debros import Field, File, Model, model, popularity
from debros.env import SystemEnv
from debros.net.memory import MemoryNetwork
from tests.support.peers import peer

SIZE, ROOM = 100_000, 5

@model(scope="global", name="Photo", pinning=popularity(max_pins=2, copies=(1, 2)))
class Small(Model):
    title: Field[str]
    picture: Field[File]

@model(scope="global", name="Photo", pinning=popularity(max_pins=1000, copies=(1, 2)))
class Large(Model):
    title: Field[str]
    picture: Field[File]

async def main():
    network = MemoryNetwork()
    large = {"sweep_s": 1e6}
    small = {"sweep_s": 1e6, "content_bytes": ROOM * SIZE}
    async with peer(network, "left", models=[Large], home=sys.argv[1], app="killed", env=SystemEnv(), settings=large) as left:
        async with peer(network, "right", models=[Small], home=sys.argv[2], peers=["left"], app="killed", env=SystemEnv(), settings=small) as right:
            n = int(sys.argv[3])
            while True:
                with right.current():
                    file = await File.add(Random(n).randbytes(SIZE))
                    await Small.create(title=str(n), picture=file)
                print(n, flush=True)
                n += 1
                while not await left.pins.is_held(file.link):
                    await trio.sleep(0.05)
                swept = await right.pins.sweep(force=True)  # what the other one promises to hold goes
                if swept.evicted:
                    print("evicted", swept.evicted, flush=True)

trio.run(main)
"""


@model(scope="global", name="Photo", pinning=fixed(copies=(0, 2)))
class Photo(Model):
    picture: Field[File]


def until_killed(source: str, arguments: Sequence[object], is_enough: Callable[[list[str]], bool]) -> list[str]:
    """Run a program, kill it once it has said enough, and return all the lines it said."""
    command = [sys.executable, "-c", source, *map(str, arguments)]
    told: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        assert child.stdout is not None
        try:
            for line in child.stdout:
                told.append(line.strip())
                if is_enough(told):
                    break
        finally:
            child.kill()
        told += [line.strip() for line in child.stdout if line.endswith("\n")]
    assert child.returncode == -signal.SIGKILL
    return told


@pytest.mark.parametrize("seed", range(4))
async def test_a_kill_amid_sweeps_loses_nothing_that_a_record_refers_to(tmp_path: Path, seed: int) -> None:
    told = until_killed(SWEEPING, [tmp_path, seed], lambda told: len(told) == 6 + 5 * seed)
    async with debros.open(tmp_path, models=[Photo], app="killed", sweep_s=1e6) as db:
        await db.pins.sweep()
        shown = {photo.id: photo for photo in await Photo.all()}
        assert set(told) <= set(shown)
        for id in told:
            assert len(await shown[id].picture.read()) == 300_000
        assert (await db.pins.stats()).used_bytes <= 300_000 * (len(shown) + 3)


@model(scope="global", name="Photo", pinning=popularity(max_pins=2, copies=(1, 2)))
class Titled(Model):
    title: Field[str]
    picture: Field[File]


async def test_kills_amid_evictions_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    size, room, said = 100_000, 5, set[int]()
    for turn in range(5):
        lines = 3 + 4 * turn
        first = max(said, default=-1) + 100  # what was written and not said is written no second time
        told = until_killed(
            EVICTING, [tmp_path / "left", tmp_path / "right", first], lambda told, lines=lines: len(told) == lines
        )
        said |= {int(line) for line in told if line.isdigit()}
        network = MemoryNetwork()
        async with (
            peer(network, "left", models=[Titled], home=tmp_path / "left", app="killed", env=SystemEnv()) as left,
            peer(network, "right", models=[Titled], home=tmp_path / "right", peers=["left"], app="killed",
                 env=SystemEnv(), settings={"content_bytes": room * size, "sweep_s": 1e6}) as right,
        ):  # fmt: skip
            assert (await right.pins.stats()).used_bytes <= room * size
            with right.current():
                photos = {int(photo.title): photo for photo in await Titled.all()}
            assert said <= set(photos)
            for n in said:
                holders = [db for db in (left, right) if await db.pins.is_held(photos[n].picture.link)]
                assert holders, f"nobody has {n} any more"
                for db in holders:  # each by itself: `read` would ask the other one
                    _, contents = await db.pins.ready()
                    assert await contents.store.get(photos[n].picture.link) == Random(n).randbytes(size)
            gone = [n for n in said if not await right.pins.is_held(photos[n].picture.link)]
    assert len(gone) > 10  # there was something to evict


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_kill_amid_a_fetch_keeps_what_came_and_the_rest_follows(tmp_path: Path, part: float) -> None:
    size, count = 4_000_000, 8
    data = [Random(n).randbytes(size) for n in range(count)]

    @in_virtual_time
    async def begin() -> None:
        async with peer(MemoryNetwork(), "left", models=[Photo], home=tmp_path / "left", app="killed") as left:
            with left.current():
                for one in data:
                    await Photo.create(picture=await File.add(one))

    begin()
    until_killed(
        FETCHING,
        [tmp_path / "left", tmp_path / "right"],
        lambda told: told[-1] != "begun" and int(told[-1]) > part * size * count,
    )

    @in_virtual_time
    async def go_on() -> None:
        network = MemoryNetwork()
        async with (
            peer(network, "left", models=[Photo], home=tmp_path / "left", app="killed"),
            peer(network, "right", models=[Photo], home=tmp_path / "right", peers=["left"], app="killed") as right,
        ):
            _, contents = await right.pins.ready()
            assert contents.used > 0
            await right.synced(timeout_s=600)
            await right.pins.sweep()
            with right.current():
                photos = await Photo.all()
                assert sorted([await photo.picture.read() for photo in photos]) == sorted(data)

    go_on()
