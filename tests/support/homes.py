"""One home at the level of the replica: savers, transactions and readers, as the rooms above use them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar, TypeVarTuple

import trio

from debros.blocks.files import Files, MemoryFiles
from debros.identity.keys import Device, Identity
from debros.log.manifest import Manifest, manifest_of_user
from debros.replica.commit import Commit, Item
from debros.replica.draft import Draft
from debros.replica.opening import Opened
from debros.replica.replica import Replica
from debros.replica.store import Model
from debros.replica.tables import Row
from debros.replica.transaction import Transaction
from debros.schema import Schema
from tests.support.entries import OPEN
from tests.support.stores import FakeEnv, meaning, opened, post, small

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class GatedEnv(FakeEnv):
    """Threads that begin at once and, while the gate is shut, do not end. Not to be cancelled, as in the real one."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0
        self.gate: trio.Event | None = None

    async def offload(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        self.begun += 1
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
            if self.gate is not None:
                await self.gate.wait()
        return function(*args)

    def shut(self) -> None:
        self.gate = trio.Event()

    def open(self) -> None:
        assert self.gate is not None
        self.gate.set()
        self.gate = None


MINE = "Mine"  # a model of the user's own log


def home_models() -> list[Schema]:
    return [post(), small("Event", "global", "events", "anyone"), post("user", MINE)]


class Home:
    """An open store with two users of it, `U` first."""

    def __init__(
        self, *, files: Files | None = None, view: str = ":memory:", durable: bool = True, flush_rows: int = 500,
        row_cache: int = 10_000, manifest: Manifest = OPEN, own: bool = True, models: list[Schema] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:  # fmt: skip
        self.files = files or MemoryFiles()
        self.env = GatedEnv()
        self.device = Identity.from_seed(bytes([4]) * 32).device(bytes(16))
        self.other = Identity.from_seed(bytes([7]) * 32).device(bytes(16))
        keys = frozenset({self.device.public, self.other.public}) if own else frozenset[bytes]()
        self.opened: Opened = opened(
            models or home_models(), files=self.files, view=view, env=self.env, own_keys=keys, durable=durable,
            flush_rows=flush_rows, row_cache=row_cache, progress=progress,
        )  # fmt: skip
        self.store = self.opened.store
        self.replica = self.store.replica(manifest)
        self.mine = self.store.replica(manifest_of_user("home", self.device.user))

    def model(self, name: str = "Post") -> Model:
        return self.store.models[name]

    def replica_of(self, name: str) -> Replica:
        return self.mine if name == MINE else self.replica

    def item(self, draft: Draft, name: str = "Post") -> Item:
        return self.replica_of(name), draft

    async def save(
        self, *drafts: Draft, name: str = "Post", device: Device | None = None, parts: bool = False
    ) -> list[Row | None]:
        items = [self.item(draft, name) for draft in drafts]
        commit = Commit(self.store, device or self.device, self.model(name), items, parts=parts)
        await self.store.commit(commit)
        return commit.rows

    def row(self, id: str, name: str = "Post") -> Row | None:
        """What a reader outside of any transaction sees."""
        self.store.view.hide_provisional()
        return self.store.view.row(self.model(name).rows, self.replica_of(name).n, id)

    def values(self, id: str, name: str = "Post") -> dict[str, Any] | None:
        """The visible fields of a record, `None` if it does not show."""
        return self.values_of(self.row(id, name), name)

    def values_of(self, row: Row | None, name: str = "Post") -> dict[str, Any] | None:
        table = self.model(name).table
        return None if row is None or row[table.hidden_at] else dict(zip(table.names, row, strict=False))

    def ids(self, name: str = "Post") -> list[str]:
        """The ids that a query outside of any transaction finds."""
        self.store.view.hide_provisional()
        self.store.flush()
        return self._ids(name)

    def ids_inside(self, transaction: Transaction, name: str = "Post") -> list[str]:
        """The ids that a query inside a transaction finds."""
        transaction.show()
        return self._ids(name)

    def _ids(self, name: str) -> list[str]:
        found = self.store.view.read(f'SELECT "id" FROM "m_{name}" WHERE "_hidden" = 0 ORDER BY "id"', ())
        return [id for (id,) in found]

    def state(self) -> dict[str, Any]:
        """Everything that a failed write must leave as it was."""
        self.store.view.hide_provisional()
        store = self.store
        return {
            "logs": [meaning(store, replica) for replica in (self.replica, self.mine)],
            "tips": [
                (tip.prev, tip.seq)
                for replica in (self.replica, self.mine)
                for tip in (replica.tip(self.device.public), replica.tip(self.other.public))
            ],
            "entries": store.entries.next_e,
            "applied": dict(store.ends),
            "end": store.log.end,
        }

    @asynccontextmanager
    async def transaction(self, device: Device | None = None) -> AsyncIterator[Transaction]:
        """As `debros.opening` opens one."""
        async with self.store.writer.exclusive():
            self.store.flush()
            transaction = Transaction(self.store, device or self.device)
            try:
                yield transaction
                await transaction.commit()
            except BaseException:
                transaction.abandon()
                raise

    async def write(self, transaction: Transaction, *drafts: Draft, name: str = "Post") -> Sequence[Row | None]:
        return await transaction.write(self.model(name), [self.item(draft, name) for draft in drafts])

    def reopened(self, **more: Any) -> Home:
        """The home after the death of the process: what is in the log is all there is."""
        return Home(files=self.files, **more)


def new(id: str, *, fresh: bool = False, **put: Any) -> Draft:
    """A create with all fields, so that one change makes the row whole."""
    values: dict[str, Any] = {
        "title": "t", "body": None, "n": 1, "score": None, "flag": None, "price": None, "about": {}, "slug": None,
        "cat": None, "lang": "en",
    }  # fmt: skip
    likes, tags, note = put.pop("likes", 0), put.pop("tags", []), put.pop("note", None)
    return Draft(
        "create", id, put=values | put, inc={"likes": likes} if likes else None, add={"tags": tags} if tags else None,
        keep={"note": note}, fresh=fresh,
    )  # fmt: skip


def change(id: str, **put: Any) -> Draft:
    """An update of registers, and of a counter by `likes`."""
    likes = put.pop("likes", 0)
    return Draft("update", id, put=put or None, inc={"likes": likes} if likes else None)
