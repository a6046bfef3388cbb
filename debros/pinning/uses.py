"""What was used since the last sweep: accesses are counted in memory, and worked out where somebody asks.

A read of a record pays for nothing but an append; which content its row refers to is looked up later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from debros.blocks.cid import Link
from debros.pinning.deciding import decayed
from debros.pinning.ledger import Ledger
from debros.pinning.rules import DAY_S
from debros.pinning.ruling import MS, Ruling
from debros.replica.tables import Row

_ROWS: Final = 10_000  # reads of rows of a model that are remembered


class Uses:
    """Accesses of one node's content that its ledger has not yet."""

    def __init__(self, content_of: Callable[[str, Row], list[tuple[Link, int]]], now: Callable[[], int]) -> None:
        """`content_of` returns what a row of a model refers to, `now` milliseconds."""
        self._content_of = content_of
        self._now = now
        self._used: dict[Link, list[int]] = {}  # times, last time
        self._read: dict[str, deque[Row]] = {}  # by model
        self.hits = self.misses = 0  # reads of content that was here, and was not

    def touch(self, link: Link, times: int = 1) -> None:
        """Count an access."""
        now = self._now()
        entry = self._used.get(link)
        if entry is None:
            self._used[link] = [times, now]
        else:
            entry[0] += times
            entry[1] = now

    def reads_of(self, model: str) -> deque[Row]:
        """Return where rows of a model are put that were read: each counts as an access of the content it refers to."""
        return self._read.setdefault(model, deque(maxlen=_ROWS))

    @property
    def has_news(self) -> bool:
        """Whether something was used that is not written down yet."""
        return bool(self._used) or any(self._read.values())

    def flush(self, ledger: Ledger, ruling: Ruling) -> None:
        """Write down what was used."""
        for model, rows in self._read.items():
            while rows:
                for link, _ in self._content_of(model, rows.popleft()):
                    self.touch(link)
        used, self._used = self._used, {}
        with ledger.transaction():
            for link, (times, at) in used.items():
                item = ledger.find(link)
                if item is not None:
                    rule = ruling.rule(ledger, item)
                    half_life_s = DAY_S if rule is None else rule.half_life_s
                    score = decayed(item.score, (at - item.used) / MS, half_life_s) + times
                    ledger.change(item.n, uses=item.uses + times, score=score, used=max(at, item.used))
