"""The content of a node in numbers."""

from __future__ import annotations

from debros.blocks.carstore import Usage as StoreUsage
from debros.pinning import ledger as states
from debros.pinning.ledger import Item, Ledger
from debros.pinning.rules import HOUR_S
from debros.pinning.ruling import MS, Ruling
from debros.pinning.told import Metrics, Usage


def metrics_of(ledger: Ledger, ruling: Ruling, usage: StoreUsage, max_bytes: int, hits: int, misses: int) -> Metrics:
    """Return the content of this node in numbers."""
    count = total = recent = 0
    strategies: dict[str, int] = {}
    classes = {"0": 0, "1-9": 0, "10-99": 0, "100+": 0}
    first = last = now = ruling.now()
    last = 0
    most: Item | None = None
    least: Item | None = None
    for item in ledger.items(states.PINNED):
        count += 1
        total += max(0, item.size)
        recent += bool(item.uses) and now - item.used < HOUR_S * MS
        rule = ruling.rule(ledger, item)
        name = "by hand" if item.hand else "none" if rule is None else rule.strategy
        strategies[name] = strategies.get(name, 0) + 1
        classes["0" if not item.uses else "1-9" if item.uses < 10 else "10-99" if item.uses < 100 else "100+"] += 1
        first, last = min(first, item.added), max(last, item.added)
        most = item if most is None or item.uses > most.uses else most
        least = item if least is None or item.uses < least.uses else least
    reads = hits + misses
    return Metrics(
        count=count, total_bytes=total, average_bytes=total / count if count else 0.0,
        oldest_s=(now - first) / MS, newest_s=(now - last) / MS if count else 0.0,
        most_accessed=None if most is None else Usage(str(most.link), most.uses),
        least_accessed=None if least is None else Usage(str(least.link), least.uses),
        by_strategy=strategies, hits=hits, misses=misses, hit_rate=hits / reads if reads else 0.0,
        utilisation=usage.bytes / max_bytes if max_bytes else 1.0,
        storage_efficiency=usage.bytes / usage.file_bytes if usage.file_bytes else 1.0,
        access_distribution=classes, recent_activity=recent,
    )  # fmt: skip
