"""Handlers: functions that are called with each event or message, again when they fail, and give up into a topic."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import trio

from debros.errors import ClosedError, DebrosError

if TYPE_CHECKING:
    from debros.events.stats import Counts, Stats

Handle = Callable[[Any], Awaitable[object] | object]


class Handler:
    """A function at work on a subscription. `db.events.on(...)` makes it; `off()` ends it."""

    def __init__(
        self, items: Any, handle: Handle, counts: Counts, *, retries: int, delay_s: float,
        give_up: Callable[[Any, BaseException], None],
    ) -> None:  # fmt: skip
        self._items = items
        self._handle = handle
        self._retries = retries
        self._delay_s = delay_s
        self._give_up = give_up
        self._scope = trio.CancelScope()
        self._counts = counts
        self.cursor: str | None = None  # of the last event that was dealt with: `since=` this goes on behind it
        self.failure: DebrosError | None = None  # what ended it, other than `off` and the node's end

    @property
    def stats(self) -> Stats:
        """What this handler has seen; `errors` are calls that failed."""
        return self._counts.stats(self._items.lag)

    def off(self) -> None:
        """Call it no more."""
        self._scope.cancel()

    async def run(self) -> None:
        """Take items until there are no more."""
        with self._scope:
            try:
                await self._take_all(self._items)
            except ClosedError:
                return
            except DebrosError as error:
                self.failure = error

    async def _take_all(self, items: AsyncIterator[Any]) -> None:
        async for item in items:
            for attempt in range(self._retries + 1):
                try:
                    answer = self._handle(item)
                    if isinstance(answer, Awaitable):
                        await answer
                    break
                except Exception as error:  # whatever it is, the next item has its turn
                    self._counts.errors += 1
                    if attempt == self._retries:
                        self._give_up(item, error)
                    else:
                        await trio.sleep(self._delay_s * 2**attempt)
            self.cursor = getattr(item, "cursor", None)
