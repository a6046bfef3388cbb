"""Rows and flags from cells, written from docs/format.md alone: what a reader must see."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from debros.blocks import dagcbor
from debros.replica import tables
from debros.schema import FieldSpec, Schema
from tests.support.naive import Entry, Fold

Expected = dict[tuple[str, str], dict[str, Any]]
_BOUNDS: dict[str, Callable[[Any, Any], bool]] = {"ge": lambda v, limit: v < limit, "le": lambda v, limit: v > limit}


def expected(fold: Fold, schemas: list[Schema]) -> Expected:
    """Rows of all documents of these models that some effective entry touched, by (model, id)."""
    by_name = {schema.name: schema for schema in schemas}
    rows: Expected = {}
    for (model, id), made in fold.changes.items():
        if model in by_name:
            cells = {key[2:]: value for key, value in fold.cells.items() if key[:2] == (model, id)}
            rows[model, id] = _row(by_name[model], id, made, cells)
    for schema in schemas:
        for index in schema.indexes:
            if index.unique:
                flag_losers(rows, fold, schema, [name for name, _ in index.fields])
    return rows


def _row(
    schema: Schema, id: str, made: list[tuple[Entry, int, dict[str, Any]]], cells: dict[Any, Any]
) -> dict[str, Any]:
    hidden = 0 if cells.get(("", "live")) == dagcbor.encode(True) else tables.DELETED
    form = {"owner": r"[^~]*~[a-z2-7]{20}", "admins": "[^~]*~admin", "anyone": "[^~]*"}
    write = schema.write if schema.scope == "global" else "anyone"
    hidden |= 0 if re.fullmatch(form[write], id) else tables.WRONG_ID
    flags = tables.REWRITTEN if schema.store == "events" and len(made) > 1 else 0
    values = {}
    for spec in schema.fields:
        values[spec.name], readable = _value(spec, cells)
        hidden |= 0 if readable else tables.UNREADABLE
        flags |= 0 if _is_of_its_type(spec, cells) else tables.MISTYPED
        total = cells.get((spec.wire, "inc"), 0)
        flags |= tables.OVERFLOW if spec.merge == "counter" and not -(2**63) <= total < 2**63 else 0
        for bound, is_beyond in _BOUNDS.items():
            limit = spec.bounds and getattr(spec.bounds, bound)
            if limit is not None and values[spec.name] is not None and is_beyond(values[spec.name], limit):
                flags |= tables.OUT_OF_BOUNDS
    births = [entry for entry, _, change in made if change.get("live")]
    return {
        "values": values,
        "hidden": hidden,
        "flags": flags,
        "created": (births[0].digest, births[0].clock, births[0].user) if births else None,
        "newest": (made[-1][0].digest, made[-1][0].clock, made[-1][1]),
    }


def _value(spec: FieldSpec, cells: dict[Any, Any]) -> tuple[Any, bool]:
    if spec.merge == "counter":
        return min(max(cells.get((spec.wire, "inc"), 0), -(2**63)), 2**63 - 1), True
    if spec.merge == "set":
        encoded = sorted({value for value, _ in cells.get((spec.wire, "add"), ())})
        return [v for v in map(dagcbor.decode, encoded) if spec.codec.accepts([v])], True
    found = cells.get((spec.wire, "put" if spec.merge == "lww" else "keep"))
    if found is not None:
        value = dagcbor.decode(found if spec.merge == "lww" else found[0][0])
        if spec.nullable if value is None else spec.codec.accepts(value):
            return value, True
    return spec.default if spec.has_default else None, spec.has_default or spec.nullable


def _is_of_its_type(spec: FieldSpec, cells: dict[Any, Any]) -> bool:
    found = cells.get((spec.wire, "put")) if spec.merge == "lww" else None
    if found is None:
        return True
    value = dagcbor.decode(found)
    return spec.nullable if value is None else spec.codec.accepts(value)


def flag_losers(rows: Expected, fold: Fold, schema: Schema, names: list[str]) -> None:
    claims: dict[bytes, list[tuple[tuple[int, bytes], str]]] = {}
    for (model, id), row in rows.items():
        if model != schema.name or row["hidden"]:
            continue
        if None not in (values := [row["values"][name] for name in names]):
            wires = {schema.by_name[name].wire for name in names}
            # a claim is as old as the newest of its fields
            stamps = [(e.clock, e.digest) for e, _, c in fold.changes[model, id] if wires & c.get("put", {}).keys()]
            claims.setdefault(dagcbor.encode(values), []).append((max(stamps, default=(0, b"")), id))
    for claimants in claims.values():
        for _, id in sorted(claimants)[1:]:
            rows[schema.name, id]["flags"] |= tables.NOT_UNIQUE
