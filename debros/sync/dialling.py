"""Keeping a connection to an address that was configured: dial, and dial again, later each time.

The wait doubles from a quarter of a second to a minute, with a random half of it, so that a thousand nodes do not dial at
once when theirs comes back. (Own lines, not a library for retries: those sleep by their own clock and dice, and a
simulation has one of each.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FIRST_S: Final = 0.25
LONGEST_S: Final = 60.0
GOOD_S: Final = 20.0  # a connection that ends sooner counts as a failure


@dataclass
class Dial:
    """One address, and how dialling it goes."""

    address: str
    peer: str = ""  # who answered last
    failures: int = 0  # in a row: of dials, and of connections that did not last
    last_error: str = ""  # empty while all is well

    def wait_s(self, dice: float) -> float:
        """Return how long to wait before the next try; `dice` is from 0 to 1."""
        longest = min(LONGEST_S, FIRST_S * 2.0 ** min(self.failures, 16))
        return longest * (0.5 + dice / 2)
