"""What an entry did to records, read from the log: the same whenever it is asked.

For every change the document is folded up to the entry, in the order of this node's log file, and once more with it. The
difference is what happened. Void entries, and changes that their writer had no right to, did nothing. What an
`on_delete` effect hides is not looked at: nobody wrote it.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from cachetools import LRUCache

from debros.log.rights import may_write
from debros.replica.cells import Document
from debros.replica.refold import change_in, entries_of
from debros.replica.seen import Seen
from debros.replica.tables import NOT_UNIQUE, TARGET_GONE, Row, to_column

if TYPE_CHECKING:
    from debros.replica.changes import Change
    from debros.replica.effects import Place
    from debros.replica.entries import EntryRow
    from debros.replica.replica import Replica
    from debros.replica.store import Model, Store

Kind: TypeAlias = Literal["create", "update", "delete", "restore", "conflict"]

_ENTRIES: Final = 1024  # whose happenings are kept, for subscribers that come by one after the other
_ROWS: Final = 4096  # of documents, as the entry looked at last left them
_SLOTS: Final = 3  # for each change: what it did, a lost write, a value claimed twice


class Happening(NamedTuple):
    """What one entry did to one record."""

    kind: Kind
    model: str
    log: int
    id: str
    nth: int  # of the event in its entry: the same each time
    before: Row | None  # the record, as far as it showed
    after: Row | None
    values: dict[str, tuple[Any, Any]]  # by attribute, as in columns: before and after; `conflict`: the lost, the shown


class Happenings:
    """Reads one store's entries. Documents are remembered while entries are read one after the other."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen = Seen(store)
        self._kept: LRUCache[tuple[int, str], list[Happening]] = LRUCache(_ENTRIES)
        self._rows: dict[str, LRUCache[Place, Row]] = {}  # by model: as of the entry before `_next`
        self._next: dict[str, int] = {}
        self.fresh: dict[int, Collection[Change]] = {}  # by number: changes of entries that have just come
        store.on_moved.append(lambda places, models: self.forget())

    def forget(self) -> None:
        """Forget what is remembered: entries became void or count again, or rows are made otherwise."""
        self._kept.clear()
        self._rows.clear()
        self._next.clear()

    def of(self, entry: EntryRow, name: str) -> list[Happening]:
        """Return what an entry did to the records of one model, in order.

        Raises:
            StorageError: the log, or the view, cannot be read.
        """
        kept = self._kept.get((entry.e, name))
        if kept is None:
            rows = self._rows_before(entry.e, name)
            kept = self._kept[entry.e, name] = [] if entry.void else list(self._all(entry, name, rows))
        return kept

    def skip(self, name: str, start: int, end: int) -> None:
        """Note that the entries from one number up to another, which is left out, did nothing to a model."""
        if self._next.get(name) == start:
            self._next[name] = end

    def _rows_before(self, e: int, name: str) -> LRUCache[Place, Row]:
        rows = self._rows.get(name)
        if rows is None or self._next.get(name) != e:
            rows = self._rows[name] = LRUCache(_ROWS)
        self._next[name] = e + 1
        return rows

    def _all(self, entry: EntryRow, name: str, rows: LRUCache[Place, Row]) -> Iterator[Happening]:
        store = self._store
        model, replica = store.models[name], store.by_number[entry.log]
        if model.table.schema.scope != replica.manifest.scope:
            return
        changes = self.fresh.get(entry.e)
        for n, change in enumerate(store.changes_of(entry) if changes is None else changes):
            if change.model == name and may_write(change.id, entry.user, replica.manifest):
                yield from self._one(entry, replica, model, change, n * _SLOTS, rows)

    def _one(
        self, entry: EntryRow, replica: Replica, model: Model, change: Change, index: int, rows: LRUCache[Place, Row]
    ) -> Iterator[Happening]:
        name, table = model.table.schema.name, model.table
        place = (name, replica.n, change.id)
        before = rows.get(place) or self._row_before(entry, replica, model, change.id)
        after = self._merged(entry, replica, model, change, before)
        rows[place] = after
        shown = None if before is None or before[table.hidden_at] else before
        shows = None if after[table.hidden_at] else after
        existed = before is not None and before[table.ct_at] is not None
        kind: Kind
        if shown is None and shows is not None:
            kind = "restore" if existed else "create"
        elif shown is not None and shows is None:
            kind = "delete"
        else:
            kind = "update"
        if shown is not None or shows is not None:
            values = _difference(model, shown, shows)
            if kind != "update" or values:
                yield Happening(kind, name, replica.n, change.id, index, shown, shows, values)
        if before is not None and shows is not None:
            lost = self._lost(entry, model, change, before, after)
            if lost:
                yield Happening("conflict", name, replica.n, change.id, index + 1, shown, shows, lost)
        if shows is not None and model.claims.indexes:
            yield from self._claimed_twice(entry, model, shown, shows, index + 2)

    # -- one document ------------------------------------------------------------------------------------------------

    def _row_before(self, entry: EntryRow, replica: Replica, model: Model, id: str) -> Row | None:
        """Return a document's row as the entries before one, in the log file, made it."""
        store, table = self._store, model.table
        present = store.view.row(model.rows, replica.n, id)
        if present is None or (present[table.state_at] is None and present[table.e_at] == entry.e):
            return None
        return row_as_of(store, model, replica, id, entry.e - 1)

    def _merged(self, entry: EntryRow, replica: Replica, model: Model, change: Change, before: Row | None) -> Row:
        store, table = self._store, model.table
        present = store.view.row(model.rows, replica.n, change.id)
        if before is None and present is not None and present[table.state_at] is None:
            hidden = present[table.hidden_at] & ~TARGET_GONE
            if present[table.e_at] == entry.e:  # all that there is, this entry made
                return (*present[: table.hidden_at], hidden, *present[table.hidden_at + 1 :])
        document = Document(store.entries.digest_of) if before is None else model.states.load(before)
        by = store.keys.number(entry.user) if before is None else before[table.by_at]
        doc = 0 if present is None else present[table.doc_at]
        document.merge(change.value, entry.clock, entry.e, change.version)
        if document.born is not None and document.born[1] == entry.e:
            by = store.keys.number(entry.user)
        return model.projection.project(change.id, document, doc, replica.n, by)

    # -- conflicts -----------------------------------------------------------------------------------------------------

    def _lost(
        self, entry: EntryRow, model: Model, change: Change, before: Row, after: Row
    ) -> dict[str, tuple[Any, Any]]:
        """Return the fields that the entry and one that its writer had not seen both wrote: the lost value, the shown."""
        written = change.value.get("put", {})
        if not written:
            return {}
        registers = model.states.load(before).registers
        found: dict[str, tuple[Any, Any]] = {}
        for at, spec in enumerate(model.table.schema.fields, 1):
            register = registers.get(spec.wire)
            if spec.wire not in written or register is None or register[3] == written[spec.wire]:
                continue
            if self._seen(entry, self._store.entries.by_number(register[1])):
                continue
            wins = (entry.clock, entry.digest) > (register[0], self._store.entries.digest_of(register[1]))
            lost = before[at] if wins else _column(spec.codec, written[spec.wire])
            found[spec.name] = (lost, after[at])
        return found

    def _claimed_twice(
        self, entry: EntryRow, model: Model, before: Row | None, after: Row, index: int
    ) -> Iterator[Happening]:
        """Yield the record that loses a unique value which the entry claims and an earlier entry claimed too."""
        claims, table, store = model.claims, model.table, self._store
        held = set() if before is None else set(claims.keys(before))
        place = (after[table.log_at], after[0])
        for key in claims.keys(after):
            if key in held or (other := claims.holder(key, *place)) is None:
                continue
            store.view.hide_provisional()
            store.flush()  # the flags say who loses
            for log, id in [place, *((log, other) for log in store.by_number)]:
                row = store.view.row(model.rows, log, id)
                if row is None or not row[table.flags_at] & NOT_UNIQUE or key not in claims.keys(row):
                    continue
                if (log, id) != place and row[table.ce_at] > entry.e:
                    continue  # it came later, and its own entry tells of it
                names = claims.fields(key)
                values = {name: (row[table.names.index(name)],) * 2 for name in names if name in table.names}
                yield Happening("conflict", table.schema.name, log, id, index, row, row, values)
                return


def _difference(model: Model, before: Row | None, after: Row | None) -> dict[str, tuple[Any, Any]]:
    names = model.table.names
    found: dict[str, tuple[Any, Any]] = {}
    for at in range(1, len(names)):
        old, new = None if before is None else before[at], None if after is None else after[at]
        if old != new or before is None or after is None:
            found[names[at]] = (old, new)
    return found


def _column(codec: Any, value: Any) -> Any:
    """Return a foreign value as a column would show it, null where it is of another type."""
    return None if value is None or not codec.accepts(value) else to_column(codec, value)


def row_as_of(store: Store, model: Model, replica: Replica, id: str, e: int, turned: Container[int] = ()) -> Row | None:
    """Return a document's row as the entries up to a number made it, in the order of the log file; `None`: none did.

    `turned` has the numbers of entries that were void then and count now, or the reverse.
    """
    store.view.hide_provisional()
    store.flush()  # which entries touched the document is in the file
    present = store.view.row(model.rows, replica.n, id)
    if present is None:
        return None
    document, by = Document(store.entries.digest_of), present[model.table.by_at]
    for earlier in entries_of(store, model, present):
        is_void = earlier.void != (earlier.e in turned)
        change = None if is_void or earlier.e > e else change_in(store, replica, model, id, earlier)
        if change is not None:
            document.merge(change.value, earlier.clock, earlier.e, change.version)
            if document.born is not None and document.born[1] == earlier.e:
                by = store.keys.number(earlier.user)
    if document.newest is None:
        return None
    return model.projection.project(id, document, present[model.table.doc_at], replica.n, by)
