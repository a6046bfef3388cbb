"""From cells to typed rows: the last, pure step of the fold.

A value of another type than the field's is not shown: it stays in the cells, and the field reads as if its cell
were missing, flagged, so that nothing a peer writes can break a reader. A row whose required field cannot be shown is
left out whole. Values beyond declared bounds show and are flagged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from debros.blocks import dagcbor
from debros.replica.cells import Document
from debros.replica.lifting import ABSENT, Lift
from debros.replica.packing import rows_in
from debros.replica.tables import (
    DELETED,
    MISTYPED,
    OUT_OF_BOUNDS,
    OVERFLOW,
    REWRITTEN,
    UNLIFTED,
    UNREADABLE,
    WRONG_ID,
    WRONG_SHARD,
    Row,
    Table,
    to_column,
)
from debros.schema import Bounds, FieldSpec, Schema

INT64: Final = range(-(2**63), 2**63)
NONE: Final[frozenset[str]] = frozenset()
_OWNED: Final = re.compile(r"[^~]{0,107}~[a-z2-7]{20}")
_ADMIN: Final = re.compile(r"[^~]{0,122}~admin")


class _Shown(NamedTuple):
    wire: str
    merge: str
    nullable: bool
    accepts: Callable[[Any], bool]
    to_column: Callable[[Any], Any] | None
    out_of_bounds: Callable[[Any], bool] | None
    missing: Any  # what a missing cell reads as: a wire value
    has_missing: bool


class Projection:
    """Makes the rows of one table. `dump` of `States` encodes what the columns do not say.

    `is_in_place` of a sharded model says whether a log, by its number, is the one for an id and a key's wire value.
    """

    def __init__(
        self,
        table: Table,
        dump: Callable[[Document, set[str]], bytes],
        is_in_place: Callable[[int, str, Any], bool] | None = None,
    ) -> None:
        self._table = table
        self._dump = dump
        self.lifts: Mapping[int, Lift] = {}  # by log: what migrations make of older documents
        self.has_misread = False  # whether it met a document that does not show as it was written
        schema = table.schema
        self.fields = self._fields = [_shown(spec) for spec in schema.fields]  # in the order of the schema
        self._computed = [spec for spec in schema.computed if spec.index]
        self._keys = [(n + 1, spec.codec) for n, spec in enumerate(schema.fields) if spec.codec.to_key]
        self._computed_keys = [(n, spec.codec) for n, spec in enumerate(self._computed) if spec.codec.to_key]
        self._id_is_good = id_form(schema)
        self._append_only = schema.store == "events"
        self._plain = not (self._computed or self._keys)
        self._is_in_place = is_in_place
        key = None if schema.sharding is None else schema.by_name.get(schema.sharding.key)
        self._shard_key = None if key is None else key.wire  # `None`: the id decides, or the owner in it
        key_at = None if key is None else [spec.wire for spec in schema.fields].index(key.wire)
        bounded = {at: f.out_of_bounds for at, f in enumerate(self._fields) if f.out_of_bounds is not None}
        self._row_in = rows_in(schema.fields, bounded, is_in_place, key_at)

    def fresh(
        self, id: str, columns: tuple[Any, ...], doc: int, log: int, clock: int, e: int, by: int, version: int
    ) -> Row | None:
        """Return the row of a new document of a writer here, from its fields' columns; `None` as for `created`.

        The same row as `created` makes of the change that was written.
        """
        if self.lifts and self.would_lift(log, version):
            return None
        hidden = 0 if self._id_is_good(id) else WRONG_ID
        row = (id, *columns, log, e, None, 0, version, doc, hidden, clock, e, clock, by)
        return row if self._plain else self.finished(list(row))

    def created(
        self, id: str, change: Any, doc: int, log: int, clock: int, e: int, by: int, version: int
    ) -> Row | None:
        """Return the row of a document that this one change makes whole, else `None`: merge it the long way.

        A change that makes a row is of good form; of any other one nothing is said.
        """
        if version not in INT64 or (self.lifts and self.would_lift(log, version)):
            return None
        row = self._row_in(id, change, log, e, version, doc, 0 if self._id_is_good(id) else WRONG_ID, clock, by)
        return row if row is None or self._plain else self.finished(list(row))

    def would_lift(self, log: int, version: int) -> bool:
        """Whether a document all of which was written under this version shows otherwise than it is stored."""
        lift = self.lifts.get(log)
        return lift is not None and not lift.below <= version < lift.above

    def project(self, id: str, document: Document, doc: int, log: int, by: int, masked: frozenset[str] = NONE) -> Row:
        """Return the row that the cells make. `masked` fields read null."""
        hidden = 0 if document.is_live else DELETED
        if not self._id_is_good(id):
            hidden |= WRONG_ID
        flags = REWRITTEN if self._append_only and document.count > 1 else 0
        lifted: Mapping[str, Any] = _NOTHING
        if self.lifts and (lift := self.lifts.get(log)) is not None:
            lifted, whole = lift(id, document)
            flags |= 0 if whole else UNLIFTED
        shown: set[str] = set()
        row: list[Any] = [id]
        key: Any = None
        registers, shard_key = document.registers, self._shard_key
        for field in self._fields:
            wire, merge, nullable, accepts, to_column, out_of_bounds, missing, has_missing = field
            if wire in masked:
                value = None
            elif wire in lifted:
                value = lifted[wire]
                if value is ABSENT:
                    value = missing
            elif merge == "lww":
                register = registers.get(wire)
                value = missing if register is None else register[3]
                if register is not None and (nullable if value is None else accepts(value)):
                    shown.add(wire)
                else:
                    value = missing
                    flags |= 0 if register is None else MISTYPED
            else:
                value, flag = _value(field, document)
                flags |= flag
            if wire == shard_key:
                key = value
            if value is None:
                if not nullable and not has_missing:
                    hidden |= UNREADABLE
            else:
                if out_of_bounds is not None and out_of_bounds(value):
                    flags |= OUT_OF_BOUNDS
                if to_column is not None:
                    value = to_column(value)
            row.append(value)
        if hidden & UNREADABLE or flags & MISTYPED:
            self.has_misread = True
        if self._is_in_place is not None and not self._is_in_place(log, id, key):
            hidden |= WRONG_SHARD
        clock, e, version = document.newest or (0, 0, 0)
        version = min(version, INT64.stop - 1)  # to the fold it is any uint, and `_state` has it exactly
        born_clock, born = document.born or (None, None)
        state = self._dump(document, shown)
        row += (log, e, state, flags, version, doc, hidden, clock, born, born_clock, by)
        return self.finished(row)

    def finished(self, row: list[Any]) -> Row:
        """Return a row with what is computed of its fields."""
        if self._plain:
            return tuple(row)
        if self._computed:
            computed = self._compute(row)
            row += (to_column(spec.codec, value) for spec, value in zip(self._computed, computed, strict=True))
        for at, codec in self._keys:
            row.append(None if row[at] is None else codec.to_key(row[at]))  # type: ignore[misc]  # keyed ones only
        for n, codec in self._computed_keys:
            row.append(None if computed[n] is None else codec.to_key(computed[n]))  # type: ignore[misc]  # as above
        return tuple(row)

    def _compute(self, row: list[Any]) -> list[Any]:
        from debros.replica.state import from_column

        values: dict[str, Any] = {"id": row[0]}
        for at, spec in enumerate(self._table.schema.fields, 1):
            decode = from_column(spec.codec)
            value = row[at] + 0.0 if type(row[at]) is float else row[at]  # a column keeps no sign of a zero
            values[spec.name] = value if decode is None or value is None else decode(value)
        return [computed_value(spec.function, values) for spec in self._computed]


def computed_value(function: Callable[[dict[str, Any]], Any], values: dict[str, Any]) -> Any:
    """Call a computed field's function; null where it raises, as declared: a row must not depend on user code."""
    try:
        return function(values)
    except Exception:  # whatever the user's function raises, the stated value is null
        return None


def id_form(schema: Schema) -> Callable[[str], bool]:
    """Return whether an id has the form that the model declares (docs/format.md, Who may write)."""
    if schema.is_internal:  # debros's own: whoever reads it looks for the id that is meant
        return lambda id: True
    write = schema.write if schema.scope == "global" else "anyone"
    if write == "owner":
        return lambda id: _OWNED.fullmatch(id) is not None
    if write == "admins":
        return lambda id: _ADMIN.fullmatch(id) is not None
    return lambda id: "~" not in id


def _shown(spec: FieldSpec) -> _Shown:
    bounds = None if spec.bounds is None else _bounds_check(spec.bounds, spec.codec.to_key)
    has_missing, missing = spec.has_default, spec.default
    if spec.merge == "set":
        has_missing, missing = True, []  # a set without a living value is no cell, whatever a new record starts with
    elif spec.merge == "counter":
        has_missing, missing = True, 0
    accepts, column = spec.codec.accepts, spec.codec.to_column
    return _Shown(spec.wire, spec.merge, spec.nullable, accepts, column, bounds, missing, has_missing)


def _value(field: _Shown, document: Document) -> tuple[Any, int]:
    """Return the wire value to show of a counter, a merged set or a kept field, and flags."""
    if field.merge == "counter":
        total = document.sums.get(field.wire, 0)
        bounded = min(max(total, INT64.start), INT64.stop - 1)
        return bounded, OVERFLOW if bounded != total else 0
    if field.merge == "set":
        cell = document.elements.get(field.wire)
        if cell is None or not cell.living:
            return [], 0
        encoded = sorted(cell.living)
        values: Any = dagcbor.decode_known(b"".join((dagcbor.head(4, len(encoded)), *encoded)))
        if field.accepts(values):
            return values, 0
        return [value for value in values if field.accepts([value])], 0  # an element of another type does not show
    kept = document.kept.get(field.wire)
    found = [value for _, value in kept.values()] if kept else []
    value = found[0] if found else None
    if value is None:
        return (None if found and field.nullable else field.missing), 0
    return (value if field.accepts(value) else field.missing), 0


def _bounds_check(bounds: Bounds, key: Callable[[Any], Any] | None) -> Callable[[Any], bool]:
    """Return whether a wire value lies beyond its bounds."""
    checks = [beyond(_limit(bounds, name, key)) for name, beyond in _BEYOND if getattr(bounds, name) is not None]
    if len(checks) == 1 and key is None:
        return checks[0]
    if len(checks) == 2 and key is None:
        first, second = checks
        return lambda value: first(value) or second(value)
    order = key or (lambda value: value)
    return lambda value: any(check(order(value)) for check in checks)


def _limit(bounds: Bounds, name: str, key: Callable[[Any], Any] | None) -> Any:
    limit = getattr(bounds, name)
    if name == "pattern":
        return re.compile(limit).search
    return limit if key is None or name.endswith("length") else key(limit)


_BEYOND: Final[tuple[tuple[str, Callable[[Any], Callable[[Any], bool]]], ...]] = (
    ("ge", lambda limit: lambda value: value < limit),
    ("gt", lambda limit: lambda value: value <= limit),
    ("le", lambda limit: lambda value: value > limit),
    ("lt", lambda limit: lambda value: value >= limit),
    ("min_length", lambda limit: lambda value: len(value) < limit),
    ("max_length", lambda limit: lambda value: len(value) > limit),
    ("pattern", lambda search: lambda value: search(value) is None),
)
_NOTHING: dict[str, Any] = {}
