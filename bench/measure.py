"""The clock: what is compared runs in turns, and each turn is timed alone.

A turn prepares its input, collects garbage, switches the collector off, and only then starts the clock; where many objects
are made that stay, it may leave the collector on, as programs do. The first round warms up and does not count. Costs are
medians over the rounds.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Action:
    """Something to time: `run` does `count` operations with what `prepare` gave, which is not timed."""

    name: str
    count: int
    run: Callable[[Any], Awaitable[object]]
    prepare: Callable[[], Any] = lambda: None
    collects: bool = False  # whether the collector stays on


@dataclass
class Cost:
    """What one operation cost in each round, in microseconds."""

    cpu: list[float] = field(default_factory=list)  # of this process, all threads
    wall: list[float] = field(default_factory=list)

    @property
    def us(self) -> float:
        """Median of CPU time."""
        return median(self.cpu)

    @property
    def wall_us(self) -> float:
        """Median of time gone by."""
        return median(self.wall)


def sync(function: Callable[[Any], object]) -> Callable[[Any], Awaitable[object]]:
    """Return a plain function as something to await."""

    async def run(given: Any) -> object:
        return function(given)

    return run


async def in_turns(actions: Sequence[Action], rounds: int) -> dict[str, Cost]:
    """Time actions, each once a round; every round begins with another one."""
    costs = {action.name: Cost() for action in actions}
    for turn in range(rounds + 1):
        start = turn % len(actions)
        for action in (*actions[start:], *actions[:start]):
            cpu, wall = await timed(action)
            if turn:
                costs[action.name].cpu.append(cpu)
                costs[action.name].wall.append(wall)
    return costs


async def timed(action: Action) -> tuple[float, float]:
    """Run an action once; return CPU and wall time of one operation, in microseconds."""
    given = action.prepare()
    gc.collect()
    if not action.collects:
        gc.disable()
    try:
        wall, cpu = time.perf_counter(), time.process_time()
        await action.run(given)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    finally:
        gc.enable()
    return cpu * 1e6 / action.count, wall * 1e6 / action.count


@dataclass(frozen=True)
class Line:
    """One line of the table of paths."""

    path: str
    measured: float
    unit: str
    yardstick: str = ""  # what it is compared with
    limit: float | None = None  # the yardstick, in the same unit
    target: str = ""
    met: bool | None = None  # None: no target
    notes: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Measured by yardstick."""
        return None if self.limit is None else self.measured / self.limit


def against(path: str, cost: Cost, yardstick: str, limit: Cost, at_most: float, **notes: float) -> Line:
    """Return the line of a path that may cost so many times its yardstick."""
    return Line(
        path, cost.us, "us", yardstick, limit.us, f"<= {at_most:g} x", cost.us <= at_most * limit.us,
        {"fastest_us": min(cost.cpu), "fastest_yardstick_us": min(limit.cpu), **notes},
    )  # fmt: skip
