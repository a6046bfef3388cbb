"""The standard storm: five nodes, a lying member and an outsider, a network at its worst, partitions, and power cuts.

One seed is one storm. `python -m debros.testing.storm 0 1000` runs a thousand of them; with `7 90` behind it they have seven nodes
and last ninety seconds.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from random import Random

import trio

from debros.net.memory import Faults
from debros.testing import deterministic
from debros.testing.hostile import Hostile
from debros.testing.workload import act, models
from debros.testing.world import SETTLING_S, World


@dataclass(frozen=True)
class Weathered:
    """What a storm was, for who wants to know that it was one."""

    seed: int
    acknowledged: int
    entries: int
    forged: int  # entries that were offered and must not be in
    forks: int  # equivocations that nodes noticed
    requests: int
    trace: str


async def _storm(seed: int, nodes: int, duration_s: float, settling_s: float) -> Weathered:
    random = Random(f"storm {seed}")  # noqa: S311 - a simulation
    faults = Faults(
        loss=random.uniform(0, 0.3), duplicate=random.uniform(0, 0.3), cut=random.uniform(0, 0.1),
        garble=random.choice([0, 0, 0.02]), delay_s=(0.001, random.choice([0.02, 0.3])),
    )  # fmt: skip
    skew_s = random.choice([0.0, 30.0, 280.0])
    async with World(seed, models=models(), nodes=nodes, faults=faults, skew_s=skew_s, closed=True) as world:
        hostile = [Hostile(world, "member", is_member=True), Hostile(world, "outsider", is_member=False)]
        with world["n0"].db.current():
            for life in world.everybody[1:]:
                await world["n0"].db.grant(life.identity.did)
        until_s = trio.current_time() + duration_s
        async with trio.open_nursery() as nursery:
            for life in world.everybody:
                nursery.start_soon(act, world, life, Random(f"{seed} {life.name}"), until_s)  # noqa: S311 - as above
            for one in hostile:
                nursery.start_soon(one.run, until_s)
            nursery.start_soon(_weather, world, random, until_s)
        await world.settle(timeout_s=settling_s)
        world.check()
        first = world["n0"]
        forks = {fork.headers for life in world.everybody for fork in life.db.forks}
        return Weathered(
            seed, len(world.witness.acknowledged), len(world.entries(first)), len(world.witness.forged), len(forks),
            world.network.requests, world.trace.hexdigest(),
        )  # fmt: skip


async def _weather(world: World, random: Random, until_s: float) -> None:
    while trio.current_time() < until_s:
        await trio.sleep(random.uniform(1, 6))
        for life in world.everybody:
            if life.is_up and life.disk is not None and life.disk.fails_now():  # somebody notices
                await world.crash(life.name)
                await world.up(life.name)
        names = [life.name for life in world.everybody]
        match random.choice(["partition", "heal", "crash", "crash soon", "crash soon"]):
            case "partition":
                random.shuffle(names)
                at = random.randint(1, len(names) - 1)
                world.network.partition([*names[:at], "member"], [*names[at:], "outsider"])
            case "heal":
                world.network.heal()
            case "crash":
                name = random.choice(names)
                await world.crash(name)
                await trio.sleep(random.uniform(0.1, 8))
                await world.up(name)
            case "crash soon":
                life = world[random.choice(names)]
                if life.is_up:
                    world.crash_soon(life.name, random.randint(1, 12))


def storm(seed: int, *, nodes: int = 5, duration_s: float = 30.0, settling_s: float = SETTLING_S) -> Weathered:
    """Run one storm, and check every law at its end.

    Raises:
        Broken: a law does not hold; the text says which.
    """
    return deterministic.run(partial(_storm, seed, nodes, duration_s, settling_s), seed)


def main(first: int, behind: int, nodes: int = 5, duration_s: int = 30) -> int:
    """Run storms, and tell of those that broke something."""
    failed: list[int] = []
    for seed in range(first, behind):
        try:
            weathered = storm(seed, nodes=nodes, duration_s=duration_s)
        except BaseExceptionGroup as group:
            failed.append(seed)
            print(f"seed {seed}: {group!r}", flush=True)  # noqa: T201 - a command
        except AssertionError as error:
            failed.append(seed)
            print(f"seed {seed}: {error}", flush=True)  # noqa: T201 - as above
        else:
            print(weathered, flush=True)  # noqa: T201 - as above
    print(f"{behind - first} storms, {len(failed)} broke a law: {failed}")  # noqa: T201 - as above
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*(int(number) for number in sys.argv[1:])))
