"""Counters and histograms of one node, and their text for Prometheus.

Prometheus text format, version 0.0.4. Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from debros.histogram import BOUNDS_S, Histogram

if TYPE_CHECKING:
    from debros.node import Debros


class Meter:
    """What a node counts while it runs."""

    def __init__(self, begun_s: float) -> None:
        self.begun_s = begun_s
        self.commits = Histogram()
        self.queries = Histogram()
        self.entries = {"local": 0, "remote": 0}
        self.changes = {"local": 0, "remote": 0}
        self.failures: dict[str, int] = {}  # code of the error -> how often

    def on_admitted(self, admitted: Sequence[Any]) -> None:
        """Count entries that have become visible."""
        origin = admitted[0].origin
        self.entries[origin] += len(admitted)
        self.changes[origin] += sum([len(changes) for _, _, changes, _ in admitted])

    def failed(self, error: BaseException) -> None:
        """Count an operation that was refused, or failed."""
        code = str(getattr(error, "code", type(error).__name__))
        self.failures[code] = self.failures.get(code, 0) + 1


@dataclass(frozen=True)
class Metrics:
    """The numbers of one node at one moment."""

    uptime_s: float
    models: int
    logs: int
    shards: int
    peers: int  # connected
    entries: int
    entries_admitted: Mapping[str, int]  # by origin, since the node opened
    changes_admitted: Mapping[str, int]
    log_bytes: int  # of all log files
    pending_rows: int  # visible, not yet moved into the view's file
    queries: int
    query_mean_s: float
    slow_queries: int
    commits: int
    commit_mean_s: float
    failed_operations: Mapping[str, int]  # by error code
    migrations_applied: int  # since the node opened
    migrations_pending: int
    cache_hits: int
    cache_requests: int
    cache_bytes: Mapping[str, int]  # by cache
    row_cache_rows: int
    query_times: Histogram = field(repr=False)
    commit_times: Histogram = field(repr=False)

    @property
    def cache_hit_rate(self) -> float:
        """Hits by requests, 0..1."""
        return self.cache_hits / self.cache_requests if self.cache_requests else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers by name; histograms by their bounds."""
        found = {name: value for name, value in vars(self).items() if not isinstance(value, Histogram)}
        found = {name: dict(value) if isinstance(value, Mapping) else value for name, value in found.items()}
        for name in ("query_times", "commit_times"):
            found[name] = dict(zip((*map(str, BOUNDS_S), "+Inf"), getattr(self, name).counts, strict=True))
        return found | {"cache_hit_rate": self.cache_hit_rate}

    def prometheus(self) -> str:
        """Return the numbers as a scraper of Prometheus reads them."""
        lines: list[str] = []
        for name, kind, told in _TOLD:
            value = getattr(self, name)
            full = f"debros_{name}_total" if kind == "counter" else f"debros_{name}"
            lines += [f"# HELP {full} {told}", f"# TYPE {full} {kind}"]
            if isinstance(value, Mapping):
                label = _LABELS[name]
                lines += [f'{full}{{{label}="{_escaped(key)}"}} {value[key]}' for key in sorted(value)]
            else:
                lines.append(f"{full} {value}")
        for name, histogram in (("query_seconds", self.query_times), ("commit_seconds", self.commit_times)):
            full, seen = f"debros_{name}", 0
            lines += [f"# HELP {full} {_HISTOGRAMS[name]}", f"# TYPE {full} histogram"]
            for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), histogram.counts, strict=True):
                seen += count
                lines.append(f'{full}_bucket{{le="{bound}"}} {seen}')
            lines += [f"{full}_sum {histogram.sum_s}", f"{full}_count {seen}"]
        return "\n".join(lines) + "\n"


def metrics_of(node: Debros) -> Metrics:
    """Return what a node has counted since it opened."""
    store, meter, cache = node.store, node.meter, node.cache.stats()
    homes = node.collections()
    sharded = [home.shards for home in homes if home.shards is not None]
    return Metrics(
        uptime_s=node.env.monotonic_s() - meter.begun_s,
        models=len(homes),
        logs=store.by_number.count(),
        shards=sum(len(shards.parts) for shards in sharded),
        peers=sum(peer.connected for peer in node.peers),
        entries=store.entries.next_e - 1,
        entries_admitted=dict(meter.entries),
        changes_admitted=dict(meter.changes),
        log_bytes=store.log.size,
        pending_rows=store.view.pending_rows,
        queries=meter.queries.count,
        query_mean_s=meter.queries.mean_s,
        slow_queries=node.slow_queries.count,
        commits=meter.commits.count,
        commit_mean_s=meter.commits.mean_s,
        failed_operations=dict(meter.failures),
        migrations_applied=node.migrations.applied_count,
        migrations_pending=len(node.migrations.pending_names()),
        cache_hits=cache.hits,
        cache_requests=cache.requests,
        cache_bytes={"queries": node.cache.queries.stats().bytes, "relations": node.cache.relations.stats().bytes},
        row_cache_rows=sum(len(model.rows.cache) for model in store.models.values()),
        query_times=copy(meter.queries),
        commit_times=copy(meter.commits),
    )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


_LABELS: Final = {
    "entries_admitted": "origin", "changes_admitted": "origin", "failed_operations": "code", "cache_bytes": "cache",
}  # fmt: skip
_HISTOGRAMS: Final = {
    "query_seconds": "Time of a statement of a query.",
    "commit_seconds": "Time from a save to its durable, visible entry.",
}
_TOLD: Final = (
    ("uptime_s", "gauge", "Seconds since the node opened."),
    ("models", "gauge", "Models that are open."),
    ("logs", "gauge", "Logs with entries."),
    ("shards", "gauge", "Shards of the open models."),
    ("peers", "gauge", "Peers that are connected."),
    ("entries", "gauge", "Entries in all logs."),
    ("entries_admitted", "counter", "Entries admitted since the node opened."),
    ("changes_admitted", "counter", "Changes in these entries."),
    ("log_bytes", "gauge", "Bytes of the log files."),
    ("pending_rows", "gauge", "Rows that wait to be moved into the view's file."),
    ("queries", "counter", "Statements of queries."),
    ("slow_queries", "counter", "Statements that took longer than the setting slow_query_s."),
    ("commits", "counter", "Saves and transactions."),
    ("failed_operations", "counter", "Saves and transactions that were refused or failed."),
    ("migrations_applied", "counter", "Migrations applied since the node opened."),
    ("migrations_pending", "gauge", "Migrations that are not applied."),
    ("cache_hits", "counter", "Results found in the caches."),
    ("cache_requests", "counter", "Results looked for in the caches."),
    ("cache_bytes", "gauge", "Bytes that the caches hold, estimated."),
    ("row_cache_rows", "gauge", "Rows kept in memory for reads by id."),
)
