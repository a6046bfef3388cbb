"""Folding one document anew, straight from the entries that made it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from debros.log.rights import may_write
from debros.replica.cells import Document
from debros.replica.changes import Change, change_of
from debros.replica.entries import EntryRow
from debros.replica.tables import Row

if TYPE_CHECKING:
    from debros.replica.replica import Replica
    from debros.replica.store import Model, Store


def entries_of(store: Store, model: Model, row: Row) -> list[EntryRow]:
    """Return the entries that touched a document, void ones too, oldest stamp first. The view is flushed."""
    table = model.table
    if row[table.state_at] is None:
        return [store.entries.by_number(row[table.e_at])]
    numbers = store.view.read(f"SELECT e FROM {model.rows.touch} WHERE doc = ?", (row[table.doc_at],))
    return sorted((store.entries.by_number(e) for (e,) in numbers), key=lambda entry: (entry.clock, entry.digest))


def change_in(store: Store, replica: Replica, model: Model, id: str, entry: EntryRow) -> Change | None:
    """Return what an entry says of a document, `None` if its writer had no right to."""
    if not may_write(id, entry.user, replica.manifest):
        return None
    return change_of(store.changes_of(entry), model.table.schema.name, id)


def refold(store: Store, replica: Replica, model: Model, id: str) -> None:
    """Make a document's row from its entries, those that are void left aside."""
    before = store.view.row(model.rows, replica.n, id)
    if before is None:
        return
    table = model.table
    document, by = Document(store.entries.digest_of), before[table.by_at]
    touching = entries_of(store, model, before)
    for entry in touching:
        change = None if entry.void else change_in(store, replica, model, id, entry)
        if change is None:
            continue
        document.merge(change.value, entry.clock, entry.e, change.version)
        if document.born is not None and document.born[1] == entry.e:
            by = store.keys.number(entry.user)
    row = model.projection.project(id, document, before[table.doc_at], replica.n, by)
    model.rows.touched += [
        (before[table.doc_at], entry.e) for entry in touching
    ]  # once `_state` is there, all are noted
    replica.show(model, row, before)
