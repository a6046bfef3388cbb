"""Import: CPU time of `import debros` in a new interpreter, its byte code compiled before."""

from __future__ import annotations

from statistics import median
from typing import Final

from bench.fresh import in_new_process
from bench.measure import Line
from bench.setting import Setting

SECONDS: Final = 0.25


async def measure(setting: Setting) -> list[Line]:
    """Return the line."""
    await in_new_process("import_debros")
    took = [(await in_new_process("import_debros"))["cpu_s"] for _ in range(setting.rounds)]
    return [Line("import debros", median(took), "s", target=f"< {SECONDS:g} s", met=median(took) < SECONDS)]
