"""The world of a simulated node: its clock is trio's, its randomness grows from a seed, and it has no threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import TypeVar, TypeVarTuple

import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

EPOCH_US = 1_790_000_000_000_000  # of trio's clock: some day in September 2026


class SimulatedEnv:
    """A `debros.env.Env` in virtual time.

    Attributes:
        skew_us: how far the node's wall clock is off, in microseconds; may be changed while it runs.
    """

    def __init__(self, seed: int | str, skew_us: int = 0) -> None:
        self.skew_us = skew_us
        self.random = Random(f"node {seed}")  # noqa: S311 - keys of a simulation are meant to be the same each time

    def now_us(self) -> int:
        return EPOCH_US + self.skew_us + round(trio.current_time() * 1_000_000)

    def monotonic_s(self) -> float:
        return trio.current_time()

    def random_bytes(self, n: int) -> bytes:
        return self.random.randbytes(n)

    def environ(self) -> Mapping[str, str]:
        return {}

    def cwd(self) -> None:
        return None

    async def offload(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run it here: while a thread works, virtual time would not stand still."""
        await trio.lowlevel.cancel_shielded_checkpoint()
        return function(*args)

    async def offload_until_cancelled(self, function: Callable[[*Ts], T], *args: *Ts, stop: Callable[[], object]) -> T:
        """Run it here; nobody can cancel what takes no time."""
        await trio.lowlevel.checkpoint()
        return function(*args)

    async def offload_until_stopped(self, function: Callable[[*Ts], T], *args: *Ts, stop: Callable[[], object]) -> T:
        """Run it here, likewise."""
        return await self.offload_until_cancelled(function, *args, stop=stop)
