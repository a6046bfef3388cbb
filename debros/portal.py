"""The same node for callers without trio: one background thread runs it, and every awaitable goes through `run`.

Each calling thread, or asyncio task, has a task of its own in the node's loop, which does what it is sent in order. So a
transaction entered by `using` is the same task's as the writes that follow, and its context variables go back to the
caller: what `acting_as` or `current` chooses holds for constructors too, which run where they are called.

A block entered by `using` stays open in that task as an `async with` statement, with the calls behind it inside; so
whatever a context manager needs (nurseries, cancel scopes) nests as in a program written for trio.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
)
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast
from weakref import WeakKeyDictionary

import outcome
import trio

from debros import current
from debros.errors import ArgumentError, ClosedError, NoNodeError
from debros.node import Debros
from debros.opening import open as open_node

if TYPE_CHECKING:
    from debros.replica.store import Store
    from debros.replica.transaction import Transaction

T = TypeVar("T")
P = ParamSpec("P")
Opening = Callable[P, AbstractAsyncContextManager[Debros]]
Told = Callable[["outcome.Outcome[Any]", current.Context], None]

_OVER = "the node is closed: this call came after the end of the block that opened it"


class _Interrupted(BaseException):
    """The caller gave up waiting, and what it waited for was cancelled."""


class _Elsewhere:
    """What stands in the place of a transaction where calls come from: whatever reads or writes there asks it first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.rows: Mapping[str, Any] = {}  # records may be made there: of events, of live queries

    def belongs_to(self, store: Store) -> bool:
        """Raise `NoNodeError`: the node lives in another thread."""
        if store is self._store:
            raise NoNodeError(
                "the node lives in a loop of its own: `await db.run(Post.get(id))` in asyncio, `db.run(Post.get(id))` without "
                "a loop; `db.using(...)` for what is entered, `db.iterate(...)` for what is iterated over"
            )
        return False


class _Call:
    """Something to do in the node's loop: an awaitable, or the entering or leaving of a block."""

    def __init__(self, told: Told) -> None:
        self.told = told
        self.scope = trio.CancelScope()
        self.awaitable: Awaitable[Any] | None = None
        self.block: AbstractAsyncContextManager[Any] | None = None
        self.error: BaseException | None = None  # that the block is left with
        self.was_sent = False


class _Task:
    """One caller's task in the node's loop."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._send, self._calls = trio.open_memory_channel[_Call](math.inf)  # one call waits at a time
        portal.soon(self._start)

    def _start(self) -> None:
        self._portal.nursery.start_soon(self._run)

    async def _run(self) -> None:
        with self._portal.node.current():
            await self._serve()

    async def _serve(self) -> _Call | None:
        """Do what comes, until a block is to be left."""
        async for call in self._calls:
            if call.awaitable is not None:
                await self._await(call, call.awaitable)
            elif call.block is not None:
                await self._enter(call, call.block)
            else:
                return call
        return None

    async def _await(self, call: _Call, awaitable: Awaitable[Any]) -> None:
        found: outcome.Outcome[Any] = outcome.Error(ClosedError(_OVER))
        try:
            with call.scope:
                try:
                    found = outcome.Value(await awaitable)
                except Exception as error:  # it is the caller's
                    found = outcome.Error(error)
            if call.scope.cancelled_caught:
                found = outcome.Error(_Interrupted())
        finally:
            call.told(found, current.context())

    async def _enter(self, call: _Call, block: AbstractAsyncContextManager[Any]) -> None:
        waiting = call
        found: outcome.Outcome[Any] = outcome.Error(ClosedError(_OVER))
        try:
            with call.scope:
                try:
                    async with block as value:
                        call.told(outcome.Value(value), current.context())
                        left = await self._serve()
                        if left is None:
                            return
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

    def send(self, call: _Call) -> None:
        """Have something done."""
        self._portal.soon(self._put, call)

    def give_up(self, call: _Call) -> None:
        """Cancel a call, whether it was sent or not."""
        self._portal.soon(self._cancel, call)

    def _cancel(self, call: _Call) -> None:
        call.scope.cancel()
        if not call.was_sent:
            call.told(outcome.Error(_Interrupted()), current.Context())

    def _put(self, call: _Call) -> None:
        call.was_sent = True
        try:
            self._send.send_nowait(call)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            call.told(outcome.Error(ClosedError(_OVER)), current.Context())

    def end(self) -> None:
        """Do nothing more."""
        self._portal.soon(self._send.close)


class Portal:
    """A trio loop in a thread, with a node open in it."""

    nursery: trio.Nursery
    node: Debros

    def __init__(self, opening: Callable[[], AbstractAsyncContextManager[Debros]]) -> None:
        self._opening = opening
        self._token: trio.lowlevel.TrioToken | None = None
        self._stop: trio.Event | None = None
        self._ready: Callable[[BaseException | None], None] = lambda error: None
        self._thread = threading.Thread(target=self._run, name="debros", daemon=True)
        self._failure: BaseException | None = None

    def start(self, ready: Callable[[BaseException | None], None]) -> None:
        """Begin; `ready` is called from the thread once the node is open, or with what kept it from that."""
        self._ready = ready
        self._thread.start()

    def soon(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function in the loop.

        Raises:
            ClosedError: the loop has ended.
        """
        if self._token is None:
            raise ClosedError(_OVER)
        try:
            self._token.run_sync_soon(function, *args)
        except trio.RunFinishedError:
            raise ClosedError(_OVER) from None

    def stop(self) -> None:
        """Close the node; `join` waits for it."""
        stop = self._stop
        if stop is not None:
            try:
                self.soon(stop.set)
            except ClosedError:
                return  # it has ended by itself

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
        async with self._opening() as self.node, trio.open_nursery() as self.nursery:
            self._token = trio.lowlevel.current_trio_token()
            self._stop = trio.Event()
            self._ready(None)
            await self._stop.wait()
            self.nursery.cancel_scope.cancel()


class _Waiting:
    """A thread that waits for a call."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._found: outcome.Outcome[Any] = outcome.Error(ClosedError(_OVER))
        self.context = current.Context()

    def told(self, found: outcome.Outcome[Any], context: current.Context) -> None:
        self._found, self.context = found, context
        self._done.set()

    def send(self, task: _Task, call: _Call) -> Any:
        """Have something done, and wait for it; an interrupt from the keyboard cancels it first."""
        try:
            task.send(call)
            self._done.wait()
        except ClosedError:
            raise
        except BaseException:
            task.give_up(call)
            self._done.wait()
            raise
        return self._found.unwrap()


class Blocking:
    """A node for synchronous callers; `debros.blocking(...)` makes it."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._local = threading.local()
        self.node = portal.node  # what does not have to be awaited is used as it is

    def run(self, awaitable: Awaitable[T], /) -> T:
        """Wait for an awaitable, and return what it gives.

        Raises:
            ArgumentError: it is no awaitable.
            ClosedError: the node is closed.
        """
        _check_awaitable(awaitable)
        waiting = _Waiting()
        call = _Call(waiting.told)
        call.awaitable = awaitable
        found: T = self._sent(call, waiting)
        return found

    def iterate(self, items: AsyncIterable[T], /) -> Iterator[T]:
        """Iterate over an async iterable.

        Raises:
            ArgumentError: it is none.
        """
        _check_iterable(items)
        iterator = items.__aiter__()
        try:
            while True:
                try:
                    item = self.run(iterator.__anext__())
                except StopAsyncIteration:
                    return
                yield item
        finally:
            if isinstance(iterator, AsyncGenerator):
                self.run(iterator.aclose())

    @contextmanager
    def using(self, context: AbstractAsyncContextManager[T], /) -> Iterator[T]:
        """Enter an async context manager for the block. Blocks of one thread nest.

        Raises:
            ArgumentError: it is none.
        """
        _check_block(context)
        waiting = _Waiting()
        call = _Call(waiting.told)
        call.block = context
        value: T = self._sent(call, waiting)
        try:
            with self._portal.meant(waiting.context):
                yield value
        except BaseException as error:
            if not self._leave(error):
                raise
        else:
            self._leave(None)

    def _leave(self, error: BaseException | None) -> bool:
        waiting = _Waiting()
        call = _Call(waiting.told)
        call.error = error
        try:
            return bool(self._sent(call, waiting))
        except BaseException as raised:
            if raised is error:
                return False
            raise

    def _sent(self, call: _Call, waiting: _Waiting) -> Any:
        task: _Task | None = getattr(self._local, "task", None)
        if task is None:
            task = self._local.task = _Task(self._portal)
        return waiting.send(task, call)


class Bridge:
    """A node for asyncio; `debros.asyncio.open(...)` makes it."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._tasks: WeakKeyDictionary[asyncio.Task[Any], _Task] = WeakKeyDictionary()
        self.node = portal.node  # what does not have to be awaited is used as it is

    async def run(self, awaitable: Awaitable[T], /) -> T:
        """Wait for an awaitable of trio's, and return what it gives; cancelled, it is cancelled.

        Raises:
            ArgumentError: it is no awaitable.
            ClosedError: the node is closed.
        """
        _check_awaitable(awaitable)
        call = _Call(lambda found, context: None)
        call.awaitable = awaitable
        found, _ = await self._sent(call)
        value: T = found.unwrap()
        return value

    async def iterate(self, items: AsyncIterable[T], /) -> AsyncIterator[T]:
        """Iterate over an async iterable of trio's.

        Raises:
            ArgumentError: it is none.
        """
        _check_iterable(items)
        iterator = items.__aiter__()
        try:
            while True:
                try:
                    item = await self.run(iterator.__anext__())
                except StopAsyncIteration:
                    return
                yield item
        finally:
            if isinstance(iterator, AsyncGenerator):
                await self.run(iterator.aclose())

    @asynccontextmanager
    async def using(self, context: AbstractAsyncContextManager[T], /) -> AsyncIterator[T]:
        """Enter an async context manager of trio's for the block. Blocks of one asyncio task nest.

        Raises:
            ArgumentError: it is none.
        """
        _check_block(context)
        call = _Call(lambda found, chosen: None)
        call.block = context
        found, chosen = await self._sent(call)
        value: T = found.unwrap()
        try:
            with self._portal.meant(chosen):
                yield value
        except BaseException as error:
            if not await self._leave(error):
                raise
        else:
            await self._leave(None)

    async def _leave(self, error: BaseException | None) -> bool:
        call = _Call(lambda found, chosen: None)
        call.error = error
        found, _ = await self._sent(call)
        try:
            return bool(found.unwrap())
        except BaseException as raised:
            if raised is error:
                return False
            raise

    async def _sent(self, call: _Call) -> tuple[outcome.Outcome[Any], current.Context]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[outcome.Outcome[Any], current.Context]] = loop.create_future()
        call.told = lambda found, chosen: _tell(loop, future, found, chosen)
        here = asyncio.current_task()
        assert here is not None, "a coroutine runs in a task"
        task = self._tasks.get(here)
        if task is None:
            task = self._tasks[here] = _Task(self._portal)
            here.add_done_callback(partial(_end, task))
        task.send(call)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            task.give_up(call)
            while not future.done():  # what was cancelled comes to its end first
                try:
                    await asyncio.shield(future)
                except asyncio.CancelledError:
                    continue
            raise


def _check_awaitable(given: object) -> None:
    if not isinstance(given, Awaitable):
        cure = "; call it: db.run(Post.count())" if callable(given) else ", such as db.run(Post.count())"
        raise ArgumentError(f"run takes an awaitable, not {given!r:.80}{cure}")


def _check_iterable(given: object) -> None:
    if not isinstance(given, AsyncIterable):
        raise ArgumentError(f"iterate takes an async iterable, such as query.stream(), not {given!r:.80}")


def _check_block(given: object) -> None:
    if not isinstance(given, AbstractAsyncContextManager):
        raise ArgumentError(f"using takes an async context manager, such as query.live(), not {given!r:.80}")


def _tell(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], found: outcome.Outcome[Any], chosen: current.Context
) -> None:
    def tell() -> None:
        if not future.done():
            future.set_result((found, chosen))

    loop.call_soon_threadsafe(tell)


def _end(task: _Task, _: object) -> None:
    try:
        task.end()
    except ClosedError:
        return  # the loop has ended, and the task with it


def _blocking(opening: Opening[P]) -> Callable[P, AbstractContextManager[Blocking]]:
    @contextmanager
    def blocking(*args: P.args, **options: P.kwargs) -> Iterator[Blocking]:
        """Open a node for synchronous callers: scripts, notebooks, WSGI. Arguments and errors are those of `debros.open`."""
        portal = Portal(partial(opening, *args, **options))
        opened = threading.Event()
        failures: list[BaseException] = []

        def ready(error: BaseException | None) -> None:
            failures.extend([] if error is None else [error])
            opened.set()

        portal.start(ready)
        opened.wait()
        if failures:
            raise failures[0]
        try:
            with portal.meant(current.Context(portal.node)):
                yield Blocking(portal)
        finally:
            portal.stop()
            portal.join()

    return blocking


def _bridged(opening: Opening[P]) -> Callable[P, AbstractAsyncContextManager[Bridge]]:
    @asynccontextmanager
    async def open(*args: P.args, **options: P.kwargs) -> AsyncIterator[Bridge]:
        """Open a node for asyncio. Arguments and errors are those of `debros.open`."""
        loop = asyncio.get_running_loop()
        portal = Portal(partial(opening, *args, **options))
        opened: asyncio.Future[BaseException | None] = loop.create_future()

        def ready(error: BaseException | None) -> None:
            loop.call_soon_threadsafe(opened.set_result, error)

        portal.start(ready)
        try:
            failure = await asyncio.shield(opened)
            if failure is not None:
                raise failure
            with portal.meant(current.Context(portal.node)):
                yield Bridge(portal)
        finally:
            portal.stop()
            await asyncio.shield(loop.run_in_executor(None, portal.join))

    return open


blocking = _blocking(open_node)
open_for_asyncio = _bridged(open_node)

__all__ = ["Blocking", "Bridge", "blocking", "open_for_asyncio"]
