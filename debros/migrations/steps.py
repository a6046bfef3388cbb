"""What `db.migrations` answers: steps with real counts, how far one is, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

State = Literal["pending", "running", "applied", "rolled back", "unknown"]


@dataclass(frozen=True, slots=True)
class Sample:
    """What would become of one record: its values before and after, of the fields that differ."""

    model: str
    id: str
    before: dict[str, Any]
    after: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """A migration, on this node and for the acting identity."""

    name: str
    version: str
    records: int  # that it concerns: living, and written under an older version; or that it concerned
    state: State = "pending"
    description: str = ""
    author: str = ""
    tags: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    is_reversible: bool = True
    samples: tuple[Sample, ...] = ()  # of a dry run
    warnings: tuple[str, ...] = ()
    duration_s: float = 0.0  # of one that was applied just now


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that became of a migration, as the log tells it."""

    name: str
    version: str
    state: State
    records: int
    at: datetime
    by: str  # DID
    cid: str  # of the entry
    address: str  # of the log


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a migration is."""

    name: str
    version: str
    state: Literal["pending", "running", "completed", "failed", "rolled back"]
    operation: str  # the one at work
    done: int  # records looked at
    total: int
    elapsed_s: float
    errors: tuple[str, ...] = ()

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.done / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds left at this rate; `None` where there is none yet."""
        return max(self.total - self.done, 0) / self.rate if self.rate else None
