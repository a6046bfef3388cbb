"""Which migrations a program has, in which logs they are pending or applied, and the steps that tell of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import trio

from debros.errors import MigrationError, did_you_mean
from debros.migrations import counting
from debros.migrations.builder import Migration
from debros.migrations.graph import behind
from debros.migrations.operations import CopyTo
from debros.migrations.plans import ProgramPlans
from debros.migrations.steps import Sample, State, Step
from debros.replica.lifting import APPLIED, ROLLED_BACK, RUNNING
from debros.replica.replica import Replica
from debros.replica.store import Model

if TYPE_CHECKING:
    from debros.node import Debros

SAMPLES: Final = 5  # of each model, in a dry run


class Scopes:
    """The migrations of a program, in the logs of one node and for the acting identity."""

    def __init__(self, node: Debros, plans: ProgramPlans, classes: Mapping[str, Any]) -> None:
        """Take a program's migrations; `classes` are the opened models by stored name."""
        self._node, self._plans, self._classes = node, plans, classes

    @property
    def all(self) -> tuple[Migration, ...]:
        """The migrations the node was opened with, in their order."""
        return self._plans.migrations

    def up_to(self, to: str | None) -> list[Migration]:
        """Return the migrations up to one, by its name or version, and what they depend on.

        Raises:
            MigrationError: there is no such migration or version.
        """
        if to is None:
            return list(self.all)
        if not isinstance(to, str):
            raise MigrationError(f"to= is the name of a migration, or a version as text, not {to!r}")
        names = [each.name for each in self.all]
        if to in names:
            wanted, last = self.all[: names.index(to) + 1], self.all[names.index(to)]
            needed = behind(last, {each.name: each for each in self.all})
            return [each for each in wanted if each.number <= last.number or each.name in needed]
        versions = [each for each in self.all if _at_most(each, to)]
        if not any(each.version == to for each in self.all):
            raise MigrationError(
                f"there is no migration or version {to!r}{did_you_mean(to, names)}; next: debros showmigrations"
            )
        return versions

    def models(self, migration: Migration) -> list[Model]:
        """Return the opened models that a migration is about."""
        models = self._node.store.models
        return [models[name] for name in self._plans.concerned[migration.name] if name in models]

    def of(self, migration: Migration) -> list[Replica]:
        """Return the logs that say whether a migration is applied: of the scopes of its models."""
        node, lifts = self._node, self._node.store.lifts
        homes: dict[int, Replica] = {}
        for model in self.models(migration):
            n = lifts.home_of(node.replica_of(model.table.schema, node.device().user))
            homes[n] = node.store.by_number[n]
        if not homes and not self._plans.concerned[migration.name]:
            homes[node.shared.n] = node.shared
        return list(homes.values())

    def pending_in(self, migration: Migration) -> list[Replica]:
        """Return the logs in which a migration is pending."""
        return [home for home in self.of(migration) if self._is_pending(migration, home)]

    def _is_pending(self, migration: Migration, home: Replica) -> bool:
        record = self._node.store.lifts.records(home.n).get(migration.name)
        return record is None or record.state != APPLIED

    def logs(self, model: Model, home: Replica) -> list[int]:
        """Return the logs with rows of a model for which a log's migrations count."""
        return self._node.store.lifts.logs_under(model, home.n)

    def records(self, migration: Migration) -> list[Any]:
        """Return what the logs of its scopes say of a migration."""
        found = [self._node.store.lifts.records(home.n).get(migration.name) for home in self.of(migration)]
        return [record for record in found if record is not None]

    def applied_in(self, migration: Migration) -> list[Replica]:
        """Return the logs in which a migration is in effect."""
        records = self._node.store.lifts.records
        found = []
        for home in self.of(migration):
            record = records(home.n).get(migration.name)
            if record is not None and record.state in (APPLIED, RUNNING):
                found.append(home)
        return found

    def check_dependencies(self, migration: Migration) -> None:
        """Raise `MigrationError` if a migration depends on one that is pending."""
        for name in migration.depends:
            if any(each.name == name and self.pending_in(each) for each in self.all):
                raise MigrationError(
                    f"{migration.name} depends on {name}, which is pending; next: debros migrate {name}"
                )

    async def step(self, migration: Migration, state: State) -> Step:
        """Return a step with the records it concerns: those written under an older version, and those it copies."""
        store, records = self._node.store, 0
        homes = self.of(migration)
        lifted = {op.model for op in migration.operations if not op.writes}
        for model in self.models(migration):
            if lifted:
                for home in homes:
                    for log in self.logs(model, home):
                        for counted in counting.count_older(store, model, log, migration.number):
                            records += counted
                            await trio.lowlevel.checkpoint()
        for operation in migration.operations:
            source = store.models.get(operation.model)
            if isinstance(operation, CopyTo) and source is not None:
                records += sum(
                    counting.count_shown(store, source, n) for home in homes for n in self.logs(source, home)
                )
        return self.told(migration, state, records)

    def told(
        self, migration: Migration, state: State, records: int, *, duration_s: float = 0.0,
        samples: Sequence[Sample] = (), warnings: Sequence[str] = (),
    ) -> Step:  # fmt: skip
        """Return the step that tells of a migration."""
        return Step(
            migration.name, migration.version, records, state, migration.description, migration.author, migration.tags,
            self._plans.concerned[migration.name], tuple(operation.text for operation in migration.operations),
            migration.is_reversible, tuple(samples), tuple(warnings), duration_s,
        )  # fmt: skip

    def lifts(self, model: Model, home: Replica, migration: Migration, *, applied: bool) -> dict[int, Any]:
        """Return the lifts of a model as they will be once a migration is applied, or rolled back, in a log."""
        store, name = self._node.store, model.table.schema.name
        lifts = dict(store.lifts.lifts_of(model))
        records = store.lifts.records(home.n)
        ups = {n for n, record in records.items() if record.state in (APPLIED, RUNNING)} - {migration.name}
        downs = {n for n, record in records.items() if record.state == ROLLED_BACK} - {migration.name}
        (ups if applied else downs).add(migration.name)
        known = {each.name for each in self.all}
        lifter = self._plans.lifter(name, frozenset(ups & known), frozenset(downs & known))
        lifts.update(dict.fromkeys(self.logs(model, home), lifter))
        return lifts

    async def dry(self, migration: Migration) -> Step:
        """Return a step with samples of what it would do."""
        step = await self.step(migration, "pending")
        found: list[Sample] = []
        for home in self.pending_in(migration):
            for model in self.models(migration):
                shape = self._classes[model.table.schema.name].__shape__
                lifts = self.lifts(model, home, migration, applied=True)
                logs = self.logs(model, home)
                found += counting.samples(self._node.store, model, logs, lifts, SAMPLES, shape.values_of)
        warnings = [f"{op.text}: it cannot be rolled back" for op in migration.operations if not op.is_reversible]
        return self.told(migration, "pending", step.records, samples=found, warnings=warnings)


def _at_most(migration: Migration, version: str) -> bool:
    parts = version.split(".")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        return False
    return migration.number <= int(parts[0]) * 10**6 + int(parts[1]) * 1000 + int(parts[2])
