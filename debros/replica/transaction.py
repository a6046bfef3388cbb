"""Transactions: all or nothing, one entry per log touched, one change per document.

A transaction holds the writer's lock, so on this node it runs alone. Its changes are kept here, merged into
provisional rows that only its own reads see: point reads find them in `rows`, queries in an SQLite transaction that
is never committed. At the end they become signed entries, which are admitted like any other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import ContextVar
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, ParamSpec

import apsw
import trio
from trio.lowlevel import enable_ki_protection

from debros.errors import StorageError, TransactionError, UniqueError
from debros.identity.keys import Device
from debros.log.combine import combine
from debros.log.rights import may_write
from debros.replica.changes import Change
from debros.replica.commit import MANY, Item, encoded, parts_of, present_rows, refuse_restricted
from debros.replica.draft import Draft
from debros.replica.drafting import change_of
from debros.replica.entries import PROVISIONAL
from debros.replica.group import Group
from debros.replica.pacing import TURN, finished
from debros.replica.replica import Replica, Staged, patched, refuse_foreign
from debros.replica.store import Model, Store
from debros.replica.tables import Row

Key = tuple[int, str]  # (log, id)
P = ParamSpec("P")


def once(make: Callable[P, AbstractAsyncContextManager[Transaction]]) -> Callable[P, _Once]:
    """Have what a function makes say so where it is entered twice."""

    @wraps(make)
    def made(*args: P.args, **options: P.kwargs) -> _Once:
        return _Once(make(*args, **options))

    return made


class _Once(AbstractAsyncContextManager["Transaction"]):
    """The block of one transaction."""

    def __init__(self, block: AbstractAsyncContextManager[Transaction]) -> None:
        self._block = block
        self._was_entered = False

    async def __aenter__(self) -> Transaction:
        if self._was_entered:
            raise TransactionError("this transaction was entered before; call `db.transaction()` for each block")
        self._was_entered = True
        return await self._block.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None, /
    ) -> bool | None:
        return await self._block.__aexit__(kind, error, at)

    if not TYPE_CHECKING:  # checkers know what it is

        def __enter__(self):
            raise TransactionError(f"{_ENTERED}; without a loop: `with db.using(db.node.transaction()):`")

        def __exit__(self, *left):
            raise TransactionError(_ENTERED)

        def __await__(self):
            raise TransactionError(_ENTERED)


class _Savepoint:
    """A transaction inside a transaction."""

    def __init__(self, mark: tuple[Any, ...]) -> None:
        self.mark = mark
        self.has_others = False  # whether a task that is not inside wrote meanwhile


_inside: Final[ContextVar[tuple[_Savepoint, ...]]] = ContextVar("debros savepoints", default=())
"""The savepoints that the running task is in."""

_ENTERED: Final = "a transaction is a block: `async with db.transaction():`, which commits at its end, and writes nothing if it raises"


class Transaction:
    """What `async with db.transaction() as tx` gives: `id`, 32 hex digits. Everything else is the framework's."""

    def __init__(self, store: Store, device: Device) -> None:
        self._store = store
        self._device = device
        self._tx_id = store.env.random_bytes(16)
        self.id = self._tx_id.hex()
        self.ended = False
        self.doomed = ""  # why nothing of it may be written any more
        self._savepoints: list[_Savepoint] = []  # those that are open, the innermost last
        self.rows: dict[str, dict[Key, Row]] = {}  # provisional, by model
        self._changes: dict[tuple[int, str, str], dict[str, Any]] = {}  # (log, model, id) -> change
        self._outside: dict[tuple[int, str, str], Row | None] = {}  # what they change: rows as others see them
        self._dirty: dict[str, dict[Key, Row]] = {}  # of `rows`, what queries do not see yet
        self._noted: dict[tuple[str, int, str], Row] = {}  # (model, log, id): what queries see of `rows`
        self._affected: dict[tuple[str, int, str], Row] = {}  # and what `on_delete` makes of these and of others
        self._claimed: dict[tuple[str, Any], Key] = {}  # (model, unique value) -> who claimed it last in here
        self.settled: list[Callable[[], None]] = []  # records take their final rows, right after the commit
        self.after_commit: list[Callable[[], Awaitable[None]]] = []  # after-hooks
        self.on_rollback: list[Callable[[], None]] = []  # records get their unsaved state back
        self.notes: list[tuple[Replica, Change]] = []  # changes of debros's own models that go along
        self._writing: trio.Event | None = None  # set once a write of many is over
        self.weight = 0  # changes that may be folded ahead, once it ends
        self.done = False
        self.error: BaseException | None = None

    @property
    def device(self) -> Device:
        """The key that signs."""
        return self._device

    def belongs_to(self, store: Store) -> bool:
        """Whether this is a transaction of that store; another node's does not concern it."""
        return self._store is store

    def check(self) -> None:
        """Raise `TransactionError` once the block has ended."""
        if self.ended:
            raise TransactionError("this transaction has ended; a task that it started still writes to it")

    # -- inside the block --------------------------------------------------------------------------------------

    def row(self, model: Model, log: int, id: str) -> Row | None:
        """Return a document's row as the block sees it: its writes, and their `on_delete` effects on others."""
        if model.rows.linked and self.rows:
            self.show()
            if (affected := self._affected.get((model.table.schema.name, log, id))) is not None:
                return affected
        return self._written(model, log, id)

    def _written(self, model: Model, log: int, id: str) -> Row | None:
        changed = self.rows.get(model.table.schema.name)
        row = None if changed is None else changed.get((log, id))
        return row if row is not None else self._store.view.row(model.rows, log, id)

    @enable_ki_protection
    async def write(self, model: Model, items: Sequence[Item]) -> list[Row | None]:
        """Take drafts of one model into the transaction and return the rows they make; a refused draft takes none of them in.

        Many are taken in turns with other tasks, of which those inside wait until it is over before they write.
        """
        if self._writing is not None:
            await self.until_free()
        self.check()
        for savepoint in self._savepoints:
            savepoint.has_others |= savepoint not in _inside.get()
        if len(items) == 1:  # one alone is refused before it changes anything
            self._write(model, *items[0])
        else:
            self._writing = writing = trio.Event()
            try:
                with self.savepoint():  # in which nobody else writes
                    for start in range(0, len(items), TURN):
                        if start:
                            await trio.lowlevel.checkpoint()
                            self.check()
                        some = items[start : start + TURN]
                        self._recall(model, some)
                        for replica, draft in some:
                            self._write(model, replica, draft)
            finally:
                self._writing = None
                writing.set()
        return [self._written(model, replica.n, draft.id) for replica, draft in items]

    async def until_free(self) -> None:
        """Wait until no task inside is amid a write of many."""
        while self._writing is not None:
            await self._writing.wait()

    def _recall(self, model: Model, items: Sequence[Item]) -> None:
        """Have the rows of many drafts in memory, which `_write` asks for one by one."""
        if len(items) < MANY or self._store.effects.has_restrict(model):  # which looks at the view's file in between
            return
        present_rows(self._store, model, items, keep=True)

    def _write(self, model: Model, replica: Replica, draft: Draft) -> None:
        table, store = model.table, self._store
        name = table.schema.name
        if not may_write(draft.id, self._device.user, replica.manifest):
            raise refuse_foreign(name, draft.id)
        replica.check_right(self._device)
        if draft.kind == "delete" and store.effects.has_restrict(model):
            self.show()
            refuse_restricted(store, replica, model, draft.id)
        before = self._written(model, replica.n, draft.id)
        value = change_of(draft, before, table, model.states)
        if value is None:
            return
        place = (replica.n, name, draft.id)
        held = self._changes.get(place)
        if held is None:
            self._outside[place] = before
        else:
            value = combine(held, value, PROVISIONAL)
        if model.twins is not None and draft.kind in ("create", "restore") and not draft.fresh:
            self._check_id(replica, model, draft.id)
        change = Change(name, table.schema.version, draft.id, value)
        row = self._merged(replica, model, self._outside[place], before, change)
        self._check_unique(replica, model, before, row)
        self._changes[place] = value
        self.rows.setdefault(name, {})[replica.n, draft.id] = row
        self._dirty.setdefault(name, {})[replica.n, draft.id] = row

    def _merged(self, replica: Replica, model: Model, outside: Row | None, before: Row | None, change: Change) -> Row:
        """Return the row that the one change of the block makes of what others see; `before` is what it made so far."""
        table, store = model.table, self._store
        clock, e = replica.clock + 1, store.entries.next_e
        by = store.keys.number(self._device.user)
        if outside is None:
            if before is None:
                model.rows.next_doc += 1
            doc = model.rows.next_doc - 1 if before is None else before[table.doc_at]
            row = model.projection.created(change.id, change.value, doc, replica.n, clock, e, by, change.version)
            if row is not None:
                return row
            document = model.states.empty()
        else:
            doc, by = outside[table.doc_at], outside[table.by_at]
            if (found := patched(store, model, outside, change, clock, e)) is not None:
                return found[0]
            document = model.states.load(outside)
        document.merge(change.value, clock, e, change.version)
        if document.born is not None and document.born[1] == e:
            by = store.keys.number(self._device.user)
        return model.projection.project(change.id, document, doc, replica.n, by)

    def _check_unique(self, replica: Replica, model: Model, before: Row | None, row: Row) -> None:
        claims, name = model.claims, model.table.schema.name
        if not claims.indexes:
            return
        held = set() if before is None else set(claims.keys(before))
        changed = self.rows.get(name, {})
        for key in claims.keys(row):
            if key in held:
                continue
            place = (replica.n, row[0])
            inside = self._claimed.get((name, key))
            if inside is not None and inside != place and inside in changed and key in claims.keys(changed[inside]):
                raise UniqueError(name, claims.fields(key), inside[1])
            holder = claims.holder(key, *place, without=changed)
            if holder is not None:
                raise UniqueError(name, claims.fields(key), holder)
        for key in claims.keys(row):
            self._claimed[name, key] = (replica.n, row[0])

    def _check_id(self, replica: Replica, model: Model, id: str) -> None:
        """Raise `UniqueError` if another shard of the model has a record with this id."""
        table, changed = model.table, self.rows.get(model.table.schema.name, {})
        inside = (row for (log, other), row in changed.items() if other == id and log != replica.n)
        held = model.twins is not None and model.twins.holder(replica.n, id, changed) is not None
        if held or any(not row[table.hidden_at] for row in inside):
            raise UniqueError(table.schema.name, ("id",), id)

    @enable_ki_protection
    def show(self) -> None:
        """Let queries of the block see its rows, until somebody outside reads."""
        if not self.rows:
            return
        view = self._store.view
        if not view.is_showing:
            self._dirty = {name: dict(changed) for name, changed in self.rows.items()}
            self._noted, self._affected = {}, {}
        if not self._dirty:
            return
        view.show_provisional(self._dirty)
        new = []
        for name, changed in self._dirty.items():
            for (log, id), row in changed.items():
                place = (name, log, id)
                # as queries saw it so far: a target that came back in here may have brought it with it
                before = self._affected.pop(place, None) or self._noted.get(place) or self._outside[log, name, id]
                self._noted[place] = row
                new.append((self._store.models[name], row, before))
        self._dirty = {}
        try:
            affected = self._store.effects.preview(new)
        except apsw.Error as error:
            view.hide_provisional()  # the next read shows all of it again
            raise view.failure(error) from error
        for model, row in affected:
            self._affected[model.table.schema.name, row[model.table.log_at], row[0]] = row
        view.mark_shown((model.table.schema.name, row[model.table.log_at], row[0]) for model, row in affected)

    # -- savepoints ----------------------------------------------------------------------------------------------

    def mark(self) -> tuple[Any, ...]:
        """Return the present state, for `back_to`."""
        rows = {name: dict(changed) for name, changed in self.rows.items()}
        counts = len(self.settled), len(self.after_commit), len(self.on_rollback)
        return rows, dict(self._changes), dict(self._claimed), counts

    @contextmanager
    @enable_ki_protection
    def savepoint(self) -> Iterator[None]:
        """A transaction inside this one: a raise takes back what was written since.

        What other tasks wrote meanwhile was taken for written; if it is taken back, so is the transaction, at its end.

        Raises:
            TransactionError: the transaction has ended, or another task's savepoint began inside and is not over.
        """
        self.check()
        own = _Savepoint(self.mark())
        self._savepoints.append(own)
        chosen = _inside.set((*_inside.get(), own))
        try:
            yield
        except BaseException:
            self._end(own)
            self.back_to(own.mark)
            if own.has_others:
                self.doomed = (
                    "a transaction inside was taken back, and with it what another task had written meanwhile, so nothing was "
                    "written; a transaction's tasks take turns with those inside"
                )
            raise
        else:
            self._end(own)
        finally:
            _inside.reset(chosen)

    def _end(self, own: _Savepoint) -> None:
        inner = self._savepoints.pop()
        if inner is not own:
            self._savepoints.append(inner)
            self.doomed = "savepoints of two tasks overlapped, so nothing was written"
            raise TransactionError("savepoints of two tasks overlap; a transaction's tasks take turns with them")

    def back_to(self, mark: tuple[Any, ...]) -> None:
        """Forget what was written since `mark`; records written since get their unsaved state back."""
        if self.ended:
            return
        rows, changes, claimed, (settled, hooks, undo) = mark
        self._store.view.hide_provisional()
        self.rows, self._changes, self._claimed, self._dirty = rows, changes, claimed, {}
        del self.settled[settled:]
        del self.after_commit[hooks:]
        for restore in reversed(self.on_rollback[undo:]):
            restore()
        del self.on_rollback[undo:]

    # -- the end ---------------------------------------------------------------------------------------------------

    @enable_ki_protection
    async def commit(self) -> None:
        """Write what the block did; the caller holds the writer's lock."""
        await self.until_free()
        self._store.view.hide_provisional()
        self.ended = True
        if self.doomed:
            raise TransactionError(self.doomed)
        if not self.notes:  # what a migration notes takes effect in one step
            self.weight = len(self._changes)
        if self._changes or self.notes:
            await self._store.run_exclusively(self)
        failure: Exception | None = None
        with trio.CancelScope(shield=True):  # it is written, so each of them says so
            for n, settle in enumerate(self.settled, 1):
                if self._store.is_closing:  # and answers nobody any more: what they hold is what was written
                    break
                try:
                    settle()
                except Exception as error:  # as where the view is damaged
                    failure = error
                if not n % TURN:
                    await trio.lowlevel.checkpoint()
        if failure is not None:
            raise StorageError(f"written, but it cannot be read back: {failure}") from failure

    @enable_ki_protection
    def abandon(self) -> None:
        """Write nothing; what is written already stays, and the records say so."""
        self._store.view.hide_provisional()
        self.ended = True
        if self.done:
            return
        for restore in reversed(self.on_rollback):
            restore()

    def stage(self, group: Group) -> bool:
        """Build one entry per log touched."""
        return finished(self.steps(group))

    def steps(self, group: Group, *, alone: bool = False) -> Generator[None, None, bool]:
        """Do what `stage` does in steps; a transaction is `alone` in any case."""
        store = self._store
        plans: dict[int, Staged] = {}
        for n, ((log, name, id), value) in enumerate(self._changes.items(), 1):
            if not n % TURN:
                yield
            replica = store.by_number[log]
            version = store.models[name].table.schema.version
            plan = plans.setdefault(log, Staged(replica, self._device))
            before = store.view.row(store.models[name].rows, log, id)
            change = Change(name, version, id, value, before is None)
            if alone:
                change.before = before
            plan.changes.append(change)
            plan.encoded.append(encoded(change))
        for replica, change in self.notes:
            plan = plans.setdefault(replica.n, Staged(replica, self._device))
            plan.changes.append(change)
            plan.encoded.append(encoded(change))
        parts = [part for plan in plans.values() for part in parts_of(plan, parts=False)]
        for part in parts:
            yield
            part.tx = (self._tx_id, len(parts)) if len(parts) > 1 else None
            group.add(part)
        return True

    def finish(self) -> None:
        """The entries are visible."""

    def finishing(self) -> Iterator[None]:
        """The entries are visible."""
        return iter(())
