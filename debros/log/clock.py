"""Hybrid logical clock: one unsigned integer below 2**63, milliseconds since 1970 << 16, plus a counter.

An entry's clock is greater than that of every parent, so (clock, digest) sorts a log topologically and every
replica sorts alike. The clock is recovered from the log (the greatest one admitted) and never stored apart.

Kulkarni, Demirbas, Madappa, Avva, Leone, "Logical Physical Clocks", OPODIS 2014.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from debros.errors import QueryError

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


def at_time(at: int | datetime) -> int:
    """Return the greatest clock of a moment: a clock itself, or a time with a zone, to its millisecond.

    Raises:
        QueryError: it is neither.
    """
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise QueryError(f"{at!r} has no zone; write e.g. datetime(2025, 4, 1, tzinfo=UTC)")
        since = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        return min(max((since << COUNTER_BITS) + (1 << COUNTER_BITS) - 1, 0), LIMIT - 1)
    if type(at) is not int or not 0 <= at < LIMIT:
        raise QueryError(f"{at!r} is no clock (`record.meta.clock`) and no datetime")
    return at
