"""The log of slow queries: `db.slow_queries`, and a warning of the logger `debros.query` for each."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from typing import Final

from debros.histogram import Histogram

KEPT: Final = 100  # the newest ones
_logger: Final = logging.getLogger("debros.query")


@dataclass(frozen=True, slots=True)
class SlowQuery:
    """A statement that took long. What was bound to it is not kept: it may be secret."""

    model: str
    sql: str
    seconds: float
    rows: int


class SlowQueries:
    """The newest slow queries, oldest first, and how many there were."""

    def __init__(self, threshold_s: float, times: Histogram) -> None:
        self.threshold_s = threshold_s
        self.times = times  # of all statements, slow ones too
        self.count = 0
        self._kept: deque[SlowQuery] = deque(maxlen=KEPT)

    def note(self, model: str, sql: str, seconds: float, rows: int) -> None:
        """Remember a query that took `threshold_s` or more, and warn of it."""
        self.count += 1
        self._kept.append(SlowQuery(model, sql, seconds, rows))
        _logger.warning("slow query, %.3f s, %d rows of %s: %s", seconds, rows, model, sql)

    def newest(self) -> list[SlowQuery]:
        """Return those kept, oldest first."""
        return list(self._kept)

    @property
    def average_s(self) -> float:
        """Mean time of a statement, in seconds."""
        return self.times.mean_s

    @property
    def queries(self) -> int:
        """How many statements there were, slow ones too."""
        return self.times.count
