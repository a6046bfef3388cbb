"""A subscription to topics: messages in a bounded buffer. A slow subscriber loses messages, and can see how many."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Literal, Self, TypeAlias, get_args

import trio

from debros.current import check_here
from debros.errors import ClosedError, LaggedError, TopicError
from debros.events.message import Message
from debros.events.stats import Counts, Stats
from debros.events.topics import checked_pattern, matcher

Overflow: TypeAlias = Literal["drop_oldest", "latest", "error"]
BUFFER: Final = 256  # messages that a subscriber may be behind


class Messages:
    """An async iterator over messages. `db.events.subscribe("chat.*")` makes it."""

    def __init__(
        self, pattern: str, where: Callable[[Message], object] | None, overflow: Overflow, own: bool, counts: Counts,
        thread: int,
    ) -> None:  # fmt: skip
        """Begin to listen, on a node that lives in `thread`.

        Raises:
            TopicError: the pattern, or `overflow`, is wrong.
        """
        self.pattern = checked_pattern(pattern)
        if overflow not in get_args(Overflow):
            raise TopicError(
                f"overflow={overflow!r} is not one of {', '.join(map(repr, get_args(Overflow)))}; only events wait, in the log"
            )
        self._matches = matcher(pattern).fullmatch
        self._where = where
        self._overflow = overflow
        self._own = own
        self._waiting: deque[Message] = deque()
        self._woken: trio.Event | None = None
        self._lost = False
        self._over = ""
        self.hook: Callable[[Message], None] | None = None  # called at once, instead of the buffer
        self.counts = counts
        self._thread = thread

    @property
    def lag(self) -> int:
        """Messages that wait to be taken."""
        return len(self._waiting)

    @property
    def stats(self) -> Stats:
        """What this subscriber has seen."""
        return self.counts.stats(self.lag)

    def takes(self, topic: str, own: bool) -> bool:
        """Whether messages of a topic are wanted; `own`: those that this node publishes."""
        return (self._own or not own) and self._matches(topic) is not None

    def deliver(self, message: Message) -> None:
        """Put a message into the buffer."""
        if self.hook is not None:
            self.hook(message)
            return
        full = len(self._waiting) >= (1 if self._overflow == "latest" else BUFFER)
        if full:
            self.counts.dropped += 1
            if self._overflow == "error":
                self._lost = True
                return
            self._waiting.popleft()
        self._waiting.append(message)
        if self._woken is not None:
            self._woken.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """Return the next message, when there is one.

        Raises:
            LaggedError: with `overflow="error"`, once what came before the loss is taken; it goes on behind it.
            ClosedError: the node, or this subscription, is closed.
            NoNodeError: the node lives in another thread.
        """
        check_here(self._thread)
        await trio.lowlevel.checkpoint()
        while True:
            while self._waiting:
                message = self._waiting.popleft()
                if self._where is None or self._where(message):
                    self.counts.delivered_at(int(message.at.timestamp() * 1e6))
                    return message
            if self._lost:
                self._lost = False
                raise LaggedError(
                    f"{self.counts.dropped} messages of {self.pattern!r} were not taken in time and are lost"
                )
            if self._over:
                raise ClosedError(self._over)
            self._woken = trio.Event()
            try:
                await self._woken.wait()
            finally:
                self._woken = None

    def close(self, why: str = "this subscription is over: its `async with` block has been left") -> None:
        """Take no more."""
        self._over = why
        if self._woken is not None:
            self._woken.set()
