"""Nodes on disks that fail: a repeatable world, models of several kinds, and what a node shows of them.

A `Story` writes to a node on a recording disk and remembers what was acknowledged when, so that a test may cut the
power behind any call and ask what has to be there.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, chdir, contextmanager
from dataclasses import dataclass, field
from hashlib import shake_256
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

import trio

from debros import Field, Model, model
from debros import field as declared
from debros.blocks.files import Files
from debros.identity.keys import Identity
from debros.node import Debros
from debros.opening import open_node
from debros.testing.faults import RecordingFiles

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Place = tuple[str, str]  # (model, id)
Shown = dict[Place, tuple[Any, ...]]

VIEW = ("view.sqlite", "view.sqlite-wal", "view.sqlite-shm")
SMALL_SEGMENT = 4096  # bytes: a few entries


@model(scope="global")
class Item(Model):
    """A record with a cell of each kind."""

    title: Field[str] = declared(unique=True)
    text: Field[str | None] = declared(default=None)
    note: Field[str | None] = declared(default=None, merge="keep")
    tags: Field[set[str]] = declared(default_factory=set)
    n: Field[int] = declared(default=0, merge="counter", index=True)


@model(scope="user")
class Memo(Model):
    """A record in the user's own log."""

    text: Field[str]
    n: Field[int] = declared(default=0, merge="counter")


@model(scope="global", store="counter")
class Tally(Model):
    """Nothing but sums."""

    n: Field[int] = declared(default=0, merge="counter")


MODELS: tuple[type[Model], ...] = (Item, Memo, Tally)


class QuietEnv:
    """Time that passes with each look at it, randomness that repeats, and no threads."""

    def __init__(self, seed: int = 0) -> None:
        self._now_us = 1_790_000_000_000_000 + seed * 1_000_000_000
        self._seed = seed
        self._count = 0

    def now_us(self) -> int:
        self._now_us += 1000
        return self._now_us

    def monotonic_s(self) -> float:
        return self.now_us() / 1_000_000

    def random_bytes(self, n: int) -> bytes:
        self._count += 1
        return shake_256(f"{self._seed} {self._count}".encode()).digest(n)

    def environ(self) -> Mapping[str, str]:
        return {}

    def cwd(self) -> None:
        return None

    async def offload(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        return function(*args)

    async def offload_until_cancelled(self, function: Callable[[*Ts], T], *args: *Ts, stop: Callable[[], object]) -> T:
        return function(*args)

    async def offload_until_stopped(self, function: Callable[[*Ts], T], *args: *Ts, stop: Callable[[], object]) -> T:
        return function(*args)


@asynccontextmanager
async def a_node_on(
    files: Files | None, home: Path, *, env: QuietEnv | None = None, models: Iterable[type[Model]] = MODELS,
    identity: Identity | None = None, admins: Sequence[str] = (), **settings: Any,
) -> AsyncIterator[Debros]:  # fmt: skip
    """Open a node whose log lies on the disk `files`; its view and its keys lie in the directory `home`."""
    chosen = {"max_segment_bytes": SMALL_SEGMENT, **settings}
    async with open_node(
        env or QuietEnv(), files, home, models=models, identity=identity, admins=admins, settings=chosen
    ) as node:
        yield node


def values_of(record: Model) -> tuple[Any, ...]:
    """A record's values, hashable."""
    return tuple(frozenset(v) if isinstance(v, set) else v for v in record.to_dict().values())


async def shown(models: Iterable[type[Model]] = MODELS) -> Shown:
    """Everything that the current node shows to its user."""
    return {(m.__name__, record.id): values_of(record) for m in models for record in await m.all()}


@contextmanager
def quick_directory() -> Iterator[Path]:
    """A directory in memory where the system has one, and be in it: homes are opened by the thousand.

    Nor is there a `pyproject.toml` above it, which every opening would read.
    """
    memory = "/dev/shm"  # Linux
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder, chdir(folder):
        yield Path(folder)


def forget_view(home: Path) -> None:
    """Delete the view of a home that is closed."""
    for name in VIEW:
        (home / name).unlink(missing_ok=True)


@dataclass
class Part:
    """What is written as a whole or not at all: the records it changes, and when it was acknowledged."""

    places: frozenset[Place]
    acknowledged: int | None = None  # calls that the disk had done by then


@dataclass
class Step:
    """Parts that may be under way at the same time, and what a node shows without and with all of them.

    `sums` names counters to which several parts add different powers of two.
    """

    before: Shown
    after: Shown
    parts: list[Part]
    sums: frozenset[Place] = frozenset()


@dataclass
class Story:
    """What a node wrote to a disk, step by step."""

    disk: RecordingFiles
    home: Path
    shelf: Path  # where copies of the view are kept
    steps: list[Step] = field(default_factory=list)
    views: list[tuple[int, Path]] = field(default_factory=list)  # copies, and how many calls the disk had done
    now: Shown = field(default_factory=dict)

    async def step(self, work: Awaitable[object], *parts: Iterable[Place], sums: Iterable[Place] = ()) -> None:
        """Do one thing, which comes in these parts; in one, of whatever it changes, if none are given."""
        made = [Part(frozenset(places)) for places in parts]
        await work
        await self.acknowledge(made, sums)

    async def acknowledge(self, made: list[Part], sums: Iterable[Place] = ()) -> None:
        done = len(self.disk.ops)
        after = await shown()
        changed = {place for place in {*self.now, *after} if self.now.get(place) != after.get(place)}
        made = made or [Part(frozenset(changed))]
        assert changed <= {place for part in made for place in part.places} | set(sums)
        for part in made:
            part.acknowledged = done if part.acknowledged is None else part.acknowledged
        self.steps.append(Step(self.now, after, made, frozenset(sums)))
        self.now = after

    async def at_once(
        self, *works: tuple[Callable[[], Awaitable[object]], Iterable[Place]], sums: Iterable[Place] = ()
    ) -> None:
        """Let several tasks write at the same time, each a part of its own."""
        parts = [Part(frozenset(places)) for _, places in works]

        async def run(work: Callable[[], Awaitable[object]], part: Part) -> None:
            await work()
            part.acknowledged = len(self.disk.ops)

        async with trio.open_nursery() as nursery:
            for (work, _), part in zip(works, parts, strict=True):
                nursery.start_soon(run, work, part)
        await self.acknowledge(parts, sums)

    def keep_view(self) -> None:
        """Copy the view as it stands in its files, which is what the last query or flush left."""
        copy = self.shelf / str(len(self.views))
        copy.mkdir(parents=True)
        for name in VIEW[:2]:
            if (self.home / name).exists():
                shutil.copyfile(self.home / name, copy / name)
        self.views.append((len(self.disk.ops), copy))

    def check(self, found: Shown, done: int) -> None:
        """Check what a node shows whose disk lost its power behind so many calls."""
        begun = next((n for n, step in enumerate(self.steps) if not _is_over(step, done)), len(self.steps))
        if begun == len(self.steps):
            assert found == self.now
            return
        step = self.steps[begun]
        strangers = {p for p in {*found, *step.before} if found.get(p) != step.before.get(p)}
        for part in step.parts:
            there = {p for p in part.places if step.before.get(p) != step.after.get(p)}
            is_written = all(found.get(p) == step.after.get(p) for p in there)
            is_absent = all(found.get(p) == step.before.get(p) for p in there)
            assert is_written or is_absent, f"a part of {sorted(there)} is there"
            if part.acknowledged is not None and part.acknowledged <= done:
                assert is_written, f"{sorted(there)} is not there"
            strangers -= there
        for place in step.sums & strangers:
            base, total, sum = (int(one[place][-1]) if place in one else 0 for one in (step.before, step.after, found))
            assert (sum - base) & (total - base) == sum - base
            strangers.discard(place)
        assert not strangers, f"nobody wrote {sorted(strangers)}"


def _is_over(step: Step, done: int) -> bool:
    return all(part.acknowledged is not None and part.acknowledged <= done for part in step.parts)


def put_view(home: Path, copy: Path | None) -> None:
    """Let a home have the copy of a view, or none."""
    forget_view(home)
    if copy is not None:
        for name in os.listdir(copy):
            shutil.copyfile(copy / name, home / name)
