"""For synchronous callers: scripts, notebooks, WSGI."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from weakref import finalize

import outcome

from debros import current
from debros.errors import ArgumentError, ClosedError
from debros.node import Debros
from debros.opening import open as open_node
from debros.portal.loop import (
    OVER,
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


class _Waiting:
    """A thread that waits for a call."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._found: outcome.Outcome[Any] = outcome.Error(ClosedError(OVER))
        self.context = current.Context()

    def told(self, found: outcome.Outcome[Any], context: current.Context) -> None:
        self._found, self.context = found, context
        self._done.set()

    def send(self, task: Task, call: Call) -> Any:
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


class _Here:
    """What a thread has of a node: its task there, which ends with the thread."""

    def __init__(self, portal: Portal) -> None:
        self.task = Task(portal)
        finalize(self, self.task.end).atexit = False


class Blocking(Outside):
    """A node for synchronous callers; `debros.blocking(...)` makes it."""

    def __init__(self, portal: Portal) -> None:
        super().__init__(portal)
        self._local = threading.local()

    def run(self, awaitable: Awaitable[T], /) -> T:
        """Wait for an awaitable, and return what it gives.

        Raises:
            ArgumentError: it is no awaitable.
            ClosedError: the node is closed.
        """
        check_awaitable(awaitable)
        waiting = _Waiting()
        call = Call(waiting.told)
        call.awaitable = awaitable
        found: T = waiting.send(self._task(), call)
        return found

    def iterate(self, items: AsyncIterable[T], /) -> Iterator[T]:
        """Iterate over an async iterable.

        Raises:
            ArgumentError: it is none.
        """
        check_iterable(items)
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
        check_block(context)
        waiting = _Waiting()
        call = Call(waiting.told)
        call.block = context
        task = self._task()  # which leaves the block too, whichever thread asks for that
        value: T = waiting.send(task, call)
        try:
            with self._portal.meant(waiting.context):
                yield value
        except BaseException as error:
            if not _leave(error, call, task):
                raise
        else:
            _leave(None, call, task)

    def _task(self) -> Task:
        here: _Here | None = getattr(self._local, "here", None)
        if here is None:
            here = self._local.here = _Here(self._portal)
        return here.task


def _leave(error: BaseException | None, entered: Call, task: Task) -> bool:
    waiting = _Waiting()
    return is_swallowed(error, partial(waiting.send, task, leaving(entered, waiting.told, error)))


class _Block(AbstractContextManager[Blocking]):
    """What `blocking` gives: a block to be entered. Other ways to use it say so."""

    def __init__(self, block: AbstractContextManager[Blocking]) -> None:
        self._block = block
        self._was_entered = False

    def __enter__(self) -> Blocking:
        if self._was_entered:
            raise ArgumentError("this block was entered before: call `debros.blocking(...)` for each block")
        self._was_entered = True
        return self._block.__enter__()

    def __exit__(self, *left: Any) -> bool | None:
        return self._block.__exit__(*left)

    if not TYPE_CHECKING:  # checkers know what it is

        def __getattr__(self, name):
            raise AttributeError(
                f"no {name!r} here: a node is open inside a block, which closes it: `with debros.blocking(home) as db:`; in a "
                "notebook `stack = contextlib.ExitStack()`, `db = stack.enter_context(debros.blocking(home))`, at last `stack.close()`"
            )


def _blocking(opening: Opening[P]) -> Callable[P, AbstractContextManager[Blocking]]:
    @contextmanager
    def block(*args: P.args, **options: P.kwargs) -> Iterator[Blocking]:
        """Open a node for synchronous callers: scripts, notebooks, WSGI. Arguments and errors are those of `debros.open`."""
        portal = Portal(partial(opening, *args, **options))
        opened = threading.Event()
        failures: list[BaseException] = []

        def ready(error: BaseException | None) -> None:
            failures.extend([] if error is None else [error])
            opened.set()

        portal.start(ready)
        try:
            opened.wait()
            if failures:
                raise failures[0]
            with portal.meant(current.Context(portal.node)):
                yield Blocking(portal)
        finally:
            portal.stop()
            portal.join()

    @wraps(block)
    def blocking(*args: P.args, **options: P.kwargs) -> AbstractContextManager[Blocking]:
        return _Block(block(*args, **options))

    return blocking


blocking = _blocking(open_node)
