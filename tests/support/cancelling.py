"""Cancelling a piece of work at its k-th checkpoint, for every k there is."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio

NAMES = ("checkpoint", "checkpoint_if_cancelled", "wait_task_rescheduled")


class Checkpoints:
    """Counts the checkpoints that the debros code of one task comes to, and cancels at one of them."""

    def __init__(self) -> None:
        self.count = 0
        self._task: Any = None
        self._nth = -1
        self._scope = trio.CancelScope()

    def reached(self) -> None:
        if trio.lowlevel.current_task() is self._task:
            if self.count == self._nth:
                self._scope.cancel()
            self.count += 1

    async def run(self, work: Callable[[], Awaitable[object]], nth: int) -> bool:
        """Run the work, cancelled when it comes to its checkpoint number `nth`, from 0; say whether it ended so."""
        self.count, self._nth, self._task = 0, nth, trio.lowlevel.current_task()
        self._scope = trio.CancelScope()
        try:
            with self._scope:
                await work()
        finally:
            self._task = None
        return self._scope.cancelled_caught


@contextmanager
def counted_checkpoints() -> Iterator[Checkpoints]:
    """Have every checkpoint in the code of debros, and of its stand-ins for the outside, counted."""
    checkpoints = Checkpoints()
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            original = getattr(trio.lowlevel, name)

            async def reached(*arguments: Any, original: Any = original) -> Any:
                checkpoints.reached()
                return await original(*arguments)

            patch.setattr(trio.lowlevel, name, reached)
            for module in [m for path, m in sys.modules.items() if path.startswith("debros")]:
                if vars(module).get(name) is original:
                    patch.setattr(module, name, reached)
        yield checkpoints
