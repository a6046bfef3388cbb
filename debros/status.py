"""What a node is, at a glance: `db.status()`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from debros.node import Debros
    from debros.replica.opening import Opened


@dataclass(frozen=True, slots=True)
class Status:
    """A node at a glance."""

    home: str
    app: str
    did: str
    durability: str
    models: tuple[str, ...]
    logs: int
    entries: int  # admitted, in all logs
    log_bytes: int  # of all log files: the home's, and those of stores of their own
    findings: tuple[str, ...]  # what recovery found in the log when it was opened
    rebuilt: bool  # the view was made anew at this opening
    rejected: int  # entries read behind damage that did not pass the gate again
    skipped: int  # changes left out since the node opened: no right, or not of good form
    last_failure: str  # of a background flush of the view; empty when there is none
    version: str  # of debros
    environment: str  # as the setting says; a preset's name
    uptime_s: float


def status_of(node: Debros, opened: Opened) -> Status:
    """Return what a node is and how it is; `opened` tells how its home was found."""
    store = node.store
    return Status(
        home=node.home,
        app=node.app,
        did=node.identity.did,
        durability=node.config.durability,
        models=tuple(sorted(name for name, model in store.models.items() if not model.table.schema.is_internal)),
        logs=store.by_number.count(),
        entries=store.entries.next_e - 1,
        log_bytes=store.log.size,
        findings=tuple(str(finding) for finding in opened.report),
        rebuilt=opened.rebuilt,
        rejected=opened.rejected,
        skipped=store.skipped,
        last_failure=str(store.flush_failure or ""),
        version=version("debros"),
        environment=node.config.environment,
        uptime_s=node.env.monotonic_s() - node.meter.begun_s,
    )
