"""A program that keeps a copy of a live query's result, going by its changes alone."""

from __future__ import annotations

from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from debros.query.live import Live


class Follower:
    """The copy: it begins with `view.rows`, then only `change` makes it different."""

    def __init__(self, view: Live[Any]) -> None:
        self.view = view
        self.copy: list[Any] = list(view.rows)
        self.seen: list[str] = []

    def take(self, change: Any) -> None:
        known = [row for row in self.copy if row == change.row]
        assert len(known) == (change.kind != "added"), "what is added was not there, all else was"
        for row in known:
            self.copy.remove(row)
        if change.kind != "removed":
            self.copy.insert(len(self.copy) if change.index is None else change.index, change.row)
        self.seen.append(change.kind)

    async def catch_up(self) -> list[str]:
        """Take all changes there are, and return their kinds."""
        self.seen = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return self.seen

    async def _follow(self) -> None:
        async for change in self.view:
            self.take(change)
