"""What `db.pins` tells: plain values for programs, logs and screens."""

from __future__ import annotations

from dataclasses import dataclass

from debros.pinning.ledger import State


@dataclass(frozen=True, slots=True)
class PinStatus:
    """One piece of content. Times are seconds."""

    cid: str
    state: State
    is_here: bool  # pinned or waiting to go: all its blocks are on this node
    size: int  # bytes of its blocks, or of its content while they are not here; -1: not known
    model: str  # by whose rule it stays; empty for none
    strategy: str
    by_hand: bool
    accesses: int
    score: float  # accesses, decayed
    age_s: float
    idle_s: float
    copies: int  # that others hold, by their receipts
    wanted_copies: tuple[int, int]  # at least and at most, this node's own included
    optimal_copies: int  # from how many use it, within the rule's bounds
    recommended_peers: tuple[str, ...]  # ids of those who asked for it, the most eager first
    tries: int  # that failed
    next_try_s: float | None  # from now
    note: str


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did."""

    pinned: int  # that came to be wanted, or to stay again
    evicted: int
    waiting: int  # that are to go, and wait for copies
    freed_bytes: int  # of blocks that are gone
    used_bytes: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """How much one piece was used."""

    cid: str
    accesses: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """The content of a node in numbers."""

    count: int
    total_bytes: int
    average_bytes: float
    oldest_s: float  # age of what is pinned longest
    newest_s: float
    most_accessed: Usage | None
    least_accessed: Usage | None
    by_strategy: dict[str, int]
    hits: int  # reads that found everything here
    misses: int
    hit_rate: float  # 0 to 1; 0 before the first read
    utilisation: float  # of `content_bytes`
    storage_efficiency: float  # bytes in use, of the bytes of files
    access_distribution: dict[str, int]  # pieces by how often they were used: "0", "1-9", "10-99", "100+"
    recent_activity: int  # pieces used within the hour


@dataclass(frozen=True, slots=True)
class Stats:
    """Pins by state and by model, and what the node gives them."""

    states: dict[State, int]
    models: dict[str, int]
    used_bytes: int
    max_bytes: int
    max_pins: int
    wanted_and_held_by_nobody: tuple[str, ...]  # CIDs that are wanted and that no connected peer had, at most 100
    last_sweep: Swept | None
