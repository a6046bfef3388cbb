"""What a peer may cost: tokens for what it sends and asks, points for what it does wrong, and the ban they lead to.

Points fade with a half-life of ten minutes. At 100 the peer is banned: for a minute the first time, twice as long each
further time, at most a day. Failures of the network cost no points: they lead to back-off (`debros.sync.dialling`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

MOST_POINTS: Final = 100.0
HALF_LIFE_S: Final = 600.0
FIRST_BAN_S: Final = 60.0
LONGEST_BAN_S: Final = 86_400.0

PROTOCOL_POINTS: Final = 34.0  # a frame that is none of ours
REFUSED_POINTS: Final = 20.0  # an entry that no honest node can have admitted
FLOOD_POINTS: Final = 10.0  # a request beyond the budget, within which honest nodes keep by themselves

REQUESTS_PER_S: Final = 200.0  # and ten seconds' worth at once
MOST_WAITING: Final = 8  # requests of one peer that wait for their turn
ASKED_PER_S: Final = 150.0  # that this node asks of a peer: less than it would bear
MOST_ASKED: Final = 4  # requests that this node has with a peer at once
BYTES_PER_S: Final = float(16 << 20)  # of entries that we send to the peer
PUSHED_PER_S: Final = float(2 << 20)  # bytes of entries that it sends unasked; more is a hint, and fetched at our pace
BURST_S: Final = 10.0


@dataclass
class Tokens:
    """A bucket of tokens that fills at a rate and holds ten seconds of it."""

    per_s: float
    at_s: float
    left: float = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.per_s * BURST_S

    def take(self, amount: float, now_s: float) -> bool:
        """Take tokens if there are any; the last ones may be overdrawn, and are owed."""
        self.left = min(self.per_s * BURST_S, self.left + (now_s - self.at_s) * self.per_s)
        self.at_s = now_s
        if self.left <= 0:
            return False
        self.left -= amount
        return True

    def spent_s(self) -> float:
        """Return how many seconds' worth of tokens were taken faster than they came."""
        return BURST_S - self.left / self.per_s

    def debt_s(self) -> float:
        """Return in how many seconds there are tokens again."""
        return max(0.0, -self.left / self.per_s)


class Conduct:
    """One peer's account. It outlives connections, so that reconnecting makes nobody clean."""

    def __init__(self, now_s: float) -> None:
        self.requests = Tokens(REQUESTS_PER_S, now_s)
        self.asked = Tokens(ASKED_PER_S, now_s)
        self.served = Tokens(BYTES_PER_S, now_s)
        self.pushed = Tokens(PUSHED_PER_S, now_s)
        self.banned_until_s = 0.0
        self.bans = 0
        self._points = 0.0
        self._at_s = now_s

    def points(self, now_s: float) -> float:
        """Return what is left of its points."""
        self._points *= 0.5 ** ((now_s - self._at_s) / HALF_LIFE_S)
        self._at_s = now_s
        return self._points

    def fault(self, points: float, now_s: float) -> bool:
        """Add points; return whether the peer is banned by them."""
        if self.points(now_s) + points < MOST_POINTS:
            self._points += points
            return False
        self._points = 0.0
        self.banned_until_s = now_s + min(LONGEST_BAN_S, FIRST_BAN_S * 2.0**self.bans)
        self.bans += 1
        return True

    def is_banned(self, now_s: float) -> bool:
        """Whether nothing is taken from the peer, nor sent to it."""
        return now_s < self.banned_until_s
