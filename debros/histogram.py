"""How often times fell between bounds, in seconds: what a node tells of its commits and queries."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

BOUNDS_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Histogram:
    """How often times fell between bounds."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def __copy__(self) -> Histogram:
        made = Histogram()
        made.counts, made.sum_s = list(self.counts), self.sum_s
        return made

    def observe(self, seconds: float) -> None:
        """Count one time."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    @property
    def count(self) -> int:
        """How many times were counted."""
        return sum(self.counts)

    @property
    def mean_s(self) -> float:
        """Their mean, 0 where there is none."""
        return self.sum_s / self.count if self.count else 0.0

    def quantile_s(self, part: float) -> float:
        """Return the bound below which this part of the times lies, 0..1; infinity beyond the last bound."""
        wanted, seen = part * self.count, 0
        for bound, count in zip((*BOUNDS_S, float("inf")), self.counts, strict=True):
            seen += count
            if seen >= wanted and seen:
                return bound
        return 0.0
