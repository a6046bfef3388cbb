"""For programs on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary, finalize

import outcome

from debros import current
from debros.errors import ArgumentError, NoNodeError
from debros.node import Debros
from debros.opening import open as open_node
from debros.portal.loop import (
    Call,
    Outside,
    Portal,
    Task,
    check_awaitable,
    check_block,
    check_iterable,
    is_swallowed,
    leaving,
)

T = TypeVar("T")
P = ParamSpec("P")
Opening = Callable[P, AbstractAsyncContextManager[Debros]]


class Bridge(Outside):
    """A node for asyncio; `debros.asyncio.open(...)` makes it."""

    def __init__(self, portal: Portal) -> None:
        super().__init__(portal)
        self._tasks: WeakKeyDictionary[asyncio.Task[Any], Task] = WeakKeyDictionary()

    async def run(self, awaitable: Awaitable[T], /) -> T:
        """Wait for an awaitable of trio's, and return what it gives; cancelled, it is cancelled.

        Raises:
            ArgumentError: it is no awaitable.
            ClosedError: the node is closed.
        """
        check_awaitable(awaitable)
        call = Call(lambda found, context: None)
        call.awaitable = awaitable
        found, _ = await self._sent(call, self._task())
        value: T = found.unwrap()
        return value

    async def iterate(self, items: AsyncIterable[T], /) -> AsyncIterator[T]:
        """Iterate over an async iterable of trio's.

        Raises:
            ArgumentError: it is none.
        """
        check_iterable(items)
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
        check_block(context)
        call = Call(lambda found, chosen: None)
        call.block = context
        task = self._task()  # which leaves the block too, whoever asks for that
        found, chosen = await self._sent(call, task)
        value: T = found.unwrap()
        try:
            with self._portal.meant(chosen):
                yield value
        except BaseException as error:
            if not await self._leave(error, call, task):
                raise
        else:
            await self._leave(None, call, task)

    async def _leave(self, error: BaseException | None, entered: Call, task: Task) -> bool:
        found, _ = await self._sent(leaving(entered, lambda found, chosen: None, error), task)
        return is_swallowed(error, found.unwrap)

    def _task(self) -> Task:
        here = asyncio.current_task()
        assert here is not None, "a coroutine runs in a task"
        task = self._tasks.get(here)
        if task is None:
            task = self._tasks[here] = Task(self._portal)
            here.add_done_callback(partial(_end, task))
            finalize(here, task.end).atexit = False  # a loop may be closed with tasks that are not done
        return task

    async def _sent(self, call: Call, task: Task) -> tuple[outcome.Outcome[Any], current.Context]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[outcome.Outcome[Any], current.Context]] = loop.create_future()
        call.told = lambda found, chosen: _tell(loop, future, found, chosen)
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


def _tell(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], found: outcome.Outcome[Any], chosen: current.Context
) -> None:
    def tell() -> None:
        if not future.done():
            future.set_result((found, chosen))

    with suppress(RuntimeError):  # that loop was closed, so nobody waits any more
        loop.call_soon_threadsafe(tell)


def _end(task: Task, _: object) -> None:
    task.end()


class _Opening(AbstractAsyncContextManager[Bridge]):
    """What `open` gives: a block to be entered, once."""

    def __init__(self, block: AbstractAsyncContextManager[Bridge]) -> None:
        self._block = block
        self._was_entered = False

    async def __aenter__(self) -> Bridge:
        if self._was_entered:
            raise ArgumentError("this block was entered before: call `debros.asyncio.open(...)` for each block")
        self._was_entered = True
        return await self._block.__aenter__()

    async def __aexit__(self, *left: Any) -> bool | None:
        return await self._block.__aexit__(*left)


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise NoNodeError(
            "debros.asyncio.open runs under asyncio (`asyncio.run(main())`); under trio there is "
            "`async with debros.open(...)`"
        ) from None


def _bridged(opening: Opening[P]) -> Callable[P, AbstractAsyncContextManager[Bridge]]:
    @asynccontextmanager
    async def block(*args: P.args, **options: P.kwargs) -> AsyncIterator[Bridge]:
        loop = _running_loop()
        portal = Portal(partial(opening, *args, **options))
        opened: asyncio.Future[BaseException | None] = loop.create_future()

        def ready(error: BaseException | None) -> None:
            with suppress(RuntimeError):  # that loop was closed meanwhile
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

    def open(*args: P.args, **options: P.kwargs) -> AbstractAsyncContextManager[Bridge]:
        """Open a node for asyncio. Arguments and errors are those of `debros.open`."""
        return _Opening(block(*args, **options))

    return open


open_for_asyncio = _bridged(open_node)
