"""The lift: how a document shows under the migrations that are applied, whatever version its cells were written under.

A pure function of the document's cells and of which migrations are applied or were rolled back. For each applied
migration that is newer than a cell, `up` runs on the row and gives the value of just those fields whose cell is older or
missing; for each one that was rolled back, `down` gives those whose cell is not older. Counters, merged sets and
kept values are never lifted, but functions see them. Cells and log stay as they were written.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from debros.blocks import dagcbor
from debros.migrations.operations import AddField, ChangeField, Operation, RenameField, Row, Transform
from debros.migrations.stages import Cell, Slot, Stage, Step, python_value
from debros.replica.cells import Document
from debros.replica.lifting import ABSENT
from debros.schema import FieldSpec, Schema

RULES: Final = 3  # counts up when documents show otherwise than before under the same migrations
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NONE: Final[frozenset[str]] = frozenset()
_NEVER: Final = 2**63
_INT64: Final = range(-(2**63), 2**63)


class Lifter:
    """The lift of one model, for one set of applied migrations."""

    def __init__(self, schema: Schema, steps: Sequence[Step], applied: frozenset[str], undone: frozenset[str]) -> None:
        """Compile the lift.

        Args:
            schema: the model's declaration.
            steps: all that its migrations do to it, oldest first.
            applied: names of those that are applied.
            undone: names of those that were applied and rolled back.
        """
        self._schema = schema
        self._ups = [step for step in steps if step.migration.name in applied]
        self._downs = [step for step in steps if step.migration.name in undone]
        self.below = max((step.migration.number for step in self._ups), default=0)
        self.above = min((step.migration.number for step in self._downs), default=_NEVER)
        self.fingerprint = repr(
            [[step.migration.name, step.migration.digest()] for step in self._ups]
            + [RULES, "down", *([step.migration.name, step.migration.digest()] for step in self._downs)]
        )
        self._has_times = any(
            isinstance(op, AddField) and op.make is not None
            for step in (*self._ups, *self._downs)
            for op in step.operations
        )
        is_read = any(
            isinstance(op, Transform) or (isinstance(op, AddField) and op.make is not None)
            for step in (*self._ups, *self._downs)
            for op in step.operations
        )
        self._readers = [_Reader(schema, step.before, is_read=is_read) for step in self._ups]
        self._down_reader = _Reader(schema, self._downs[-1].after, is_read=is_read) if self._downs else None
        stages = [stage for step in (*self._ups, *self._downs) for stage in (step.before, step.after)]
        self._shown = {id(stage): _registers(stage) for stage in stages}
        self._made = _made(self._ups)
        self._retyped = _retyped(steps, self._ups)
        self._numbers = [step.migration.number for step in self._ups]
        operations = [step.operations for step in self._ups]
        self._plain_ups = [[each.up for step in operations[n:] for each in step] for n in range(len(operations))]

    def told(self, fields: Collection[str]) -> str:
        """Return what tells the steps that may change what these fields show, `""` among them: any; empty if there are none."""
        by_name = self._schema.by_name
        attributes = {name.partition(".")[0] for name in fields} - {"meta"}  # what a path begins with
        wires = {by_name[name].wire for name in attributes if name in by_name}
        is_any = len(wires) < len(attributes)  # an expression, or a computed field
        told = [
            (way, step.migration.name, step.migration.digest())
            for way, steps in (("up", self._ups), ("down", self._downs))
            for step in steps
            if any(is_any or _may_change(operation, step, wires) for operation in step.operations)
        ]
        return repr(told) if told else ""

    def __call__(self, id: str, document: Document) -> tuple[Mapping[str, Any], bool]:
        """Return wire values to show instead of the cells', by stored name, and whether every step could be done.

        `ABSENT` is no value. A document for which a function raises, or returns what is no value of the field, shows as
        it is stored: what one writer wrote must not keep others from reading.
        """
        oldest, newest = self._versions(document)
        is_whole = self._made <= document.registers.keys()
        if oldest >= self.below and newest < self.above and is_whole:
            return _NOTHING, True
        try:
            return self._lifted(id, document, oldest if is_whole else 0, newest), True
        except Exception:  # whatever the program's functions raise: a row must not depend on it
            # where all cells are new, a newer program may have removed the one that is missing
            return _NOTHING, oldest >= self.below and newest < self.above

    def explain(self, id: str, document: Document) -> Mapping[str, Any]:
        """Like a call, but raise what a function raises."""
        oldest, newest = self._versions(document)
        return self._lifted(id, document, oldest if self._made <= document.registers.keys() else 0, newest)

    def _versions(self, document: Document) -> tuple[int, int]:
        """Return the oldest and the newest version of the registers' cells; without any, that of the newest change."""
        versions = [register[2] for register in document.registers.values()]
        if versions:
            return min(versions), max(versions)
        version = self.below if document.newest is None else document.newest[2]
        return version, version

    def _lifted(self, id: str, document: Document, oldest: int, newest: int) -> Mapping[str, Any]:
        if newest >= self.above and self._down_reader is not None:
            return self._lowered(id, document, oldest, newest, self._down_reader)
        ups = self._ups
        first = bisect_right(self._numbers, oldest)
        row, late, given = self._readers[first].read(id, document, self._has_times)
        if newest < self._numbers[0]:  # no cell is as new as any of them
            for up in self._plain_ups[first]:
                row = up(row, _NONE, late)
        else:
            ages = {wire: register[2] for wire, register in document.registers.items()}
            for step in ups[first:]:
                row = _raised(step, row, late, ages)
        return self._overrides(row, ups[-1].after, given, document.registers)

    def _lowered(self, id: str, document: Document, oldest: int, newest: int, reader: _Reader) -> Mapping[str, Any]:
        ages = {wire: register[2] for wire, register in document.registers.items()}
        row, late, given = reader.read(id, document, self._has_times)
        stage: Stage = self._downs[-1].after
        for step in reversed(self._downs):
            if newest >= step.migration.number:
                row = _lowered(step, row, late, ages)
            stage = step.before
        if oldest < self.below:
            ages = {wire: min(age, self.above - 1) for wire, age in ages.items()}
            first = bisect_right(self._numbers, oldest)
            row, late = _restaged(row, late, stage, self._ups[first].before)
            for step in self._ups[first:]:
                row = _raised(step, row, late, ages)
            stage = self._ups[-1].after
        return self._overrides(row, stage, given, document.registers)

    def _overrides(self, row: Row, stage: Stage, given: Row, cells: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what differs from the cells, by stored name, as wire values."""
        found: dict[str, Any] = {}
        for name, wire, spec in self._shown[id(stage)]:
            if name not in row:
                if wire in cells:
                    found[wire] = ABSENT
            elif wire not in given or row[name] is not given[wire] or self._is_of_old_type(wire, cells):
                try:
                    found[wire] = _wire_value(self._schema, spec, row[name])
                except ValueError:
                    if not self._downs:
                        raise
                    continue  # lowered to what this newer declaration cannot show: it shows as it is stored
        if self._downs:  # fields that there were not before what was rolled back
            shown = {slot.cell.wire for slot in stage.values()}
            later = {slot.cell.wire for slot in self._downs[-1].after.values() if slot.cell.spec is not None}
            for missing in later - shown:
                if missing is not None and missing in cells:
                    found[missing] = ABSENT
        return found

    def _is_of_old_type(self, wire: str, cells: Mapping[str, Any]) -> bool:
        """Whether a value that no function changed was written before a migration that changes its field's type."""
        return wire in self._retyped and wire in cells and cells[wire][2] < self._retyped[wire]


def _may_change(operation: Operation, step: Step, wires: Collection[str]) -> bool:
    """Whether an operation may change what is shown of one of these cells."""
    if isinstance(operation, AddField | ChangeField):
        slot = step.after.get(operation.name)  # none: it is renamed or removed behind it
        return slot is None or slot.cell.wire in wires
    return isinstance(operation, Transform)


class _Reader:
    """Makes the row of a document at one stage. Flat lists of what it needs: it runs for each document."""

    def __init__(self, schema: Schema, stage: Stage, *, is_read: bool) -> None:
        """Compile it; `is_read` says whether functions of the program see whole rows."""
        registers = [(n, s) for n, s in stage.items() if s.cell.spec is None or s.cell.spec.merge == "lww"]
        self._plain = [(n, s.cell.wire) for n, s in registers if s.codec is None or s.codec.from_wire is None]
        self._coded = [
            (n, s.cell.wire, s.codec.accepts, s.codec.from_wire)
            for n, s in registers
            if s.codec is not None and s.codec.from_wire is not None
        ]
        merged = [(n, s.cell.spec, s) for n, s in stage.items() if s.cell.spec is not None]
        self._merged = [(n, spec, s) for n, spec, s in merged if spec.merge != "lww" and is_read]
        known = {slot.cell.wire for slot in stage.values()}
        self._later = [spec for spec in schema.fields if spec.merge == "lww" and spec.wire not in known]
        self._defaults: Row = {
            n: _default(spec) for n, spec, _ in merged if spec.merge == "lww" and (spec.has_default or spec.nullable)
        }

    def read(self, id: str, document: Document, with_times: bool) -> tuple[Row, Row, Row]:
        """Return the row, the values of fields that are added later, and of registers in the row their values, by wire."""
        registers = document.registers
        row: Row = {"id": id}
        given: Row = {}
        late: Row = {}
        for name, wire in self._plain:
            try:
                row[name] = given[wire] = registers[wire][3]  # type: ignore[index]  # every cell has a stored name by now
            except KeyError:
                self._missing(name, wire, row, given)
        for name, wire, accepts, from_wire in self._coded:
            if wire in registers:
                value = registers[wire][3]
                row[name] = given[wire] = from_wire(value) if value is not None and accepts(value) else value
            else:
                self._missing(name, wire, row, given)
        for name, merged, slot in self._merged:
            row[name] = python_value(slot, merged_value(document, merged))
        for spec in self._later:
            if spec.wire in registers:
                wire_value = registers[spec.wire][3]
                late[spec.name] = given[spec.wire] = python_value(Slot(_NO_CELL, spec.codec), wire_value)
        if with_times:
            row["_created_at"] = _time(document.born)
            row["_updated_at"] = _time(document.newest)
        return row, late, given

    def _missing(self, name: str, wire: str | None, row: Row, given: Row) -> None:
        if name in self._defaults:
            row[name] = given[wire] = self._defaults[name]  # type: ignore[index]  # as above


def merged_value(document: Document, spec: FieldSpec) -> Any:
    """Return what a counter, a merged set or a kept field shows, as a wire value."""
    wire = spec.wire
    if spec.merge == "counter":
        return min(max(document.sums.get(wire, 0), _INT64.start), _INT64.stop - 1)
    if spec.merge == "set":
        cell = document.elements.get(wire)
        return [dagcbor.decode(encoded) for encoded in sorted(cell.living)] if cell else []
    kept = document.kept.get(wire)
    values = kept.values() if kept else []
    return values[0][1] if values else spec.default


def _raised(step: Step, row: Row, late: Row, ages: Mapping[str, int]) -> Row:
    number = step.migration.number
    names = _Names(step.before, step.after, {wire for wire, age in ages.items() if age >= number})
    for operation in step.operations:
        row = operation.up(row, names.fixed(), late)
        if isinstance(operation, RenameField):
            names.rename(operation.old, operation.new)
    return row


def _lowered(step: Step, row: Row, late: Row, ages: Mapping[str, int]) -> Row:
    number = step.migration.number
    names = _Names(step.after, step.before, {wire for wire, age in ages.items() if age < number})
    for operation in reversed(step.operations):
        row = operation.down(row, names.fixed(), late)
        if isinstance(operation, RenameField):
            names.rename(operation.new, operation.old)
    return row


class _Names:
    """What the fields with these cells are called while a step goes on."""

    def __init__(self, start: Stage, end: Stage, wires: set[str]) -> None:
        self._names = {name for stage in (end, start) for name, slot in stage.items() if slot.cell.wire in wires}

    def fixed(self) -> frozenset[str]:
        return frozenset(self._names)

    def rename(self, old: str, new: str) -> None:
        if old in self._names:
            self._names.discard(old)
            self._names.add(new)


def _restaged(row: Row, late: Row, here: Stage, there: Stage) -> tuple[Row, Row]:
    """Return a row under the names that its cells have at an earlier stage."""
    names = {slot.cell: name for name, slot in there.items()}
    moved: Row = {name: value for name, value in row.items() if name.startswith("_") or name == "id"}
    for name, slot in here.items():
        if name in row:
            if slot.cell in names:
                moved[names[slot.cell]] = row[name]
            else:
                late[name] = row[name]
    return moved, late


def _wire_value(schema: Schema, spec: FieldSpec, value: Any) -> Any:
    if value is None:
        if not spec.nullable:
            raise ValueError(f"{schema.name}.{spec.name} is None, and may not be")
        return None
    if not spec.codec.is_operand(value):
        raise ValueError(f"{schema.name}.{spec.name} is {value!r}, no {spec.codec.name}")
    wire = value if spec.codec.to_wire is None else spec.codec.to_wire(value)
    if not spec.codec.accepts(wire):
        raise ValueError(f"{schema.name}.{spec.name} is {value!r}, which cannot be stored as {spec.codec.name}")
    return wire


def _made(ups: Sequence[Step]) -> frozenset[str]:
    """Return the stored names of registers that older documents have no cell of, and that these migrations may make.

    Whatever is edited of such a document, as long as there is no cell the migrations give its value.
    """
    if not ups:
        return frozenset()
    operations = [operation for step in ups for operation in step.operations]
    last = ups[-1].after
    names = {each.name for each in operations if isinstance(each, AddField)}
    is_free = any(isinstance(each, Transform) for each in operations)
    added = {slot.cell for step in ups for name, slot in step.after.items() if name in names}
    return frozenset(wire for name, wire, _ in _registers(last) if is_free or last[name].cell in added)


def _retyped(steps: Sequence[Step], ups: Sequence[Step]) -> Mapping[str, int]:
    """Return the stored names of registers whose last change of type is applied, with the number of its migration."""
    last: dict[str, Step] = {}
    for step in steps:
        before = {id(slot.cell): slot.codec for slot in step.before.values()}
        changed = {each.name for each in step.operations if isinstance(each, ChangeField) and each.convert is not None}
        for name, slot in step.after.items():
            spec = slot.cell.spec
            is_other = before.get(id(slot.cell), slot.codec) is not slot.codec
            if spec is not None and spec.merge == "lww" and (name in changed or is_other):
                last[spec.wire] = step
    return {wire: step.migration.number for wire, step in last.items() if step in ups}


def _registers(stage: Stage) -> list[tuple[str, str, FieldSpec]]:
    """Return name, stored name and declaration of the registers that a stage has and the model still declares."""
    specs = [(name, slot.cell.spec) for name, slot in stage.items() if slot.cell.spec is not None]
    return [(name, spec.wire, spec) for name, spec in specs if spec.merge == "lww"]


def _default(spec: FieldSpec) -> Any:
    if not spec.has_default or spec.default is None or spec.codec.from_wire is None:
        return spec.default if spec.has_default else None
    return spec.codec.from_wire(spec.default)


def _time(stamp: tuple[Any, ...] | None) -> datetime | None:
    return None if stamp is None else _EPOCH + timedelta(milliseconds=stamp[0] >> 16)


_NOTHING: Final[Mapping[str, Any]] = {}
_NO_CELL: Final = Cell(None, None)
