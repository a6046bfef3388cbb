"""From a draft to the change that goes into the log: what only the holder of the writer's lock can decide.

Whether the document exists, whether it changed since it was loaded, which dots a removal ends.
"""

from __future__ import annotations

from typing import Any, Final

from debros.blocks import dagcbor
from debros.errors import ConflictError, NotFoundError, TooLargeError, UniqueError
from debros.log.forms import INT_MAX, INT_MIN, MAX_DOTS
from debros.replica.cells import Document, Elements
from debros.replica.draft import Draft
from debros.replica.state import States
from debros.replica.tables import DELETED, Row, Table

_GONE: Final[dict[str, Any]] = {"live": False}  # one for all, so that it is seen to be the same


def change_of(draft: Draft, row: Row | None, table: Table, states: States) -> dict[str, Any] | None:
    """Return the change to write, `None` when there is nothing to do.

    Args:
        draft: what was asked.
        row: the document's present row, hidden or not.
        table: the model's table.
        states: reads the cells behind rows.

    Raises:
        UniqueError: a create of an id that lives.
        NotFoundError: an update, increment or restore of a document that is deleted or unknown.
        ConflictError: `if_unchanged`, and the document is another one than was loaded.
        TooLargeError: a create of a deleted id one of whose counters is beyond 64 bits.
    """
    name = table.schema.name
    gone = row is None or bool(row[table.hidden_at] & DELETED)
    if draft.kind == "create":
        if row is None:
            return _fresh(draft)
        if not gone:
            raise UniqueError(name, ("id",), draft.id)
        return _again(draft, states.load(row))
    if draft.kind == "delete":
        return None if gone else _GONE
    if draft.kind == "restore":
        if row is None:
            raise NotFoundError(name, (draft.id,))
        return {"live": True} if gone else None
    if draft.kind == "increment":
        if row is None:
            return {"inc": draft.inc, "live": True}
        if gone:
            raise NotFoundError(name, (draft.id,))
        return {"inc": draft.inc, "live": True} if table.schema.store == "counter" else {"inc": draft.inc}
    if gone or row is None:
        raise NotFoundError(name, (draft.id,))
    if draft.if_unchanged and draft.base is not None and _has_changed(draft.base, row, table, states):
        raise ConflictError(name, draft.id, _differing(draft.base, row, table))
    change = _update(draft, draft.base or row, states)
    if table.schema.store == "keyvalue" and change:
        change = {**change, "live": True}  # the last save wins whole, over a delete too
        change["put"] = _unmasked(change.get("put", {}), draft.base or row, row, table, states)
    return change or None


def _unmasked(put: dict[str, Any], base: Row, row: Row, table: Table, states: States) -> dict[str, Any]:
    """Return what a save writes of every field, with the keys that read null because their targets are gone as they are.

    That is an effect of reading: a save for the sake of another field must not make it stay when the target is back.
    """
    names = {relation.key for relation in table.schema.relations if relation.on_delete == "set_null"}
    nulls = [
        spec
        for at, spec in enumerate(table.schema.fields, 1)
        if spec.name in names and base[at] is None and put.get(spec.wire, 0) is None
    ]
    if not nulls:
        return put
    cells = states.load(row).registers
    kept = {spec.wire: cells[spec.wire][3] for spec in nulls if spec.wire in cells}
    return put | {spec.wire: kept[spec.wire] for spec in nulls if spec.codec.accepts(kept.get(spec.wire))}


def _fresh(draft: Draft) -> dict[str, Any]:
    if draft.change is not None:
        return draft.change
    change: dict[str, Any] = {"live": True}
    change |= {key: values for key, values in (("put", draft.put), ("inc", draft.inc), ("add", draft.add)) if values}
    if draft.keep:
        change["keep"] = {field: [value, []] for field, value in draft.keep.items()}
    return change


def _again(draft: Draft, cells: Document) -> dict[str, Any]:
    """Create a deleted id again: what it was is replaced, whatever kind of cell it is in."""
    change = dict(_fresh(draft))
    wanted = change.get("inc", {})
    sums = {field: wanted.get(field, 0) - cells.sums.get(field, 0) for field in {*wanted, *cells.sums}}
    for field, amount in sums.items():
        if not INT_MIN <= amount <= INT_MAX:  # a change by more is none to anybody who reads it
            raise TooLargeError(
                f"the counter {field!r} of the deleted record {draft.id!r} stands at {cells.sums[field]}, beyond 64 bits, from"
                " where no one entry takes it; choose another id"
            )
    change["inc"] = {field: amount for field, amount in sorted(sums.items()) if amount}
    ends = {field: _ends(cell, list(cell.living)) for field, cell in cells.elements.items() if cell.living}
    change["rem"] = ends
    if "keep" in change:
        change["keep"] = {field: [value, _kept_dots(cells, field)] for field, (value, _) in change["keep"].items()}
    return {key: value for key, value in change.items() if value is True or value}


def _update(draft: Draft, base: Row, states: States) -> dict[str, Any]:
    if draft.change is not None:
        return draft.change
    change: dict[str, Any] = {}
    change |= {key: values for key, values in (("put", draft.put), ("inc", draft.inc), ("add", draft.add)) if values}
    if draft.rem or draft.keep:
        seen = states.load(base)
        for field, removed in (draft.rem or {}).items():
            cell = seen.elements.get(field)
            ends = _ends(cell, [dagcbor.encode(value) for value in removed]) if cell else []
            if ends:
                change.setdefault("rem", {})[field] = ends
        if draft.keep:
            change["keep"] = {field: [value, _kept_dots(seen, field)] for field, value in draft.keep.items()}
    return change


def _ends(cell: Elements, encoded: list[bytes]) -> list[list[Any]]:
    ends = []
    for value in sorted(encoded):
        dots = sorted(cell.living.get(value, ()))
        ends += [[dagcbor.decode(value), dots[n : n + MAX_DOTS]] for n in range(0, len(dots), MAX_DOTS)]
    return ends


def _kept_dots(cells: Document, field: str) -> list[bytes]:
    kept = cells.kept.get(field)
    return sorted(kept.living)[:MAX_DOTS] if kept else []


def _has_changed(base: Row, row: Row, table: Table, states: States) -> bool:
    """Whether anything was written to a document since a row of it was loaded, be it by an entry with an older clock."""
    if base[table.e_at] != row[table.e_at]:
        return True
    before, now = base[table.state_at], row[table.state_at]
    if before == now:
        return False
    if before is None or now is None:  # one change made the one; does the other show, by an effect, the same one?
        return states.load(row if before is None else base).count != 1
    return _cells(states.load(base)) != _cells(states.load(row))


def _cells(document: Document) -> tuple[Any, ...]:
    elements = {field: cell.living for field, cell in document.elements.items() if cell.living}
    kept = {field: cell.living for field, cell in document.kept.items()}
    return document.registers, document.sums, elements, kept, document.live


def _differing(base: Row, row: Row, table: Table) -> tuple[str, ...]:
    return tuple(name for at, name in enumerate(table.names) if base[at] != row[at])
