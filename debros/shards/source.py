"""One model's rows on one node, as queries ask for them: `debros.query.ports.Source`.

Inside a transaction a query sees its rows; outside nobody sees them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from trio import move_on_after

from debros.blocks import cid
from debros.current import context
from debros.errors import DeadlineError, StorageError
from debros.identity.did import did_of, key_of
from debros.replica.effects import Place
from debros.replica.reading import QUICK_S, QUICK_SUMMARY_S, in_order
from debros.replica.replica import Replica
from debros.replica.store import Model
from debros.replica.tables import Row
from debros.replica.watching import Watch
from debros.shards.shards import Shards
from debros.shards.spans import Keys, Reach

if TYPE_CHECKING:
    from debros.node import Debros
    from debros.query.cache import Caches
    from debros.query.ports import Apart
    from debros.replica.transaction import Transaction


class ModelSource:
    """The rows of one model, on one node, as the acting identity sees them."""

    def __init__(self, node: Debros, model: Model) -> None:
        self.node = node
        self.schema = model.table.schema
        self.table = model.table
        self._model = model
        self._store = node.store
        # rows that were read, for models whose content has a rule
        self.reads = node.pins.uses.reads_of(self.schema.name)
        spec = self.schema.sharding
        self.shards = None if spec is None else Shards(node, model, spec)
        self.is_whole = self.schema.scope == "global" and spec is None  # all records are everybody's, in one log
        self._shared = node.replica_of(self.schema, b"") if self.is_whole else None
        self.cache: Caches = node.cache
        self._slow = node.slow_queries

    def _replica(self) -> Replica:
        """Return the log that the acting identity's records of a model that is not sharded are in."""
        return self._shared or self.node.replica_of(self.schema, self.node.device().user)

    def _inside(self) -> Transaction | None:
        transaction = context().transaction
        return transaction if transaction is not None and transaction.belongs_to(self._store) else None

    def read(self, sql: str, bindings: Sequence[object]) -> list[tuple[Any, ...]]:
        """Run one SELECT; pending rows are flushed first. Inside a transaction it sees the transaction's writes."""
        store = self._store
        store.check_open()
        transaction = self._inside()
        if transaction is not None:
            transaction.show()
        elif store.view.is_showing:
            store.view.hide_provisional()
        if transaction is None:
            store.flush()
        return store.view.read(sql, bindings)

    @property
    def is_spread(self) -> bool:
        """Whether the model's rows lie in several files."""
        return bool(self._model.rows.arms)

    async def fetch(
        self, sql: str, bindings: Sequence[object], apart: Apart | None = None, *, by_id: bool = False
    ) -> list[tuple[Any, ...]]:
        """Run one SELECT like `read`; one that takes long goes on beside the loop, and can be cancelled."""
        store = self._store
        if store.is_closing or store.broken:
            store.check_open()
        reader = store.reader
        began = reader.now()
        if store.taken is not None:
            await store.until_writable()
        is_sorted = False
        if context().transaction is not None and (transaction := self._inside()) is not None:
            transaction.show()
            rows = await reader.read_inside(sql, bindings)
        else:
            if store.view.is_showing:
                store.view.hide_provisional()
            store.flush()
            try:
                if apart is not None and apart.is_summary:
                    found = self._summed(apart, began + QUICK_SUMMARY_S)
                else:
                    found = reader.quick(sql, bindings, began + QUICK_S)
                is_sorted = found is None  # by the thread
                rows = await self._long(sql, bindings, apart, by_id) if found is None else found
            except StorageError as error:
                if self.shards is not None:
                    self.shards.refuse_gone(error)
                raise
        if by_id and not is_sorted:
            in_order(rows)
        slow, seconds = self._slow, reader.now() - began
        slow.times.observe(seconds)
        if seconds >= slow.threshold_s:
            slow.note(self.schema.name, sql, seconds, len(rows))
        return rows

    async def _long(
        self, sql: str, bindings: Sequence[object], apart: Apart | None, by_id: bool
    ) -> list[tuple[Any, ...]]:
        longest_s, reader = self.node.config.query_timeout_s, self._store.reader
        with move_on_after(longest_s):
            if apart is None:
                return await reader.beside(sql, bindings, by_id=by_id)
            return apart.join(await reader.together(partial(self._parts, apart), self.node.config.shard_threads))
        raise DeadlineError(
            f"a query of {self.schema.name} took more than query_timeout_s={longest_s:g}; an index or a limit may help:"
            " `explain()` says what it does"
        )

    def _summed(self, apart: Apart, until: float) -> list[tuple[Any, ...]] | None:
        """Ask one file after the other on the loop; `None` when the time is up."""
        answers: list[list[tuple[Any, ...]]] = []
        for sql, bindings in self._parts(apart):
            found = self._store.reader.quick(sql, bindings, until)
            if found is None:
                return None
            answers.append(found)
        return apart.join(answers)

    def _parts(self, apart: Apart) -> list[tuple[str, Sequence[object]]]:
        """Return what to ask of each file that rows lie in."""
        schemas = ("main", *(arm.schema for arm in self._model.rows.arms.values()))
        return [(apart.of(schema), apart.bindings) for schema in schemas]

    def revision(self, models: Sequence[str]) -> tuple[int, ...] | None:
        """Return what changes whenever rows of these models may have changed; `None` inside a transaction.

        Raises:
            ClosedError: the node is closed.
        """
        store = self._store
        store.check_open()
        if context().transaction is not None and self._inside() is not None:
            return None
        are_turning = store.effects.unsettled or store.cut or store.lifts.changed or store.layouts.relaid
        if are_turning:  # rows that are in the file already
            store.flush()
        opened = store.models
        return tuple([opened[name].rows.revision for name in models])

    def version(self) -> int | None:
        """Return what changes with whatever is written to any model, and where migrations made rows anew beside the program.

        `None` inside a transaction. Both numbers only grow.
        """
        store = self._store
        if store.is_closing or store.broken:
            store.check_open()
        if context().transaction is not None and self._inside() is not None:
            return None
        return store.entries.next_e + store.lifts.turns

    def read_alone(self, sql: str, bindings: Sequence[object]) -> list[tuple[Any, ...]]:
        """Run a SELECT that looks at no table: whatever waits to be written may go on waiting."""
        self._store.check_open()
        return self._store.view.read(sql, bindings)

    def whole(self, row: Row) -> Row:
        """Return all of a row that was read in brief, as it was then; any other one as it is.

        One change made the row, or its state says when it was created and changed last; what the entries say of it does not
        change. Its number alone is that of the present row.
        """
        table, store = self.table, self._store
        if len(row) != table.brief_width:
            return row
        present = self.row_at(row[table.log_at], row[0])
        if present is not None and not present[table.hidden_at] and table.brief(present) == row:
            return present
        doc = 0 if present is None else present[table.doc_at]
        t, ce, ct = self._model.states.times(row, store.entries.by_number(row[table.e_at]).clock)
        by = store.keys.number(store.entries.by_number(ce).user)
        return self._model.projection.finished([*row, doc, 0, t, ce, ct, by])

    def row_at(self, log: int, id: str) -> Row | None:
        """Return the row of a document in a log as everybody outside transactions sees it, hidden ones too."""
        store, model = self._store, self._model
        if store.view.is_showing:
            store.view.hide_provisional()
        if (model.claims.indexes and model.claims.unsettled) or (model.rows.linked and store.effects.unsettled):
            store.flush()
        return store.view.row(model.rows, log, id)

    def is_inside(self) -> bool:
        """Whether a transaction of this node is running in the task."""
        return context().transaction is not None and self._inside() is not None

    def watch(
        self, logs: frozenset[int] | None, equal: tuple[int, frozenset[Any]] | None, depends: frozenset[str]
    ) -> Watch:
        """Begin to collect the places of rows that change; `unwatch` ends it."""
        return self.node.watchers.watch(self.schema.name, logs, equal, depends)

    def cursor(self) -> str:
        """Return the cursor behind all that there is now, in this node's log."""
        return self.node.events.cursor(self.schema.name)

    def past(self, since: str) -> list[tuple[Place, Row | None]]:
        """Return the documents that changed behind a cursor, and their rows as of it, without `on_delete` effects."""
        self._store.check_open()
        return self.node.events.past(self.schema.name, since)

    @property
    def has_effects(self) -> bool:
        """Whether a record's deletion may hide or change records of this model."""
        return bool(self.schema.effect_keys())

    def unwatch(self, watch: Watch) -> None:
        """End a watch."""
        self.node.watchers.end(watch)

    def logs(self, users: tuple[str, ...] | Literal["all"] | None) -> tuple[int, ...] | None:
        """Numbers of the logs a query may read; `None`: all there are."""
        if self.schema.scope == "global" or users == "all":
            return None
        if users is None:
            return (self._replica().n,)
        return tuple(self.node.log_of(self.schema, key_of(did)) for did in users)

    def acting_did(self) -> str:
        """Return the DID of the acting identity."""
        return did_of(self.node.device().user)

    def has_index(self, name: str) -> bool:
        """Whether an index that the model declares is there already."""
        return not any(build.index.name == name for build in self._store.building)

    def user_number(self, did: str) -> int:
        """Return the user's number in `_by`, -1 for one never seen here."""
        number = self._store.keys.find(key_of(did))
        return -1 if number is None else number

    def user_did(self, number: int) -> str:
        """Return the DID of a number in `_by`."""
        return did_of(self._store.keys.key(number))

    @property
    def is_partial(self) -> bool:
        """Whether some of the model's shards are not held here."""
        return self.shards is not None and self.shards.held is not None

    def reach(self, keys: Keys) -> Reach:
        """Return what of the model concerns a query for these keys; of one that is not sharded, all."""
        return Reach((0,), None) if self.shards is None else self.shards.reach(keys)

    def heads(self, users: tuple[str, ...] | Literal["all"] | None, reach: Reach) -> dict[str, tuple[str, ...]]:
        """Return the head CIDs of each log that a query read, by its address."""
        if self._shared is not None:
            replicas = [self._shared]
        elif self.shards is not None:
            replicas = [self.shards.replica(n) for n in reach.shards]
        elif (logs := self.logs(users)) is not None:
            replicas = [self._store.by_number[log] for log in logs if log]
        else:
            self._store.flush()
            return self._store.by_number.heads_of_users()
        return {r.manifest.address: tuple(cid.to_text(head) for head in sorted(r.heads)) for r in replicas}

    def logs_up_to(self, number: int) -> bytes:
        """Return what tells which logs have the numbers up to this one; empty if there is none of this number."""
        return self._store.by_number.told_up_to(number)

    def lifted(self, users: tuple[str, ...] | Literal["all"] | None, fields: Collection[str]) -> Sequence[str]:
        """Return what tells the migrations by which values of these fields, `""` for any, read otherwise than they were written."""
        store = self._store
        if store.lifts.changed and store.taken is None and not self.is_inside():
            store.flush()  # where the view is taken, reading the rows waits for it, and flushes
        return store.lifts.told(self._model, self.logs(users), fields) if self._model.projection.lifts else ()

    def random_bytes(self, n: int) -> bytes:
        """Return bytes fit for ids."""
        return self._store.env.random_bytes(n)
