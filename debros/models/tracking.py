"""What changed in a record since it was loaded, and the draft that says so to the log.

A record remembers the row it came from; at a save each field is compared with it, so changes in place are seen.
Two values are equal when their wire forms are: Python's `1 == 1.0 == True` is not equality here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from debros.blocks import dagcbor
from debros.errors import FieldError, ValidationError
from debros.replica.draft import Draft
from debros.replica.tables import Row
from debros.schema import FieldSpec

if TYPE_CHECKING:
    from debros.models.shape import Shape

_BROKEN: Final = object()


def to_wire(spec: FieldSpec, value: Any) -> Any:
    """Return the wire form of a checked value; `None` stays."""
    return value if value is None or spec.codec.to_wire is None else spec.codec.to_wire(value)


def _column(spec: FieldSpec, value: Any) -> Any:
    wire = to_wire(spec, value)
    return wire if wire is None or spec.codec.to_column is None else spec.codec.to_column(wire)


def column_of(spec: FieldSpec, value: Any) -> Any:
    """Return the column of a value that was perhaps changed in place; `_BROKEN` for one that validation will refuse."""
    try:
        return _column(spec, value)
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        return _BROKEN


def changed_fields(shape: Shape, own: dict[str, Any], row: Row) -> list[tuple[int, FieldSpec]]:
    """Return the fields whose values differ from the row's, each with its position in the row."""
    found = []
    for at, name, spec in shape.places:
        if name in own:  # else nobody has looked at it
            value, old = own[name], row[at]
            if value is not old and is_changed(spec, value, old):
                found.append((at, spec))
    return found


def is_changed(spec: FieldSpec, value: Any, old: Any) -> bool:
    """Whether a field's value is another one than that of a column."""
    if value is None or old is None:
        return value is not old
    codec = spec.codec
    if codec.mutable:
        return bool(column_of(spec, value) != old)
    if codec.from_column is not None:
        loaded = codec.from_column(old)
        if type(value) is type(loaded) and value == loaded and codec.kind != "decimal":
            return False
        return not _same(to_wire(spec, value), to_wire(spec, loaded))
    return type(value) is not type(old) or value != old


def _same(a: Any, b: Any) -> bool:
    if type(a) in (str, int, bytes, bool) or type(b) in (str, int, bytes, bool):
        return type(a) is type(b) and bool(a == b)
    return dagcbor.encode(a) == dagcbor.encode(b)


def changes_of(
    shape: Shape, own: dict[str, Any], row: Row | None, changed: list[tuple[int, FieldSpec]] | None = None
) -> dict[str, tuple[Any, Any]]:
    """Return `{name: (old, new)}` of what a save would write; every field of a new record, whose old values are None."""
    if row is None:
        return {spec.name: (None, own[spec.name]) for spec in shape.fields}
    found = {}
    for at, spec in changed_fields(shape, own, row) if changed is None else changed:
        old = row[at]
        if old is not None and spec.codec.from_column is not None:
            old = spec.codec.from_column(old)
        found[spec.name] = (old, own[spec.name])
    return found


def create_draft(shape: Shape, own: dict[str, Any]) -> Draft:
    """Return the draft of a new record: every stored field, but empty sets and zero counters."""
    change, columns = shape.new_document(own)
    return Draft("create", own["id"], fresh="_fresh" in own, change=change, columns=columns)


def update_draft(
    shape: Shape, own: dict[str, Any], row: Row, changed: list[tuple[int, FieldSpec]], if_unchanged: bool
) -> Draft:
    """Return the draft of changed fields: counters as differences, sets as what was added and removed."""
    draft = Draft("update", own["id"], base=row, if_unchanged=if_unchanged)
    put: dict[str, Any] = {}
    for at, spec in list(enumerate(shape.fields, 1)) if shape.whole else changed:
        value = to_wire(spec, own[spec.name])
        if spec.merge == "lww":
            put[spec.wire] = value
        elif spec.merge == "counter":
            draft.inc = {**(draft.inc or {}), spec.wire: counted(spec, value, row[at])}
        elif spec.merge == "keep":
            draft.keep = {**(draft.keep or {}), spec.wire: value}
        else:
            added, removed = _difference(value, _loaded_wire(spec, row[at]))
            if added:
                draft.add = {**(draft.add or {}), spec.wire: added}
            if removed:
                draft.rem = {**(draft.rem or {}), spec.wire: removed}
    if put:
        draft.put = put
    if draft.keep or draft.rem:
        draft.base = own["_home"].whole(row)  # it says which values are replaced, which additions are meant
    return draft


def counted(spec: FieldSpec, value: int, old: int) -> int:
    """Return by how much a counter changes.

    Raises:
        ValidationError: by more than 64 bits.
    """
    difference = value - old
    if not -(2**63) <= difference < 2**63:
        error = FieldError(spec.name, value, "counter", f"a counter changes by at most 64 bits at once, not from {old}")
        raise ValidationError(spec.name, (error,))
    return difference


def _loaded_wire(spec: FieldSpec, column: Any) -> Any:
    codec = spec.codec
    return to_wire(spec, column if column is None or codec.from_column is None else codec.from_column(column))


_PLAIN: Final = ({str}, {int}, {bytes})  # kinds whose values are equal exactly when they are encoded alike


def _difference(new: list[Any], old: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return what is in the one list of different values and not in the other, and the reverse."""
    kinds = {*map(type, new), *map(type, old)}
    now, before = [
        dict(zip(its if kinds in _PLAIN else map(dagcbor.encode, its), its, strict=True)) for its in (new, old)
    ]
    added = [value for key, value in now.items() if key not in before]
    return added, [value for key, value in before.items() if key not in now]


class Snapshot:
    """A record's values before a save, to give back if the save fails or its transaction is undone."""

    __slots__ = ("_frozen", "_own", "_saved", "_shape")

    def __init__(self, shape: Shape, own: dict[str, Any], *, deep: bool) -> None:
        self._shape = shape
        self._own = own
        self._saved = dict(own)
        # hooks may change values in place, so their columns are kept too
        self._frozen = [(spec, column_of(spec, own[spec.name])) for spec in shape.mutable] if deep else []

    def restore(self) -> None:
        """Give the record back what it was."""
        own = self._own
        own.clear()
        own.update(self._saved)
        for spec, column in self._frozen:
            if column is not None and column is not _BROKEN and column_of(spec, own[spec.name]) != column:
                decode = spec.codec.from_column
                own[spec.name] = column if decode is None else decode(column)
