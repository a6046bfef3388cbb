"""The only door to the outside: wall clock, monotonic clock, randomness, environment variables, threads, the collector.

Everything else takes an `Env`, so a network of nodes can run in virtual time from a seed.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeVar, TypeVarTuple

import outcome
import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Env(Protocol):
    """What a node may ask of the world."""

    def now_us(self) -> int:
        """Microseconds of the wall clock since 1970-01-01 UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds of a clock that never goes back, from an arbitrary zero."""
        ...

    def random_bytes(self, n: int) -> bytes:
        """`n` bytes fit for keys."""
        ...

    def environ(self) -> Mapping[str, str]:
        """Environment variables."""
        ...

    def cwd(self) -> Path | None:
        """Return the working directory, where there is one."""
        ...

    async def offload(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run a blocking function in a thread. Not to be cancelled: it always runs to its end."""
        ...

    async def offload_until_cancelled(self, function: Callable[[*Ts], T], *args: *Ts, stop: Callable[[], object]) -> T:
        """Run a blocking function in a thread; when cancelled, call `stop`, which ends it soon, and wait no longer."""
        ...

    async def offload_until_stopped(self, function: Callable[[*Ts], T], *args: *Ts, stop: Callable[[], object]) -> T:
        """Run a blocking function in a thread; when cancelled, call `stop`, which ends it soon, and wait for its end."""
        ...


class SystemEnv:
    """The real world."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        return time.monotonic()

    def random_bytes(self, n: int) -> bytes:
        return os.urandom(n)

    def environ(self) -> Mapping[str, str]:
        return os.environ

    def cwd(self) -> Path:
        return Path.cwd()

    async def offload(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        result: list[T] = []
        with trio.CancelScope(shield=True):
            result.append(await trio.to_thread.run_sync(function, *args))
        return result[0]

    async def offload_until_cancelled(self, function: Callable[[*Ts], T], *args: *Ts, stop: Callable[[], object]) -> T:
        try:
            call = partial(function, *args)
            return await trio.to_thread.run_sync(call, abandon_on_cancel=True)
        except trio.Cancelled:
            stop()
            raise

    async def offload_until_stopped(self, function: Callable[[*Ts], T], *args: *Ts, stop: Callable[[], object]) -> T:
        call, ended = partial(function, *args), trio.Event()
        found: list[outcome.Outcome[T]] = []

        async def work() -> None:
            with trio.CancelScope(shield=True):
                found.append(await trio.to_thread.run_sync(outcome.capture, call))
            ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            try:
                await ended.wait()
            except trio.Cancelled:
                stop()
                raise
        return found[0].unwrap()


class _Collector:
    """Who keeps the collector from running, in any thread: it goes on when the last of them is done, if it was on before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._was_on = False

    def pause(self) -> None:
        with self._lock:
            if not self._holders:
                self._was_on = gc.isenabled()
                gc.disable()
            self._holders += 1

    def go_on(self) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders and self._was_on:
                gc.enable()


_COLLECTOR: Final = _Collector()


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep Python's collector of cycles from running while the block makes many values of which none is in a cycle.

    It would look at the same values again and again: a quarter of the time of a large batch. Nothing may be awaited inside,
    so that it is a matter of milliseconds. Blocks of several threads may overlap: it runs again behind all of them.
    """
    _COLLECTOR.pause()
    try:
        yield
    finally:
        _COLLECTOR.go_on()


this_thread: Final = threading.get_ident
"""Return the number of the thread that runs this."""

SYSTEM = SystemEnv()
