"""Import: CPU time of `import debros` in a new interpreter, its byte code compiled before.

Names of the library are loaded when they are first used, so a second line has those that every program uses.
"""

from __future__ import annotations

from statistics import median
from typing import Final

from bench.fresh import in_new_process
from bench.measure import Line
from bench.setting import Setting

SECONDS: Final = 0.25
PROCESSES: Final = 5


async def measure(setting: Setting) -> list[Line]:
    """Return the lines: the import alone, and with what every program takes from it."""
    await in_new_process("import_debros")
    told = [await in_new_process("import_debros") for _ in range(PROCESSES)]
    return [
        _line("import debros", median(one["import_s"] for one in told)),
        _line("import debros, then Model and open", median(one["program_s"] for one in told)),
    ]


def _line(what: str, took: float) -> Line:
    return Line(what, took, "s", target=f"< {SECONDS:g} s", met=took < SECONDS)
