"""One model's records on one node: what models read and write through, and what queries read from.

Inside a transaction reads see its rows and writes go into it; outside nobody sees them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from trio import current_time

from debros.blocks import cid
from debros.current import context
from debros.identity.did import did_of, key_of, tag
from debros.log.rights import id_owner
from debros.replica.commit import Commit, Item
from debros.replica.draft import Draft
from debros.replica.replica import Replica
from debros.replica.store import Model
from debros.replica.tables import Row
from debros.shards.history import History, Step

if TYPE_CHECKING:
    from debros.node import Debros
    from debros.query.cache import Caches
    from debros.replica.transaction import Transaction


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
        self._shared = node.replica_of(self.schema, b"") if self.schema.scope == "global" else None

    def _replica(self) -> Replica:
        """Return the log that the acting identity's records of this model are in."""
        return self._shared or self.node.replica_of(self.schema, self.node.device().user)

    def _inside(self) -> Transaction | None:
        transaction = context().transaction
        return transaction if transaction is not None and transaction.belongs_to(self._store) else None

    # -- rows ------------------------------------------------------------------------------------------------

    def row(self, id: str) -> Row | None:
        """Return the present row in any state, hidden ones too; from memory or one lookup, never waiting."""
        store = self._store
        if store.closed:
            store.check_open()
        model = self._model
        if model.claims.unsettled or (model.rows.linked and store.effects.unsettled):
            self._settle()
        log = (self._shared or self._replica()).n
        transaction = context().transaction
        if transaction is not None and transaction.belongs_to(store):
            return transaction.row(model, log, id)
        if store.view.is_showing:
            store.view.hide_provisional()
        return store.view.row(model.rows, log, id)

    def _settle(self) -> None:
        if not self._store.view.is_showing:  # inside a transaction nothing is pending
            self._store.flush()

    def rows(self, ids: Sequence[str]) -> list[Row | None]:
        """Return the present rows in the order asked."""
        return [self.row(id) for id in ids]

    async def commit(self, drafts: Sequence[Draft], *, parts: bool = False) -> list[Row]:
        """Write drafts, one for each document, and return the merged rows; durable unless inside a transaction.

        Args:
            drafts: what to write.
            parts: whether several entries may be written, as the size limits need.

        Raises:
            UniqueError, NotFoundError, ConflictError, RestrictedError, PermissionDeniedError, TooLargeError: and
                nothing is written.
        """
        replica, model = self._replica(), self._model
        if self._store.lifts.guards:
            self._store.lifts.check(model, replica)
        items = [Item(replica, model, draft) for draft in drafts]
        transaction = self._inside()
        if transaction is not None:
            rows = transaction.write(items)
        else:
            request = Commit(self._store, self.node.device(), items, parts=parts)
            await self._store.commit(request)
            rows = request.rows
        return [row for row in rows if row is not None]

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

    async def fetch(self, sql: str, bindings: Sequence[object]) -> list[tuple[Any, ...]]:
        """Run one SELECT like `read`; one that takes long goes on beside the loop, and can be cancelled."""
        store = self._store
        store.check_open()
        began = current_time()
        transaction = self._inside()
        if transaction is not None:
            transaction.show()
            rows = await store.reader.read_inside(sql, bindings)
        else:
            if store.view.is_showing:
                store.view.hide_provisional()
            store.flush()
            rows = await store.reader.read(sql, bindings)
        self.node.slow_queries.note(self.schema.name, sql, current_time() - began, len(rows))
        return rows

    def revision(self, models: Sequence[str]) -> tuple[int, ...] | None:
        """Return what changes whenever rows of these models may have changed; `None` inside a transaction.

        Raises:
            ClosedError: the node is closed.
        """
        store = self._store
        store.check_open()
        if context().transaction is not None and self._inside() is not None:
            return None
        if store.effects.unsettled or store.cut:  # rows of other models may be about to turn
            store.flush()
        opened = store.models
        return tuple([opened[name].rows.revision for name in models])

    @property
    def cache(self) -> Caches:
        """The node's caches of results."""
        return self.node.cache

    def logs(self, users: tuple[str, ...] | Literal["all"] | None) -> tuple[int, ...] | None:
        """Numbers of the logs a query may read; `None`: all there are."""
        if self.schema.scope == "global" or users == "all":
            return None
        if users is None:
            return (self._replica().n,)
        return tuple(self.node.replica_of(self.schema, key_of(did)).n for did in users)

    def acting_did(self) -> str:
        """Return the DID of the acting identity."""
        return did_of(self.node.device().user)

    def user_number(self, did: str) -> int:
        """Return the user's number in `_by`, -1 for one never seen here."""
        number = self._store.keys.find(key_of(did))
        return -1 if number is None else number

    def user_did(self, number: int) -> str:
        """Return the DID of a number in `_by`."""
        return did_of(self._store.keys.key(number))

    def heads(self) -> dict[str, tuple[str, ...]]:
        """Return the head CIDs of each log that holds records of this model, by its address."""
        replicas = [self._shared] if self._shared else self._store.by_number.values()
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

    def meta(self, row: Row) -> Facts:
        """Return what the log knows about a row."""
        store, table = self._store, self.table
        replica = store.by_number[row[table.log_at]]
        entry = store.entries.digest_of(row[table.e_at])
        owner: str | None = None
        if self.schema.scope == "user":
            owner = did_of(replica.manifest.admins[0])
        elif (owned := id_owner(row[0])) is not None and owned != "admin":
            owner = store.keys.did_of_tag(owned)
        return Facts(did_of(store.keys.key(row[table.by_at])), owner, replica.manifest.address, cid.to_text(entry))
