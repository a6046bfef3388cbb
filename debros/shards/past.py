"""The logs as they were at a clock: `await Post.as_of(at).where(...)`.

Entries up to the clock, and no others, are folded into a view in memory. A parent's clock is smaller than its child's, so
that set is whole: it is what a node would show that had never met the rest. Entries that came late, by a peer, with an
old clock, belong to it. Logs and users have the numbers that they have in the present.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final, NoReturn
from weakref import WeakValueDictionary

import trio
from cachetools import LRUCache

from debros.blocks import cid
from debros.errors import QueryError
from debros.log.body import parse_body
from debros.log.entry import parse_header
from debros.replica.changes import changes_in
from debros.replica.draft import Draft
from debros.replica.layouts import LAYOUTS
from debros.replica.pacing import Pacing
from debros.replica.replica import Replica
from debros.replica.store import Store
from debros.replica.tables import Row, Table
from debros.replica.view import View
from debros.replica.viewfile import MEMORY, Prepare
from debros.shards.collection import Collection

if TYPE_CHECKING:
    from debros.node import Debros
    from debros.schema import Schema

KEPT: Final = 3  # views of the past; each holds all records in memory
AT_ONCE: Final = 200  # entries that are looked up together
FLUSHED: Final = 500  # entries between two flushes


class PastCollection(Collection):
    """One model's records as they were: to read."""

    async def commit(self, drafts: Sequence[Draft], *, parts: bool = False, told: bool = True) -> list[Row]:
        """Refuse."""
        raise QueryError("a record of the past cannot be saved: get the present one and change that")

    def cursor(self) -> NoReturn:
        """Refuse: nothing changes."""
        raise QueryError("the past does not change: `live()` is for the present")

    def watch(
        self, logs: frozenset[int] | None, equal: tuple[int, frozenset[Any]] | None, depends: frozenset[str]
    ) -> NoReturn:
        """Refuse, likewise."""
        self.cursor()


class PastNode:
    """A node as it was: what models ask of a node, for reading."""

    def __init__(self, node: Debros, store: Store, clock: int) -> None:
        self.present = node
        self.as_of: int | None = clock
        self.env = node.env
        self.config = node.config
        self.cache = node.cache.like()
        self.slow_queries = node.slow_queries
        self.store = store
        self._collections: dict[Schema, Collection] = {}
        for model in store.models.values():
            home = self._collections[model.table.schema] = PastCollection(self, model)  # type: ignore[arg-type]  # it asks no more
            if home.shards is not None and (present := node.collection(home.schema).shards) is not None:
                home.shards.held = present.held

    def __getattr__(self, name: str) -> Any:
        """Whatever has no past is the present's: its identity, its pins, its numbers."""
        return getattr(self.present, name)

    def collection(self, schema: Schema) -> Collection:
        """Return one model's records, as they were."""
        return self._collections.get(schema) or self.present.collection(schema)  # which says what is wrong

    def replica_of(self, schema: Schema, user: bytes) -> Replica:
        """Return the log of a model's records, as it was."""
        return self.store.replica(self.present.replica_of(schema, user).manifest)

    def shard_of(self, schema: Schema, part: str) -> Replica:
        """Return a shard's log, as it was."""
        return self.store.replica(self.manifest_of(schema, part))

    @property
    def met(self) -> NoReturn:
        """Refuse: what others hold is of the present."""
        raise QueryError("a record of the past has no receipts: get the present one")

    def transaction(self) -> AbstractAsyncContextManager[object]:
        """Refuse."""
        raise QueryError("the past cannot be changed")


class Pasts:
    """The views of the past that a node keeps, by their entries."""

    def __init__(self, node: Debros, prepare: Prepare) -> None:
        self._node = node
        self._prepare = prepare
        self._kept: LRUCache[tuple[int, int], PastNode] = LRUCache(KEPT)
        self._by_clock: WeakValueDictionary[int, PastNode] = WeakValueDictionary()
        self._lock = trio.Lock()

    async def at(self, clock: int) -> PastNode:
        """Return the node as it was at a clock."""
        store = self._node.store
        store.check_open()
        async with self._lock:
            await store.until_writable()
            store.flush()
            sql = "SELECT count(*), coalesce(max(t), 0) FROM entries WHERE t <= ?"
            [(count, newest)] = await store.reader.read(sql, (clock,))
            found = self._kept.get((count, newest))
            if found is None:
                found = self._kept[count, newest] = await self._make(clock)
            self._by_clock[clock] = found
            return found

    def ready(self, clock: int) -> PastNode:
        """Return what `at` has made, as long as somebody holds it."""
        return self._by_clock[clock]

    async def _make(self, clock: int) -> PastNode:
        live = self._node.store
        view = View(MEMORY, self._prepare, self._node.config.row_cache)
        view.create()
        store = Store(live.env, live.log, view, durable=False, flush_rows=FLUSHED)
        for n in range(1, live.keys.count + 1):
            store.keys.number(live.keys.key(n))
        for replica in live.by_number.values():
            store.by_number.adopt(replica.n, replica.manifest)
        for model in live.models.values():
            with view.transaction():
                view.make_table(Table(model.table.schema), finished=True)
            store.attach(Table(model.table.schema))
        if LAYOUTS in store.models:
            store.layouts.load()
        store.effects.link()
        store.lifts.begin(live.lifts.plans, ())
        last, pacing = 0, Pacing()
        while entries := live.entries.up_to(clock, last, AT_ONCE):
            for n in range(len(store.by_number) + 1, len(live.by_number) + 1):  # that came meanwhile
                store.by_number.adopt(n, live.by_number[n].manifest)
            for entry in entries:
                last = entry.e
                header = parse_header(live.log.read(entry.header))
                codec, _, block = live.log.read_section(entry.body)
                body = None if codec == cid.RAW else parse_body(block, known=True)  # else encrypted
                admitted = entry._replace(e=store.entries.next_e, void=False)
                acts, among = (None, None) if body is None else (body.acts, len(body.ops))
                store.by_number[entry.log]._admit(admitted, header.parents(), changes_in(body), acts, among)
                if store.is_full():
                    store.flush()
                await pacing.did(1 + (among or 0))
        store.flush()
        return PastNode(self._node, store, clock)
