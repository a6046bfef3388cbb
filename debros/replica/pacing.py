"""Work in steps: long work on the loop, in turns with other tasks, or all steps at once."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, TypeVar

import trio

R = TypeVar("R")

TURN: Final = 250  # changes, or what costs as much, between two turns of other tasks: a few milliseconds


class Pacing:
    """Gives other tasks a turn whenever enough was done since the last one."""

    def __init__(self, most: int = TURN) -> None:
        """`most`: how much is done in one go."""
        self._most = most
        self._done = 0

    async def did(self, amount: int) -> None:
        """Count work that was done."""
        self._done += amount
        if self._done >= self._most:
            self._done = 0
            await trio.lowlevel.checkpoint()


async def in_turns(steps: Generator[None, None, R]) -> R:
    """Take steps, with a turn of other tasks between two, and return what comes of them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: R = end.value
            return result
        await trio.lowlevel.checkpoint()


def finished(steps: Generator[None, None, R]) -> R:
    """Take all steps at once and return what comes of them."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        result: R = end.value
        return result
