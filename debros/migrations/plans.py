"""The migrations of one program, ordered and fitted to its models: what the view asks, and what the runner applies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from debros.errors import MigrationError
from debros.log.layout import wire_bounds
from debros.migrations.builder import Migration
from debros.migrations.graph import concerned, stored_names
from debros.migrations.lifter import Lifter
from debros.migrations.resharding import first_sharding
from debros.migrations.stages import Step, steps_of, stored_fields
from debros.models.build import build
from debros.models.sharding import Sharding, Strategy, layout_of
from debros.replica.layouts import key_codec
from debros.replica.lifting import APPLIED, ROLLED_BACK, RUNNING, Record
from debros.schema import Schema


class ProgramPlans:
    """Ordered migrations, and what they do to each opened model."""

    def __init__(self, migrations: Sequence[Migration], schemas: Iterable[Schema]) -> None:
        """Fit migrations, ordered by `ordered`, to the declarations of the models.

        Raises:
            MigrationError: they do not fit.
        """
        self.migrations = tuple(migrations)
        stored = stored_names(self.migrations)
        self.concerned = {each.name: concerned(each, stored) for each in self.migrations}
        self._steps: dict[str, tuple[Step, ...]] = {}
        self._schemas: dict[str, Schema] = {}
        for schema in schemas:
            steps = steps_of(schema, self.migrations)
            _check_version(schema, steps)
            self._schemas[schema.name] = schema
            self._steps[schema.name] = steps
        self._lifters: dict[tuple[str, frozenset[str], frozenset[str]], Lifter] = {}

    def lift(self, model: str, records: Mapping[str, Record]) -> Lifter | None:
        """Return the lift of a model where the log says this, `None` if there is nothing to lift."""
        steps = self._steps.get(model, ())
        names = {step.migration.name for step in steps}
        applied = frozenset(n for n, r in records.items() if n in names and r.state in (APPLIED, RUNNING))
        undone = frozenset(n for n, r in records.items() if n in names and r.state == ROLLED_BACK)
        return self.lifter(model, applied, undone) if applied or undone else None

    def lifter(self, model: str, applied: frozenset[str], undone: frozenset[str]) -> Lifter:
        """Return the lift of a model under these migrations."""
        key = model, applied, undone
        found = self._lifters.get(key)
        if found is None:
            made = Lifter(self._schemas[model], self._steps.get(model, ()), applied, undone)
            found = self._lifters[key] = made
        return found

    def unapplied(self, model: str, records: Mapping[str, Record]) -> Sequence[tuple[str, int, bool]]:
        """Return (name, version, always) of what is not applied to a model."""
        found: list[tuple[str, int, bool]] = []
        for each in self.migrations:
            if model in self.concerned[each.name]:
                record = records.get(each.name)
                if record is None or record.state != APPLIED:
                    found.append((each.name, each.number, each.halts or record is not None))
        return found


def _check_version(schema: Schema, steps: Sequence[Step]) -> None:
    if steps and steps[-1].migration.number > schema.version:
        newest = steps[-1].migration
        raise MigrationError(
            f"{newest.name} brings {schema.name} to {newest.version}, and the class does not declare that version; "
            f'next: @model(version="{newest.version}")'
        )


def rename_models(classes: Iterable[Any], migrations: Sequence[Migration]) -> None:
    """Let renamed models and fields keep their stored names, as `name=` would say, and sharded ones their first layout.

    A class is built anew where that changes something.

    Raises:
        MigrationError: the migrations do not fit the declarations.
    """
    stored = stored_names(migrations)
    for cls in classes:
        options = getattr(cls, "__options__", None)
        if options is None or cls.__schema__ is None:
            continue  # no model: `check_models` says so
        name = stored.get(options.name, options.name)
        wires = stored_fields(replace(cls.__schema__, name=name), migrations)
        first = first_sharding(name, options.sharding, migrations)
        renamed = name != cls.__schema__.name or any(cls.__schema__.by_name[a].wire != w for a, w in wires.items())
        if renamed or not _declares(cls.__schema__, first):
            build(cls, replace(options, name=name), wires, first)


def _declares(schema: Schema, sharding: Sharding | Strategy | None) -> bool:
    """Whether a schema has the layout of a strategy."""
    if schema.sharding is None or sharding is None:
        return True
    layout = layout_of(sharding)
    if isinstance(layout, int):
        return schema.sharding.n == layout
    return schema.sharding.bounds == wire_bounds(layout, key_codec(schema))
