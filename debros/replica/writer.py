"""One writer at a time, and one `fdatasync` for all who wait: group commit.

There is no background task. The first saver leads: it lets others join for one step of the scheduler, takes what
waits (at most `MAX_WEIGHT`), commits it as one group and wakes the rest; the first of those who came meanwhile
leads next. A transaction holds the lead from its first line to its end.

Cancellation: `commit` raises `Cancelled` only when nothing of it was written. A saver that still waits withdraws; one
that was taken into a group waits for the end of it, shielded; a leader that is cancelled before it begins passes
the lead on.

Group commit after DeWitt et al., "Implementation Techniques for Main Memory Database Systems", SIGMOD 1984.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import outcome
import trio
from trio.lowlevel import checkpoint, checkpoint_if_cancelled, enable_ki_protection

MAX_WEIGHT: Final = 1000  # changes in one group
YIELD_EVERY: Final = 32  # commits that need no waiting between two steps of the scheduler


class Request(Protocol):
    """What a saver wants written."""

    weight: int  # changes in it
    done: bool  # set by the group when it is written
    error: BaseException | None  # set by the group when it is refused


class _Waiting:
    __slots__ = ("exclusive", "request", "task")

    def __init__(self, task: trio.lowlevel.Task, request: Any, exclusive: bool) -> None:
        self.task, self.request, self.exclusive = task, request, exclusive


class Writer:
    """The queue before the log.

    `run` commits a group: it sets `error` on requests that are refused, returns those that have to wait for
    the next group, and raises only when the whole group failed. `run_now` does the same without waiting.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Any]], Awaitable[list[Any]]],
        run_now: Callable[[Sequence[Any]], list[Any]] | None,
    ) -> None:
        self._run = run
        self._run_now = run_now
        self._busy = False
        self._queue: deque[_Waiting] = deque()
        self._unyielded = 0

    @enable_ki_protection
    async def commit(self, request: Any) -> None:
        """Have a request written; on return it is durable and visible.

        Raises:
            DebrosError: the request was refused; nothing of it was written.
            StorageError: the disk failed; nothing of it was written.
        """
        if self._run_now is not None and not self._busy:
            self._unyielded += 1
            if self._unyielded < YIELD_EVERY:
                await checkpoint_if_cancelled()
            else:
                self._unyielded = 0
                await checkpoint()
            if not self._busy:  # nobody took the lead meanwhile
                self._run_now([request])
                if request.error is not None:
                    raise request.error
                return
        if self._busy and await self._wait(request, exclusive=False) != "lead":
            if request.error is not None:
                raise request.error
            return
        self._busy = True
        try:
            await checkpoint()  # let others join
        except BaseException:
            self._pass_on()
            raise
        await self._lead(request)

    async def _lead(self, own: Any) -> None:
        group, tasks, weight = [own], [], own.weight
        while self._queue and not self._queue[0].exclusive and weight + self._queue[0].request.weight <= MAX_WEIGHT:
            waiting = self._queue.popleft()
            group.append(waiting.request)
            tasks.append(waiting)
            weight += waiting.request.weight
        try:
            with trio.CancelScope(shield=True):
                while group:
                    group = await self._run(group)
        except BaseException as error:
            for request in (own, *(waiting.request for waiting in tasks)):
                if not request.done and request.error is None:
                    request.error = error
            if not isinstance(error, Exception):  # an interrupt is everybody's
                raise
        finally:
            for waiting in tasks:
                trio.lowlevel.reschedule(waiting.task, outcome.Value("done"))
            self._pass_on()
        if own.error is not None:
            raise own.error

    async def _wait(self, request: Any, *, exclusive: bool) -> Any:
        waiting = _Waiting(trio.lowlevel.current_task(), request, exclusive)
        self._queue.append(waiting)

        def withdraw(_: object) -> trio.lowlevel.Abort:
            if waiting in self._queue:
                self._queue.remove(waiting)
                return trio.lowlevel.Abort.SUCCEEDED
            return trio.lowlevel.Abort.FAILED

        return await trio.lowlevel.wait_task_rescheduled(withdraw)

    def _pass_on(self) -> None:
        if self._queue:
            trio.lowlevel.reschedule(self._queue.popleft().task, outcome.Value("lead"))
        else:
            self._busy = False

    @asynccontextmanager
    @enable_ki_protection
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold the log alone for the block; others wait."""
        if self._busy:
            await self._wait(None, exclusive=True)
        else:
            await checkpoint_if_cancelled()
            if self._busy:
                await self._wait(None, exclusive=True)
        self._busy = True
        try:
            yield
        finally:
            self._pass_on()
