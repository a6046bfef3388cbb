"""What a run works with: where, how large, how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.homes import Homes


@dataclass
class Setting:
    """One run."""

    directory: Path
    quick: bool
    say: Callable[[str], None]  # what is being done, for who waits
    homes: Homes = field(init=False)

    def __post_init__(self) -> None:
        self.homes = Homes(self.directory)

    @property
    def rounds(self) -> int:
        """Rounds of a comparison."""
        return 9 if self.quick else 21

    @property
    def size(self) -> int:
        """Documents that are there already where nothing else is said."""
        return 10_000 if self.quick else 100_000

    @property
    def sizes(self) -> tuple[int, ...]:
        """Documents in each step of the growth."""
        return (10_000, 100_000) if self.quick else (10_000, 100_000, 1_000_000)

    @property
    def largest(self) -> int:
        """Documents in the largest home."""
        return self.sizes[-1]
