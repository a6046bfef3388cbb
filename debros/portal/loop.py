"""The node's loop in a thread of its own, and the tasks in it that do what callers elsewhere send."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import outcome
import trio

from debros import current
from debros.errors import ArgumentError, ClosedError, NoNodeError, did_you_mean
from debros.node import Debros

if TYPE_CHECKING:
    from debros.replica.store import Store
    from debros.replica.transaction import Transaction

Told = Callable[["outcome.Outcome[Any]", current.Context], None]

OVER = "the node is closed: this call came after the end of the block that opened it"
_LEFT = (
    "the thread or asyncio task that entered this block has ended, and the block was left with an error then: nothing of its "
    "transaction was written"
)
_NESTED = "blocks of one thread or asyncio task nest: a block that was entered in this one is still open, and has to be left first"
_FORKED = (
    "the node is in the process that opened it, and this one was forked from that: threads do not come along. Open the node "
    "behind the fork; of one home, in one process at a time"
)


class _Interrupted(BaseException):
    """The caller gave up waiting, and what it waited for was cancelled."""


class _CallerEnded(Exception):
    """Who entered a block has ended without leaving it."""


class _Elsewhere:
    """What stands in the place of a transaction where calls come from: whatever reads or writes there asks it first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.rows: Mapping[str, Any] = {}  # records may be made there: of events, of live queries

    def belongs_to(self, store: Store) -> bool:
        """Raise `NoNodeError`: the node lives in another thread."""
        if store is self._store:
            raise NoNodeError(current.ELSEWHERE)
        return False


class Call:
    """Something to do in the node's loop: an awaitable, or the entering or leaving of a block."""

    def __init__(self, told: Told) -> None:
        self.told = told
        self.chosen = current.context()  # by the caller
        self.scope = trio.CancelScope()
        self.awaitable: Awaitable[Any] | None = None
        self.block: AbstractAsyncContextManager[Any] | None = None
        self.leaves: Call | None = None  # the call that entered the block
        self.error: BaseException | None = None  # that the block is left with
        self.was_sent = False


class Task:
    """One caller's task in the node's loop; it ends when its caller does."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._over = OVER  # why it does nothing more
        self._send, self._calls = trio.open_memory_channel[Call](math.inf)  # one call waits at a time
        portal.soon(self._start)

    def _start(self) -> None:
        try:
            self._portal.nursery.start_soon(self._run)
        except RuntimeError:  # the node is being closed, and its nursery takes nobody in
            self._refuse()

    async def _run(self) -> None:
        try:
            with self._portal.node.current():
                await self._serve()
        finally:
            self._refuse()

    def _refuse(self) -> None:
        """Tell those who wait for what nobody will do any more, and whoever sends something later, that it is over."""
        with suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                self._calls.receive_nowait().told(outcome.Error(ClosedError(self._over)), current.Context())
        self._calls.close()

    async def _serve(self, inside: Call | None = None) -> Call | None:
        """Do what comes, until the block that was entered last is to be left; `None`: its caller has ended."""
        async for call in self._calls:
            if call.awaitable is not None:
                await self._await(call, call.awaitable)
            elif call.block is not None:
                await self._enter(call, call.block)
            elif call.leaves is inside:
                return call
            else:
                call.told(outcome.Error(ArgumentError(_NESTED)), current.context())
        return None

    def _acting_as(self, call: Call) -> AbstractContextManager[object]:
        """Act as whom the caller has chosen: a task of asyncio has what the one chose that made it, as `wait_for` does."""
        chosen = call.chosen
        if chosen.identity is None or chosen.node is not self._portal.node:
            return nullcontext()
        return current.choosing(identity=chosen.identity)

    async def _await(self, call: Call, awaitable: Awaitable[Any]) -> None:
        found: outcome.Outcome[Any] = outcome.Error(ClosedError(OVER))
        try:
            with call.scope, self._acting_as(call):
                try:
                    found = outcome.Value(await awaitable)
                except (trio.Cancelled, GeneratorExit):
                    raise
                except BaseException as error:  # it is the caller's; `sys.exit` there must not end the node here
                    found = outcome.Error(error)
            if call.scope.cancelled_caught:
                found = outcome.Error(_Interrupted())
        finally:
            call.told(found, current.context())

    async def _enter(self, call: Call, block: AbstractAsyncContextManager[Any]) -> None:
        waiting = call
        found: outcome.Outcome[Any] = outcome.Error(ClosedError(OVER))
        try:
            with call.scope, self._acting_as(call):
                try:
                    async with block as value:
                        call.told(outcome.Value(value), current.context())
                        left = await self._serve(call)
                        if left is None:
                            raise _CallerEnded
                        waiting = left
                        if left.error is not None:
                            raise left.error
                    found = outcome.Value(left.error is not None)
                except BaseException as error:
                    if isinstance(error, trio.Cancelled):
                        raise
                    found = outcome.Error(error)
            if call.scope.cancelled_caught:
                found = outcome.Error(_Interrupted())
        finally:
            if waiting is not call or isinstance(found, outcome.Error):
                waiting.told(found, current.context())

    def send(self, call: Call) -> None:
        """Have something done."""
        self._portal.soon(self._put, call)

    def give_up(self, call: Call) -> None:
        """Cancel a call, whether it was sent or not."""
        self._portal.soon(self._cancel, call)

    def _cancel(self, call: Call) -> None:
        call.scope.cancel()
        if not call.was_sent:
            call.told(outcome.Error(_Interrupted()), current.Context())

    def _put(self, call: Call) -> None:
        call.was_sent = True
        try:
            self._send.send_nowait(call)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            call.told(outcome.Error(ClosedError(self._over)), current.Context())

    def end(self) -> None:
        """Do nothing more: the caller has ended. What it entered and did not leave is left with an error."""
        with suppress(ClosedError):  # the loop has ended, and the task with it
            self._portal.soon(self._end)

    def _end(self) -> None:
        self._over = _LEFT
        self._send.close()


def leaving(entered: Call, told: Told, error: BaseException | None) -> Call:
    """Return the call that leaves a block with an error or none; given up, it cancels the block, as any wait in it."""
    call = Call(told)
    call.leaves, call.scope, call.error = entered, entered.scope, error
    return call


class Portal:
    """A trio loop in a thread, with a node open in it."""

    nursery: trio.Nursery
    node: Debros

    def __init__(self, opening: Callable[[], AbstractAsyncContextManager[Debros]]) -> None:
        self._opening = opening
        self._token: trio.lowlevel.TrioToken | None = None
        self._stop: trio.Event | None = None  # once the node is open
        self._opened = trio.CancelScope()
        self._is_stopped = False
        self._ready: Callable[[BaseException | None], None] = lambda error: None
        self._thread = threading.Thread(target=self._run, name="debros", daemon=True)
        self._failure: BaseException | None = None
        self._process = os.getpid()

    def start(self, ready: Callable[[BaseException | None], None]) -> None:
        """Begin; `ready` is called from the thread once the node is open, or with what kept it from that."""
        self._ready = ready
        self._thread.start()

    def soon(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function in the loop.

        Raises:
            ClosedError: the loop has ended, or is not in this process.
        """
        if os.getpid() != self._process:
            raise ClosedError(_FORKED)
        if self._token is None:
            raise ClosedError(OVER)
        try:
            self._token.run_sync_soon(function, *args)
        except trio.RunFinishedError:
            raise ClosedError(OVER) from None

    def stop(self) -> None:
        """Close the node, or open it no further; `join` waits for it."""
        self._is_stopped = True
        if self._token is not None:
            with suppress(ClosedError):  # it has ended by itself
                self.soon(self._end)

    def _end(self) -> None:
        if self._stop is None:
            self._opened.cancel()
        else:
            self._stop.set()

    def join(self) -> None:
        """Wait for the end, and raise what went wrong there."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def meant(self, chosen: current.Context) -> AbstractContextManager[None]:
        """Choose, in a caller's thread, what a task of the loop has chosen; what has to be awaited goes through `run`."""
        return current.adopting(replace(chosen, transaction=cast("Transaction", _Elsewhere(self.node.store))))

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:
            if self._stop is None:
                self._ready(error)
            else:
                self._failure = error

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._opened:
            if self._is_stopped:  # before there was a loop to tell
                return
            async with self._opening() as self.node, trio.open_nursery() as self.nursery:
                self._stop = trio.Event()
                self._ready(None)
                await self._stop.wait()
                self.nursery.cancel_scope.cancel()


def is_swallowed(error: BaseException | None, leave: Callable[[], object]) -> bool:
    """Leave a block, and return whether it took the error it was left with for dealt with; what else it raises is raised."""
    try:
        return bool(leave())
    except BaseException as raised:
        if raised is error:
            return False
        raise


class Outside:
    """A node as callers without trio have it: what has to be awaited is sent to its loop."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self.node = portal.node  # what does not have to be awaited is used as it is

    def __repr__(self) -> str:
        return f"<{self.node!r}, to be asked by `run`>"

    if not TYPE_CHECKING:  # checkers know the names

        def __getattr__(self, name):
            kind = type(self).__name__
            if name.startswith("_") or not hasattr(vars(self).get("node"), name):
                near = did_you_mean(name, ["run", "using", "iterate", "node"])
                raise AttributeError(f"{kind!r} has no {name!r}{near}")
            raise AttributeError(
                f"{kind!r} has no {name!r}: it is the node's, `db.node.{name}`; what has to be awaited goes through `db.run(...)`, and "
                "what is entered through `db.using(...)`"
            )


def check_awaitable(given: object) -> None:
    if not isinstance(given, Awaitable):
        cure = "; call it: db.run(Post.count())" if callable(given) else ", such as db.run(Post.count())"
        raise ArgumentError(f"run takes an awaitable, not {given!r:.80}{cure}")


def check_iterable(given: object) -> None:
    if not isinstance(given, AsyncIterable):
        raise ArgumentError(f"iterate takes an async iterable, such as query.stream(), not {given!r:.80}")


def check_block(given: object) -> None:
    if not isinstance(given, AbstractAsyncContextManager):
        raise ArgumentError(f"using takes an async context manager, such as query.live(), not {given!r:.80}")
