"""The laws that migrations and merge policies must keep, tried on documents made at random, always the same ones.

`down(up(row)) == row` for every migration that says it has a way back; functions are pure: the same row gives the same
row, and the one they were given is left as it was; merging is the same in any order.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from copy import deepcopy
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from debros.migrations.operations import Row
from debros.migrations.stages import Slot, Stage, Step, python_value
from debros.replica.cells import Document
from debros.schema import Codec, FieldSpec, Schema

TRIED: Final = 100  # documents of each migration
_WORDS: Final = ("", "a", "Ana", "Bo Berg", "two words", "x@example.org", "0", "\u00e9t\u00e9", "\U0001f600", "a" * 40)
_EPOCH: Final = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


class Dice:
    """Numbers that look random and are the same each time."""

    def __init__(self, seed: str) -> None:
        self._seed, self._count = seed, 0

    def below(self, n: int) -> int:
        """Return a number from 0, less than `n`."""
        self._count += 1
        return int.from_bytes(sha256(f"{self._seed} {self._count}".encode()).digest()[:8], "big") % n

    def shuffled(self, items: list[Any]) -> list[Any]:
        """Return them in another order."""
        left, made = list(items), []
        while left:
            made.append(left.pop(self.below(len(left))))
        return made


def broken_migrations(schema: Schema, steps: tuple[Step, ...]) -> Iterator[str]:
    """Yield what is wrong with the functions of a model's migrations."""
    for step in steps:
        name, dice = step.migration.name, Dice(f"{schema.name} {step.migration.name}")
        for _ in range(TRIED):
            row = random_row(step.before, dice)
            try:
                up = _through(step, deepcopy(row), back=False, late={})
                again = _through(step, deepcopy(row), back=False, late={})
            except Exception as error:  # whatever the program's functions raise
                yield f"{name}: up raises {type(error).__name__}: {error} for {row!r}"
                break
            if up != again:
                yield f"{name}: up is not pure: {row!r} gives {up!r}, then {again!r}"
                break
            if not step.migration.is_reversible:
                continue
            late = {n: v for n, v in row.items() if n not in up and n not in step.after}
            try:
                down = _through(step, deepcopy(up), back=True, late=late)
            except Exception as error:  # as above
                yield f"{name}: down raises {type(error).__name__}: {error} for {up!r}"
                break
            wrong = [n for n in row if not n.startswith("_") and down.get(n) != row[n]]
            if wrong:
                yield f"{name}: down does not undo up: {', '.join(f'{n} was {row[n]!r} and is {down.get(n)!r}' for n in wrong)}"
                break


def _through(step: Step, row: Row, *, back: bool, late: Row) -> Row:
    for operation in reversed(step.operations) if back else step.operations:
        row = (operation.down if back else operation.up)(row, frozenset(), late)
    return row


def random_row(stage: Stage, dice: Dice) -> Row:
    """Return a row as a stage has it; fields whose type is not known are left out."""
    row: Row = {"id": f"d{dice.below(1000)}", "_created_at": _EPOCH, "_updated_at": _EPOCH}
    for name, slot in stage.items():
        value = random_value(slot, dice)
        if value is not _UNKNOWN:
            row[name] = value
    return row


def random_value(slot: Slot, dice: Dice) -> Any:
    """Return a value of a field at one stage."""
    if slot.codec is None:
        return _UNKNOWN
    if slot.cell.spec is not None and slot.cell.spec.nullable and dice.below(4) == 0:
        return None
    wire = random_wire(slot.codec, dice)
    return _UNKNOWN if wire is _UNKNOWN or not slot.codec.accepts(wire) else python_value(slot, wire)


def random_wire(codec: Codec, dice: Dice) -> Any:
    """Return a wire value of a type, `_UNKNOWN` where none can be made up."""
    make = _MAKERS.get(codec.kind)
    if make is not None:
        return make(dice)
    if codec.kind in ("list", "set", "tuple") and codec.item is not None:
        values = [random_wire(codec.item, dice) for _ in range(dice.below(3))]
        return _UNKNOWN if _UNKNOWN in values else (sorted(set(values), key=repr) if codec.kind == "set" else values)
    return {} if codec.kind == "map" else _UNKNOWN


_UNKNOWN: Final = object()
_MAKERS: Final[dict[str, Callable[[Dice], Any]]] = {
    "text": lambda dice: _WORDS[dice.below(len(_WORDS))],
    "int": lambda dice: dice.below(2000) - 1000,
    "float": lambda dice: float(dice.below(2000) - 1000) / 8,
    "bool": lambda dice: dice.below(2) == 1,
    "bytes": lambda dice: bytes(dice.below(256) for _ in range(dice.below(4))),
    "instant": lambda dice: dice.below(2**50),
    "duration": lambda dice: dice.below(2**40),
    "date": lambda dice: (_EPOCH + dt.timedelta(days=dice.below(900))).date().isoformat(),
    "time": lambda dice: dt.time(dice.below(24), dice.below(60)).isoformat(),
    "decimal": lambda dice: str(Decimal(dice.below(100_000)) / 100),
    "uuid": lambda dice: str(UUID(int=dice.below(2**60))),
}


def broken_merges(schema: Schema) -> Iterator[str]:
    """Yield fields whose merge depends on the order in which changes come."""
    for spec in schema.fields:
        dice = Dice(f"{schema.name}.{spec.name}")
        changes = [_change(spec, dice) for _ in range(8)]
        if any(change is None for change in changes):
            continue
        first = _cells(spec, list(enumerate(changes)))
        for _ in range(20):
            if _cells(spec, dice.shuffled(list(enumerate(changes)))) != first:
                yield f"{schema.name}.{spec.name}: merging ({spec.merge}) depends on the order"
                break


def _change(spec: FieldSpec, dice: Dice) -> dict[str, Any] | None:
    if spec.merge == "counter":
        return {"inc": {spec.wire: dice.below(9) - 4}}
    wire = random_wire(spec.codec, dice)
    if wire is _UNKNOWN:
        return None
    if spec.merge == "set":
        return {"add": {spec.wire: wire}}
    return {"keep": {spec.wire: [wire, []]}} if spec.merge == "keep" else {"put": {spec.wire: wire}}


def _cells(spec: FieldSpec, changes: list[tuple[int, Any]]) -> object:
    document = Document(lambda tie: int(tie).to_bytes(32, "big"))
    for n, change in changes:
        document.merge(change, 1 + n // 2, n, 1)
    elements, kept = document.elements.get(spec.wire), document.kept.get(spec.wire)
    living = None if elements is None else {value: frozenset(dots) for value, dots in elements.living.items()}
    return document.registers, document.sums, living, None if kept is None else kept.values()
