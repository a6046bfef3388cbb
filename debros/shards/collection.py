"""One model's records on one node: what models read and write through, and what queries read from.

Inside a transaction reads see its rows and writes go into it; outside nobody sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, TypeVarTuple

from trio import move_on_after

from debros.blocks import cid
from debros.current import context
from debros.errors import DeadlineError, FieldError, NotFoundError, StorageError, ValidationError
from debros.identity.did import did_of, key_of, tag
from debros.log.rights import id_owner
from debros.replica.commit import Commit, Item
from debros.replica.draft import Draft
from debros.replica.effects import Place
from debros.replica.reading import QUICK_S, QUICK_SUMMARY_S, in_order
from debros.replica.replica import Replica
from debros.replica.store import Model
from debros.replica.tables import Row, to_column
from debros.replica.watching import Watch
from debros.schema import Schema
from debros.shards.history import History, Step
from debros.shards.shards import Shards
from debros.shards.spans import Keys, Reach

if TYPE_CHECKING:
    from debros.node import Debros
    from debros.query.cache import Caches
    from debros.query.ports import Apart
    from debros.replica.transaction import Transaction
    from debros.sync.receipts import Receipt

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the log knows about a row beside its columns."""

    created_by: str  # DID
    owner: str | None  # DID of who alone may write it
    address: str  # of the log
    cid: str  # of the newest entry


class Collection:
    """The records of one model, on one node, for whichever identity is acting."""

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
        one = self.schema.scope == "global" and spec is None
        self._shared = node.replica_of(self.schema, b"") if one else None

    def _replica(self) -> Replica:
        """Return the log that the acting identity's records of a model that is not sharded are in."""
        return self._shared or self.node.replica_of(self.schema, self.node.device().user)

    def _inside(self) -> Transaction | None:
        transaction = context().transaction
        return transaction if transaction is not None and transaction.belongs_to(self._store) else None

    def damage(self, error: Exception) -> StorageError:
        """Return the error for a value in the view that cannot be; the next opening makes the view anew."""
        return self._store.view.damage(error)

    def call(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call a function in the thread that the node lives in, from whichever this is: records are looked at in any.

        Raises:
            ClosedError: the node is closed.
        """
        return self._store.view.thread.call(function, *args)

    # -- rows ------------------------------------------------------------------------------------------------

    def row(self, id: str) -> Row | None:
        """Return the present row in any state, hidden ones too; from memory or one lookup, never waiting."""
        store = self._store
        if store.closed:
            store.check_open()
        model = self._model
        if model.claims.unsettled or (model.rows.linked and store.effects.unsettled):
            self._settle()
        if self.shards is not None:
            return self._row_in_shards(id)
        log = (self._shared or self._replica()).n
        transaction = context().transaction
        if transaction is not None and transaction.belongs_to(store):
            return transaction.row(model, log, id)
        if store.view.is_showing:
            store.view.hide_provisional()
        return store.view.row(model.rows, log, id)

    def _row_in_shards(self, id: str) -> Row | None:
        """Return the row of a sharded model that is meant by an id, wherever it lies."""
        store, rows, twins = self._store, self._model.rows, self._model.twins
        assert twins is not None, "a sharded model has them"
        if twins.unsettled:
            self._settle()
        transaction = self._inside()
        inside = {} if transaction is None else transaction.rows.get(self.schema.name, {})
        if transaction is None and store.view.is_showing:
            store.view.hide_provisional()
        is_plain = transaction is None or not transaction.rows
        if transaction is not None and rows.linked:
            transaction.show()
        if is_plain:
            for log in twins.logs:
                row = rows.pending.get((log, id)) or rows.cache.get((log, id))
                if row is not None and not row[self.table.hidden_at]:  # of one id at most one shows
                    return row
        found = {row[self.table.log_at]: row for row in twins.all_of(id)}
        found |= {log: row for (log, other), row in inside.items() if other == id}
        best = twins.best(list(found.values()))
        if best is not None and is_plain and (place := (best[self.table.log_at], id)) not in rows.pending:
            store.view.remember(rows, place, best)
            twins.logs.add(place[0])
        return best

    def _settle(self) -> None:
        if not self._store.view.is_showing:  # inside a transaction nothing is pending
            self._store.flush()

    def rows(self, ids: Sequence[str]) -> list[Row | None]:
        """Return the present rows in the order asked."""
        return [self.row(id) for id in ids]

    async def commit(self, drafts: Sequence[Draft], *, parts: bool = False, told: bool = True) -> list[Row]:
        """Write drafts, one for each document, and return the merged rows; durable unless inside a transaction.

        Args:
            drafts: what to write.
            parts: whether several entries may be written, as the size limits need.
            told: whether the rows are asked for; else none need be returned.

        Raises:
            UniqueError, NotFoundError, ConflictError, RestrictedError, PermissionDeniedError, TooLargeError: and
                nothing is written.
        """
        model = self._model
        if self.shards is None:
            replica = self._replica()
            items = [Item(replica, model, draft) for draft in drafts]
        else:
            items = [Item(self._shard_of(draft), model, draft) for draft in drafts]
        if self._store.lifts.guards:
            for replica in {item.replica for item in items}:
                self._store.lifts.check(model, replica)
        transaction = self._inside()
        if transaction is not None:
            rows = await transaction.write(items)
        else:
            request = Commit(self._store, self.node.device(), items, parts=parts, told=told)
            await self.node.measured(self._store.commit(request))
            rows = request.rows
        return [row for row in rows if row is not None]

    def _shard_of(self, draft: Draft) -> Replica:
        """Return the log of the shard that a draft is for: the one function that routes every write."""
        shards, table = self.shards, self.table
        assert shards is not None, "asked of sharded models only"
        key = shards.key_wire
        if draft.base is None and draft.kind != "create":
            draft.base = self.row(draft.id)
        if draft.base is not None:
            number = draft.base[table.log_at]
            if key is not None and draft.put is not None and key in draft.put:
                assert shards.key_at is not None, "a key that is a field has its place in a row"
                if to_column(shards.codec, draft.put[key]) != draft.base[shards.key_at]:
                    raise fixed_key(self.schema, draft)
            return self._store.by_number[number]
        if draft.kind != "create" and shards.spec.key != "id":
            raise NotFoundError(self.schema.name, (draft.id,))
        put = None if key is None or draft.change is None else draft.change.get("put")
        return shards.replica_for(draft.id, None if put is None else put.get(key))

    # -- queries -----------------------------------------------------------------------------------------------

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
        store.check_open()
        transaction = None if context().transaction is None else self._inside()
        now = store.reader.now
        began = now()
        if store.taken is not None:
            await store.until_writable()
        is_sorted = False
        if transaction is not None:
            transaction.show()
            rows = await store.reader.read_inside(sql, bindings)
        else:
            if store.view.is_showing:
                store.view.hide_provisional()
            store.flush()
            try:
                if apart is not None and apart.is_summary:
                    found = self._summed(apart, began + QUICK_SUMMARY_S)
                else:
                    found = store.reader.quick(sql, bindings, began + QUICK_S)
                is_sorted = found is None  # by the thread
                rows = await self._long(sql, bindings, apart, by_id) if found is None else found
            except StorageError as error:
                if self.shards is not None:
                    self.shards.refuse_gone(error)
                raise
        if by_id and not is_sorted:
            in_order(rows)
        self.node.slow_queries.note(self.schema.name, sql, now() - began, len(rows))
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
        if (
            store.effects.unsettled or store.cut or store.lifts.changed or store.layouts.relaid
        ):  # rows are about to turn
            store.flush()
        opened = store.models
        return tuple([opened[name].rows.revision for name in models])

    def version(self) -> int | None:
        """Return what changes with whatever is written to any model, and where migrations made rows anew beside the program.

        `None` inside a transaction. Both numbers only grow.
        """
        store = self._store
        store.check_open()
        if context().transaction is not None and self._inside() is not None:
            return None
        return store.entries.next_e + store.lifts.turns

    @property
    def cache(self) -> Caches:
        """The node's caches of results."""
        return self.node.cache

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
        if model.claims.unsettled or (model.rows.linked and store.effects.unsettled):
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
        return self.node.events.cursor()

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

    # -- history -----------------------------------------------------------------------------------------------

    def _history(self, row: Row) -> History | None:
        store = self._store
        store.check_open()
        store.view.hide_provisional()  # history is of what was written
        store.flush()
        replica = store.by_number[row[self.table.log_at]]
        present = store.view.row(self._model.rows, replica.n, row[0])
        return None if present is None else History(store, replica, self._model, present)

    async def history(self, row: Row) -> list[Step]:
        """Return every entry's effect on the record that a row is of, oldest first."""
        found = self._history(row)
        return [] if found is None else found.steps()

    async def blame(self, row: Row) -> dict[str, Step]:
        """Return, by attribute, the step whose value shows."""
        found = self._history(row)
        return {} if found is None else found.blame()

    async def conflicts(self, row: Row) -> dict[str, list[Step]]:
        """Return, by attribute, the steps whose concurrent values lost."""
        found = self._history(row)
        return {} if found is None else found.conflicts()

    async def settled(self, row: Row, replicas: int, timeout_s: float | None) -> list[Receipt]:
        """Return receipts for the record's newest entry from so many peers.

        Raises:
            DeadlineError: not within `timeout_s`.
        """
        store = self._store
        store.check_open()
        digest = store.entries.digest_of(row[self.table.e_at])
        return await self.node.met.settled(store, row[self.table.log_at], digest, replicas, timeout_s)

    def restricted_by(self, row: Row) -> str | None:
        """Return a relation by which visible records hold on to this one, with `on_delete="restrict"`."""
        effects, model = self._store.effects, self._model
        if not effects.has_restrict(model):
            return None
        self.read("SELECT 1", ())  # so that what is pending, or the transaction's, is in the file
        return effects.restricted_by(model, row[self.table.log_at], row[0])

    # -- surroundings --------------------------------------------------------------------------------------------

    def now_us(self) -> int:
        """Return the node's wall clock in microseconds since 1970."""
        return self._store.env.now_us()

    def random_bytes(self, n: int) -> bytes:
        """Return bytes fit for ids."""
        return self._store.env.random_bytes(n)

    def owner_suffix(self) -> str:
        """Return what a new id must end in for the acting identity: nothing, `~<tag>` or `~admin`."""
        if self.schema.scope == "user" or self.schema.write == "anyone":
            return ""
        return "~admin" if self.schema.write == "admins" else "~" + tag(self.node.device().user)

    def tag_of(self, did: str) -> str | None:
        """Return the owner tag of a user; `None` for what is no DID."""
        try:
            return tag(key_of(did))
        except ValueError:
            return None

    def meta(self, row: Row) -> Facts:
        """Return what the log knows about a row, a whole one."""
        store, table = self._store, self.table
        replica = store.by_number[row[table.log_at]]
        entry = store.entries.digest_of(row[table.e_at])
        creator = did_of(store.keys.key(row[table.by_at]))
        return Facts(creator, self.owner(row), replica.manifest.address, cid.to_text(entry))

    def owner(self, row: Row) -> str | None:
        """Return the DID of who alone may write a row."""
        store = self._store
        if self.schema.scope == "user":
            return did_of(store.by_number[row[self.table.log_at]].manifest.admins[0])
        owned = id_owner(row[0])
        return None if owned is None or owned == "admin" else store.keys.did_of_tag(owned)


def fixed_key(schema: Schema, draft: Draft) -> ValidationError:
    """Return the error for a change of a record's shard key."""
    key = "" if schema.sharding is None else schema.sharding.key
    cure = (
        "is the shard key, fixed by the first save; save a `copy()` of the record with another value, and delete this"
    )
    value = None if draft.put is None else draft.put.get(schema.by_name[key].wire)
    return ValidationError(schema.name, (FieldError(key, value, "shard_key", cure),))
