"""One model's records on one node: what models read and write through, and what queries read from.

Inside a transaction reads see its rows and writes go into it; outside nobody sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from debros.blocks import cid
from debros.current import context
from debros.errors import FieldError, NotFoundError, StorageError, TransactionError, ValidationError
from debros.identity.did import did_of, key_of, tag
from debros.log.rights import id_owner
from debros.replica.commit import Commit
from debros.replica.draft import Draft
from debros.replica.entries import PROVISIONAL
from debros.replica.replica import Replica
from debros.replica.tables import Row, to_column
from debros.schema import Schema
from debros.shards.history import History, Step
from debros.shards.source import ModelSource

if TYPE_CHECKING:
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


class Collection(ModelSource):
    """The records of one model, on one node, for whichever identity is acting: read by id, written, looked back on."""

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
        if (model.claims.indexes and model.claims.unsettled) or (model.rows.linked and store.effects.unsettled):
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
            items = list(zip(repeat(replica), drafts))
        else:
            items = [(self._shard_of(draft), draft) for draft in drafts]
        if self._store.lifts.guards:
            for replica in {replica for replica, _ in items}:
                self._store.lifts.check(model, replica)
        transaction = self._inside()
        if transaction is not None:
            rows = await transaction.write(model, items)
        else:
            request = Commit(self._store, self.node.device(), model, items, parts=parts, told=told)
            await self.node.measured(self._store.commit(request))
            rows = request.rows
        return rows if None not in rows else [row for row in rows if row is not None]  # type: ignore[return-value]  # as is asked

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
            return shards.held_log(self._store.by_number[number])
        if draft.kind != "create" and shards.spec.key != "id":
            raise NotFoundError(self.schema.name, (draft.id,))
        put = None if key is None or draft.change is None else draft.change.get("put")
        return shards.replica_for(draft.id, None if put is None else put.get(key))

    # -- history -----------------------------------------------------------------------------------------------

    async def _history(self, row: Row) -> History:
        store = self._store
        await store.until_writable()
        store.check_open()
        store.view.hide_provisional()  # history is of what was written
        store.flush()
        replica = store.by_number[row[self.table.log_at]]
        history = History(store, replica, self._model)
        if (present := store.view.row(self._model.rows, replica.n, row[0])) is not None:
            await history.read(present)
        return history

    async def history(self, row: Row) -> list[Step]:
        """Return every entry's effect on the record that a row is of, oldest first."""
        return (await self._history(row)).steps()

    async def blame(self, row: Row) -> dict[str, Step]:
        """Return, by attribute, the step whose value shows."""
        return (await self._history(row)).blame()

    async def conflicts(self, row: Row) -> dict[str, list[Step]]:
        """Return, by attribute, the steps whose concurrent values lost."""
        return await (await self._history(row)).conflicts()

    async def settled(self, row: Row, replicas: int, timeout_s: float | None) -> list[Receipt]:
        """Return receipts for the record's newest entry from so many peers.

        Raises:
            TransactionError: that is not written yet.
            DeadlineError: not within `timeout_s`.
        """
        store = self._store
        store.check_open()
        digest = store.entries.digest_of(row[self.table.e_at])
        if digest == PROVISIONAL:
            raise TransactionError("peers get what a transaction writes behind its end; ask for receipts there")
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
