"""How many a second, lately: an average that forgets with a time constant of five seconds."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Final

MEMORY_S: Final = 5.0


@dataclass
class Rate:
    """Counts that fade."""

    at_s: float
    amount: float = 0.0

    def add(self, count: int, now_s: float) -> None:
        """Count something."""
        self._fade(now_s)
        self.amount += count

    def per_s(self, now_s: float) -> float:
        """Return how many a second."""
        self._fade(now_s)
        return self.amount / MEMORY_S

    def _fade(self, now_s: float) -> None:
        self.amount *= exp((self.at_s - now_s) / MEMORY_S)
        self.at_s = now_s
