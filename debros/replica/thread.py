"""The thread that a store belongs to: the one whose loop it is open in.

Its SQLite connection has no mutex, which would cost a quarter of every read; so it is used in that thread and no other, and
`View.db` holds everybody to it. What may be asked from anywhere, like `record.meta`, is asked there by `call`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

from debros.current import ELSEWHERE
from debros.env import this_thread
from debros.errors import ClosedError, NoNodeError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_CLOSED = "the node is closed; open it again to read or write"


class Thread:
    """Which thread it is; at first the one that made this."""

    def __init__(self) -> None:
        self._is_closing = False
        self.take()

    def take(self) -> None:
        """Belong to the running thread from now on: a store is opened, and closed, in others than it is used in."""
        self.number = this_thread()
        self._loop = trio.lowlevel.current_trio_token() if trio.lowlevel.in_trio_run() else None

    def let_go(self) -> None:
        """Belong to no thread, until one takes it to close: tasks go on in this one meanwhile, and may not look any more."""
        self._is_closing, self.number = True, 0

    def take_to_close(self) -> None:
        """Belong to the running thread, for nothing but closing."""
        self._is_closing = True
        self.take()

    def check(self) -> None:
        """Raise what another thread is told.

        Raises:
            ClosedError: the store is being closed.
            NoNodeError: it lives in another thread.
        """
        if this_thread() == self.number:
            return
        if self._is_closing:
            raise ClosedError(_CLOSED)
        raise NoNodeError(ELSEWHERE)

    def call(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call a function in the thread of the store, and wait for what it gives.

        Raises:
            ClosedError: the node, or its loop, is closed.
            NoNodeError: this is a thread with a loop of trio's of its own, which must not wait for another one.
        """
        if this_thread() == self.number or self._loop is None:
            return function(*args)
        if trio.lowlevel.in_trio_run():
            raise NoNodeError(ELSEWHERE)
        try:
            return trio.from_thread.run_sync(function, *args, trio_token=self._loop)
        except trio.RunFinishedError as error:
            raise ClosedError(_CLOSED) from error
