"""Reopen: until `debros.open` lets a program in, by the clock on the wall; the process and its imports are warm.

A home that was closed, of 10,000 documents and the largest one, in turns. After a kill: another process adds documents
to the largest home until as much as ever waits in memory only, and kills itself; the view then lags behind the log
and has a long write-ahead log. Memory: what one process holds privately after opening and 2,000 gets, the largest
home against the smallest.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Final

from bench.fresh import in_new_process
from bench.homes import opened
from bench.measure import Line
from bench.setting import Setting

SMALL: Final = 10_000
AT_MOST_MS: Final = 10.0
AFTER_KILL_MS: Final = 100.0
TIMES: Final = 2.0
OPENINGS: Final = 15
KILLS: Final = 3
GROWTH_MB: Final = 16.0  # of private memory, from the smallest home to the largest


async def open_ms(home: Path) -> float:
    """Return how long opening takes."""
    start = time.perf_counter()
    async with opened(home):
        return (time.perf_counter() - start) * 1000


async def measure(setting: Setting) -> list[Line]:
    """Return the lines."""
    small, large = await setting.homes.of(SMALL), await setting.homes.of(setting.largest)
    took: dict[Path, list[float]] = {small: [], large: []}
    for _ in range(OPENINGS):
        for home in (small, large):
            took[home].append(await open_ms(home))
    of_small, of_large = median(took[small][1:]), median(took[large][1:])
    killed, victim = [], await setting.homes.copy(setting.largest)
    for _ in range(KILLS):
        await in_new_process("die_writing", victim, fails=True)
        killed.append(await open_ms(victim))
    memory = [(await in_new_process("touch", home))["private_mb"] for home in (small, large)]
    growth = memory[1] - memory[0]
    name = f"{setting.largest:,} documents"
    return [
        Line(
            f"reopen {name}", of_large, "ms", f"reopen {SMALL:,}", of_small, f"<= {TIMES:g} x, <= {AT_MOST_MS:g} ms",
            of_large <= TIMES * of_small and of_large <= AT_MOST_MS,
        ),
        Line(
            f"reopen {name} after a kill", median(killed), "ms", target=f"<= {AFTER_KILL_MS:g} ms",
            met=median(killed) <= AFTER_KILL_MS, notes={"slowest_ms": max(killed)},
        ),
        Line(
            f"memory of {name}, 2,000 touched", memory[1], "MB", f"{SMALL:,}", memory[0],
            f"<= {GROWTH_MB:g} MB more", growth <= GROWTH_MB,
        ),
    ]  # fmt: skip
