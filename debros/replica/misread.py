"""Records that a declaration does not show as they were written, counted, so that nobody takes them for lost.

A field that was renamed, became required or changed its type without a migration, or a peer with a newer program, leaves
values that the declaration has no place for. The log keeps them; the view leaves such a record out, or shows the default.
A model of which the projection met one is marked in the view, so nothing is searched for where all is well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from debros.errors import StorageError
from debros.replica.tables import DELETED, HIDDEN_BUT_LIVE, MISTYPED, UNREADABLE, quoted

if TYPE_CHECKING:
    from debros.replica.cells import Register
    from debros.replica.store import Model, Store
    from debros.schema import FieldSpec

_LEFT_OUT: Final = f'{HIDDEN_BUT_LIVE} AND ("_hidden" & {UNREADABLE}) != 0'
_DEFAULTED: Final = f'"_hidden" = 0 AND ("_flags" & {MISTYPED}) != 0'


class Misread(NamedTuple):
    """What is not shown of one model as it was written."""

    model: str
    left_out: int  # living records that do not show: a required value is missing, or of another type
    defaulted: int  # records that show a default in the place of a value of another type
    fields: tuple[str, ...]  # whose values one of these records lacks, or has of another type

    @property
    def text(self) -> str:
        """How a person reads it, with the cure."""
        parts = []
        if self.left_out:
            parts.append(f"{_counted(self.left_out)} of {self.model} left out")
        if self.defaulted:
            parts.append(
                f"{_counted(self.defaulted)} of {self.model} shown with a default in place of what was written"
            )
        why = f"there is no value of the declared type for {', '.join(self.fields)}" if self.fields else "see `history`"
        return (
            f"{', '.join(parts)}: {why}. The log has them as they were written. If you renamed or changed a field: "
            "`debros makemigrations`; if a peer did: take its version of the program"
        )


def mark(store: Store) -> None:
    """Write down, within the running transaction of the view, of which models something is not shown as it was written."""
    for name, model in store.models.items():
        if model.projection.has_misread:
            store.view.set_meta(_key(name), 1)


def forget(store: Store) -> None:
    """Take back the marks of models where that is over. When a home is opened: nobody else writes into the view then."""
    for name in _marked(store):
        if not any(_counts(store, store.models[name])):
            with store.view.transaction():
                store.view.set_meta(_key(name), 0)


def misread(store: Store) -> list[Misread]:
    """Return what is not shown as it was written, of each model where there is something."""
    if store.taken is None:
        try:
            store.flush()
        except StorageError:  # that the disk refused, others tell; what waits in memory is told of later
            return []
    found: list[Misread] = []
    for name in _marked(store):
        model = store.models[name]
        left_out, defaulted = _counts(store, model)
        if left_out or defaulted:
            found.append(Misread(name, left_out, defaulted, _fields(store, model)))
    return found


def is_left_out(hidden: int) -> bool:
    """Whether a row of this `_hidden` is a living record that cannot be shown under its declaration."""
    return bool(hidden & UNREADABLE and not hidden & DELETED)


def _counted(records: int) -> str:
    return "1 record" if records == 1 else f"{records:,} records"


def _key(model: str) -> str:
    return f"misread {model}"


def _marked(store: Store) -> list[str]:
    return [name for name in store.models if store.view.meta(_key(name))]


def _counts(store: Store, model: Model) -> tuple[int, int]:
    table = quoted(model.table.name)
    conditions = (_LEFT_OUT, _DEFAULTED)
    left_out, defaulted = (store.view.read(f"SELECT count(*) FROM {table} WHERE {c}", ())[0][0] for c in conditions)
    return int(left_out), int(defaulted)


def _fields(store: Store, model: Model) -> tuple[str, ...]:
    """Return the fields for which one of the records has no value of their type."""
    for condition in (_LEFT_OUT, _DEFAULTED):
        for row in store.view.read(f"{model.table.select} WHERE {condition} LIMIT 1", ()):
            registers = model.states.load(row).registers
            specs = [spec for spec in model.table.schema.fields if spec.merge == "lww"]
            return tuple(spec.name for spec in specs if not _is_good(spec, registers.get(spec.wire)))
    return ()


def _is_good(spec: FieldSpec, register: Register | None) -> bool:
    if register is None:
        return spec.has_default or spec.nullable
    return spec.nullable if register[3] is None else spec.codec.accepts(register[3])
