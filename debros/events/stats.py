"""What a subscriber or a topic has seen: counts and latency, kept as sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from debros.log import clock


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts since the node opened, or the subscription began."""

    published: int = 0  # messages handed to the network
    received: int = 0  # messages that came from it and were good
    delivered: int = 0  # events or messages taken by subscribers
    dropped: int = 0  # messages that a full buffer lost
    errors: int = 0  # bad messages, and failures of handlers
    lag: int = 0  # what waits for the subscriber now
    latency_s: float = 0.0  # mean from writing to taking, by the clocks of both ends


class Counts:
    """The counts of one subscriber or topic, while they grow."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self.published = 0
        self.received = 0
        self.dropped = 0
        self.errors = 0
        self._delivered = 0
        self._latency_us = 0

    def delivered(self, written: int) -> None:
        """Count a delivery of what was written at an entry's clock."""
        self.delivered_at(clock.ms(written) * 1000)

    def delivered_at(self, written_us: int) -> None:
        """Count a delivery of what was written then, in microseconds since 1970."""
        self._delivered += 1
        self._latency_us += max(0, self._now_us() - written_us)

    def stats(self, lag: int = 0) -> Stats:
        """Return the counts."""
        mean = self._latency_us / self._delivered / 1e6 if self._delivered else 0.0
        return Stats(self.published, self.received, self._delivered, self.dropped, self.errors, lag, mean)
