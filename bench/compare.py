"""Other libraries beside debros, in turns: top 20, get, insert, bulk, durable insert."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from bench.document import Documents, Post
from bench.homes import ids_of, opened
from bench.measure import Action, in_turns, sync
from bench.paths.create import create_each
from bench.paths.get import get
from bench.paths.newest import newest
from bench.peers import Peer, filled
from bench.peers.django_orm import Django
from bench.peers.peewee_orm import Peewee
from bench.peers.raw_sqlite3 import Sqlite3
from bench.peers.sqlalchemy_orm import SqlAlchemy
from bench.setting import Setting

KINDS: Final[tuple[type[Peer], ...]] = (Sqlite3, SqlAlchemy, Peewee, Django)
SIZE: Final = 10_000
DURABLE_SIZE: Final = 1000
COUNTS: Final = {"newest_of": 30, "get": 200, "insert": 200, "insert_many": 1000}  # in one turn
DURABLE: Final = 50


@dataclass
class Compared:
    """What each operation costs a library: microseconds of CPU, and for durable inserts of the clock on the wall."""

    name: str
    costs: dict[str, float] = field(default_factory=dict)


class _Contestant:
    """A library with a table, and what it is given."""

    def __init__(self, name: str, ids: list[str]) -> None:
        self.name = name
        self.documents = Documents(SIZE, seed=9)
        self._ids, self._random = ids, Random(10)
        self._random.shuffle(ids)
        self._next = 0

    def action(self, operation: str, count: int) -> Action:
        """Return an operation of this library."""
        return Action(self.name, count, self.run(operation), lambda: self.given(operation, count))

    def run(self, operation: str) -> Callable[[Any], Awaitable[object]]:
        """Return what does the operation."""
        known: dict[str, Callable[[Any], Awaitable[object]]] = {
            "newest_of": newest, "get": get, "insert": create_each, "insert_many": Post.create_many,
        }  # fmt: skip
        return known[operation]

    def given(self, operation: str, count: int) -> list[Any]:
        """Return what the operation takes; an id is got once, so that nobody has its record in memory."""
        if operation == "newest_of":
            return self._random.sample(self.documents.authors, count)
        if operation == "get":
            self._next += count
            return self._ids[self._next - count : self._next]
        return self.new(count)

    def new(self, count: int) -> list[Any]:
        """Return new documents."""
        return self.documents.many(count)


class _Other(_Contestant):
    def __init__(self, peer: Peer, ids: list[str]) -> None:
        super().__init__(peer.name, ids)
        self._peer = peer

    def run(self, operation: str) -> Callable[[Any], Awaitable[object]]:
        return sync(getattr(self._peer, operation))

    def new(self, count: int) -> list[Any]:
        return self.documents.with_ids(count)


async def compare(setting: Setting) -> list[Compared]:
    """Return all libraries, debros first."""
    made: dict[str, Compared] = {}
    rounds = 4 if setting.quick else 11
    for synchronous in ("NORMAL", "FULL"):
        size = SIZE if synchronous == "NORMAL" else DURABLE_SIZE
        tables = [filled(kind, setting.homes.place(), size, synchronous) for kind in KINDS]
        home = await setting.homes.copy(size)
        async with opened(home):
            ids = await ids_of(size)
        async with opened(home, durability="process" if synchronous == "NORMAL" else "disk"):
            all = [_Contestant("debros", ids), *(_Other(peer, known) for peer, known in tables)]
            counts = COUNTS if synchronous == "NORMAL" else {"insert": DURABLE}
            for operation, count in counts.items():
                costs = await in_turns([one.action(operation, count) for one in all], rounds)
                for name, cost in costs.items():
                    of = made.setdefault(name, Compared(name)).costs
                    if synchronous == "NORMAL":
                        of[operation] = cost.us
                    else:
                        of["durable"], of["durable_wall"] = cost.us, cost.wall_us
        for peer, _ in tables:
            peer.close()
    return list(made.values())
