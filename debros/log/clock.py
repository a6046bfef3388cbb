"""Hybrid logical clock: one unsigned integer below 2**63, milliseconds since 1970 << 16, plus a counter.

An entry's clock is greater than that of every parent, so (clock, digest) sorts a log topologically and every
replica sorts alike. The clock is recovered from the log (the greatest one admitted) and never stored apart.

Kulkarni, Demirbas, Madappa, Avva, Leone, "Logical Physical Clocks", OPODIS 2014.
"""

from __future__ import annotations

from typing import Final

COUNTER_BITS: Final = 16
LIMIT: Final = 2**63  # clocks are below it; they fit SQLite's signed integers
NONE: Final = -1  # the greatest clock of an empty log


def tick(greatest: int, now_ms: int) -> int:
    """Return the clock of a new local entry.

    `greatest` is the greatest clock admitted in the log, `NONE` when it is empty; `now_ms` this node's time in
    milliseconds since 1970 UTC. A wall clock that stands still or goes back never takes the log's clock back.
    """
    return max(now_ms << COUNTER_BITS, greatest + 1)


def ms(clock: int) -> int:
    """Return the milliseconds since 1970 UTC in a clock."""
    return clock >> COUNTER_BITS
