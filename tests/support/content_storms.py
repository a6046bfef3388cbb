"""Storms over content: three nodes with little room write, read, delete and pin, on a bad network with partitions and power cuts.

One seed is one storm. Laws: what was acknowledged and a record refers to is on some disk at every moment; no node takes more
than its ceiling; and once a node is lost for good, what a rule wants copies of has them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random

import trio

from debros import Field, File, Model, fixed, model, popularity
from debros.errors import CeilingError, ClosedError, ContentMissingError, DebrosError, StorageError
from debros.net.memory import Faults
from debros.pinning.rules import HOUR_S
from debros.sync import sync
from debros.testing import deterministic
from debros.testing.world import Life, World

SIZE = 4000  # bytes of one piece
ROOM = 7  # pieces that fit on a node
COPIES = 2  # of a deed, at least
DEEDS = 2  # that are made, at most


@model(scope="global", pinning=popularity(max_pins=2, copies=(1, 2)), name="Photo")
class Photo(Model):
    title: Field[str]
    picture: Field[File]


@model(scope="global", pinning=fixed(copies=(COPIES, 3)), name="Deed")
class Deed(Model):
    scan: Field[File]


@dataclass
class Weathered:
    """What a storm was."""

    seed: int
    kept: int = 0  # pieces that were acknowledged and are referred to
    short: int = 0  # copies that are not made because a node is full of what is protected
    absent: int = 0  # of them, on how many nodes they are not, all together
    cuts: int = 0  # of power
    refused: int = 0
    trace: str = ""


class Storm:
    """One storm."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = Random(f"content {seed}")
        self.told = Weathered(seed)
        self.photos: dict[str, File] = {}  # by the record's id: acknowledged, and not deleted
        self.deeds: dict[str, File] = {}

    async def run(self, steps: int) -> None:
        """Let things happen, and check what must hold all the time."""
        for _ in range(steps):
            life = self.world[self.random.choice(list(self.world.lives))]
            for _ in range(self.random.randint(1, 4)):
                if life.is_up:
                    await self._act(life)
            await self._weather(life)
            await trio.sleep(self.random.choice([20, 600, 1.5 * HOUR_S]))
            await self.check()

    async def _act(self, life: Life) -> None:
        random, db = self.random, life.db
        try:
            with db.current():
                match random.choice(["photo"] * 3 + ["read"] * 4 + ["deed", "delete", "pin", "sweep"]):
                    case "photo":
                        file = await File.add(random.randbytes(SIZE))
                        photo = await Photo.create(title="x", picture=file)
                        self.photos[photo.id] = file
                    case "deed" if len(self.deeds) < DEEDS:
                        file = await File.add(random.randbytes(SIZE))
                        deed = await Deed.create(scan=file)
                        self.deeds[deed.id] = file
                    case "delete" if self.photos:
                        id = random.choice(list(self.photos))
                        del self.photos[id]  # before: it may be gone though nobody says so
                        found = await Photo.get(id)
                        await found.delete()
                    case "pin" if self.photos:
                        cid = random.choice(list(self.photos.values())).cid
                        await (db.pins.pin(cid) if random.random() < 0.3 else db.pins.unpin(cid))
                    case "sweep":
                        await db.pins.sweep(force=random.random() < 0.5)
                    case _ if self.photos:
                        await random.choice(list(self.photos.values())).read()
        except (CeilingError, ContentMissingError):
            self.told.refused += 1
        except (StorageError, ClosedError, DebrosError, OSError):  # its disk has no power, or it does not know it yet
            self.told.refused += 1

    async def _weather(self, life: Life) -> None:
        world, random = self.world, self.random
        for other in world.everybody:
            if other.is_up and other.disk is not None and other.disk.fails_now():
                await self._cut(other)
        match random.choice(["calm"] * 5 + ["cut", "cut soon", "partition", "heal", "heal"]):
            case "cut":
                await self._cut(life)
            case "cut soon":
                if life.is_up:
                    world.crash_soon(life.name, random.randint(1, 30))
            case "partition":
                names = sorted(world.lives)
                random.shuffle(names)
                at = random.randint(1, len(names) - 1)
                world.network.partition(names[:at], names[at:])
            case "heal":
                world.network.heal()

    async def _cut(self, life: Life) -> None:
        self.told.cuts += 1
        await self.world.crash(life.name)
        await trio.sleep(self.random.uniform(0.1, 3000))
        await self.world.up(life.name)

    async def check(self) -> None:
        """Check what holds at every moment, of the nodes that have power."""
        up = [life for life in self.world.everybody if life.is_up and not (life.disk and life.disk.fails_now())]
        for life in up:
            used = (await life.db.pins.stats()).used_bytes
            assert used <= ROOM * SIZE, f"{life.name} takes {used}"
        if len(up) == len(self.world.lives):
            for id, file in {**self.photos, **self.deeds}.items():
                held = [life.name for life in up if await life.db.pins.is_held(file.link)]
                assert held, f"nobody has {file.cid} of {id} any more"

    async def end(self) -> None:
        """Let the network heal, take one node away for good, and check that copies are made again."""
        await self.world.settle()
        await self.check()
        kept = {**self.photos, **self.deeds}
        self.told.kept = len(kept)
        for life in self.world.everybody:
            self.told.absent += sum([not await life.db.pins.is_held(file.link) for file in kept.values()])
        await trio.sleep(1.5 * HOUR_S)
        lost = self.world[self.random.choice(list(self.world.lives))]
        rest = [life for life in self.world.everybody if life is not lost]
        left = [file for file in self.deeds.values() if any([await self._has(life, file) for life in rest])]
        self.told.short += len(self.deeds) - len(left)
        await self.world.crash(lost.name)
        await trio.sleep(2.5 * HOUR_S)
        if not all([await self._has(life, file) or await self._is_full(life) for file in left for life in rest]):
            await trio.sleep(
                24 * HOUR_S
            )  # what was asked for in vain too often, while it was cut off, is tried once a day
        for file in left:
            for life in rest:
                if await self._has(life, file):
                    continue
                assert await self._is_full(life), f"{life.name} has room, and no {file.cid} once {lost.name} is gone"
                self.told.short += 1

    async def _is_full(self, life: Life) -> bool:
        """Whether a node has no room for one more piece."""
        return (await life.db.pins.stats()).used_bytes + SIZE > ROOM * SIZE

    async def _has(self, life: Life, file: File) -> bool:
        """Whether a node holds a piece."""
        return await life.db.pins.is_held(file.link)


async def _storm(seed: int, steps: int) -> Weathered:
    random = Random(f"faults {seed}")
    faults = Faults(
        loss=random.choice([0, 0.02, 0.1]), duplicate=random.choice([0, 0.05]), cut=random.choice([0, 0.02])
    )
    settings = {"content_bytes": ROOM * SIZE, "sweep_s": 0.5 * HOUR_S}
    async with World(seed, models=[Photo, Deed], nodes=3, faults=faults, settings=settings, app="content") as world:
        storm = Storm(world, seed)
        await storm.run(steps)
        await storm.end()
        storm.told.trace = world.trace.hexdigest()
        return storm.told


def content_storm(seed: int, *, steps: int = 10) -> Weathered:
    """Run one storm, and check every law. Nodes compare their logs once an hour, for what is tried here is content."""
    period, sync.PERIOD_S = sync.PERIOD_S, 3600.0
    try:
        return deterministic.run(partial(_storm, seed, steps), seed)
    finally:
        sync.PERIOD_S = period
