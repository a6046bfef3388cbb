"""Rebuild: a home whose view was deleted is opened in a new process; documents per second of CPU time.

The log holds 1,000 documents in each entry. All of it is read, hashed, decoded, folded and indexed; signatures are
not checked again. Memory: the most that the process held privately (not the mapped pages of the view, which the
kernel takes back), less what it held before.
"""

from __future__ import annotations

from typing import Final

from bench.fresh import in_new_process
from bench.measure import Line
from bench.setting import Setting

PER_SECOND: Final = {10_000: 40_000, 100_000: 40_000, 1_000_000: 20_000}
GROWTH_MB: Final = 50.0


async def measure(setting: Setting) -> list[Line]:
    """Return the lines: rate for each size, memory for the largest."""
    lines = []
    for size in setting.sizes[1:]:
        home = await setting.homes.of(size)
        told = await in_new_process("rebuild", home)
        rate, wanted = size / told["cpu_s"], PER_SECOND[size]
        lines.append(
            Line(
                f"rebuild of {size:,} documents", rate, "docs/s", target=f">= {wanted:,}", met=rate >= wanted,
                notes={"wall_s": told["wall_s"]},
            )
        )  # fmt: skip
    grown = told["grown_mb"]
    lines.append(
        Line(f"memory of that rebuild ({size:,})", grown, "MB", target=f"< {GROWTH_MB:g} MB", met=grown < GROWTH_MB)
    )
    return lines
