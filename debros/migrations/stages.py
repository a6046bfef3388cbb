"""What the fields of a model were called at each point of its migrations, and where their cells are.

Told backward from the present declaration: a renamed field has the cells of its first name, a removed one still has
its own. So no snapshot of old declarations is needed to read old documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from debros.errors import MigrationError, did_you_mean
from debros.migrations.builder import Migration
from debros.migrations.graph import stored_names
from debros.migrations.operations import AddField, ChangeField, Operation, RemoveField, RenameField, RenameModel
from debros.schema import Codec, FieldSpec, Schema
from debros.values import describe


@dataclass(eq=False, slots=True)
class Cell:
    """Where a field's values are: one for all names that the field ever had."""

    wire: str | None  # None: of a removed field whose first name is not known yet
    spec: FieldSpec | None  # as the model declares it now


class Slot(NamedTuple):
    """A field at one point: its cell, and the type its values had then; `None`: as the log has them."""

    cell: Cell
    codec: Codec | None


Stage = Mapping[str, Slot]


class Step(NamedTuple):
    """What one migration does to one model."""

    migration: Migration
    operations: tuple[Operation, ...]
    before: Stage
    after: Stage


def steps_of(schema: Schema, migrations: Sequence[Migration]) -> tuple[Step, ...]:
    """Return what ordered migrations do to a model, oldest first; those that do not concern it are left out.

    Raises:
        MigrationError: an operation names a field that the declaration has not, or a renamed or removed one that it has.
    """
    stored = stored_names(migrations)
    mine = [(each, _of(each, schema.name, stored)) for each in migrations]
    stage: dict[str, Slot] = {spec.name: Slot(Cell(spec.wire, spec), spec.codec) for spec in schema.fields}
    found: list[Step] = []
    for each, operations in reversed(mine):
        if not operations:
            continue
        after = dict(stage)
        for operation in reversed(operations):
            _undo(stage, operation, each, schema)
        found.append(Step(each, operations, dict(stage), after))
    for name, slot in stage.items():
        if slot.cell.wire is None:
            slot.cell.wire = name
    return tuple(reversed(found))


def stored_fields(schema: Schema, migrations: Sequence[Migration]) -> dict[str, str]:
    """Return the stored names of attributes that migrations renamed, where the declaration leaves them to its name."""
    wires: dict[str, str] = {}
    steps = steps_of(schema, migrations)
    for spec in schema.fields:
        if spec.wire != spec.name:
            continue  # `field(name=...)` says it
        first = _first_name(spec.name, steps)
        if first != spec.name:
            wires[spec.name] = first
    return wires


def _first_name(name: str, steps: Sequence[Step]) -> str:
    for step in reversed(steps):
        for operation in reversed(step.operations):
            if isinstance(operation, RenameField) and operation.new == name:
                name = operation.old
            elif isinstance(operation, AddField) and operation.name == name:
                return name
    return name


def _of(migration: Migration, model: str, stored: Mapping[str, str]) -> tuple[Operation, ...]:
    return tuple(
        operation
        for operation in migration.operations
        if stored.get(operation.model, operation.model) == model and not operation.writes
        and not isinstance(operation, RenameModel)
    )  # fmt: skip


def _undo(stage: dict[str, Slot], operation: Operation, migration: Migration, schema: Schema) -> None:
    """Turn the fields after an operation into those before it."""
    where = f"{migration.name} ({migration.version}): {operation.text}"
    if isinstance(operation, AddField):
        slot = _take(stage, operation.name, where, schema)
        if slot.cell.wire is None:
            slot.cell.wire = operation.name
    elif isinstance(operation, RemoveField):
        if operation.name in stage:
            raise MigrationError(f"{where}, but {schema.name} still declares it; take it out of the class")
        codec = describe(operation.type).codec if operation.has_type else None
        stage[operation.name] = Slot(Cell(None, None), codec)
    elif isinstance(operation, RenameField):
        slot = _take(stage, operation.new, where, schema)
        if operation.old in stage:
            raise MigrationError(f"{where}, but {schema.name} still has a field {operation.old!r}; take it out")
        stage[operation.old] = slot
    elif isinstance(operation, ChangeField):
        slot = _take(stage, operation.name, where, schema)
        stage[operation.name] = Slot(slot.cell, describe(operation.was).codec) if operation.has_type else slot


def _take(stage: dict[str, Slot], name: str, where: str, schema: Schema) -> Slot:
    slot = stage.get(name)
    if slot is None:
        raise MigrationError(
            f"{where}, but {schema.name} declares no field {name!r}{did_you_mean(name, stage)}; "
            "declare it, or correct the migration"
        )
    del stage[name]
    return slot


def python_value(slot: Slot, wire: Any) -> Any:
    """Return a cell's value as functions see it: in Python's type where it is one of the field's, else as it is."""
    codec = slot.codec
    if wire is None or codec is None or codec.from_wire is None or not codec.accepts(wire):
        return wire
    return codec.from_wire(wire)
