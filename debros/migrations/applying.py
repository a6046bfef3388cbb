"""Applying one migration, and taking one back: checks, the entries that say so, the rows, and undoing what fails."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from debros import audit
from debros.errors import DebrosError, MigrationError
from debros.migrations import writing
from debros.migrations.builder import Migration
from debros.migrations.following import Following
from debros.migrations.operations import Check
from debros.migrations.recording import Record, change_of, check_right
from debros.migrations.scopes import Scopes
from debros.migrations.steps import Progress
from debros.migrations.turning import Aim, turned
from debros.replica.lifting import APPLIED, ROLLED_BACK, RUNNING
from debros.replica.replica import Replica
from debros.replica.store import Model

if TYPE_CHECKING:
    from debros.node import Debros

Tell = Callable[[Progress], None]


class Teller:
    """Tells of the progress of one migration."""

    def __init__(self, monotonic_s: Callable[[], float], migration: Migration, *tells: Tell | None) -> None:
        self._monotonic_s, self._migration = monotonic_s, migration
        self._tells = [tell for tell in tells if tell is not None]
        self._begun_s = monotonic_s()
        self.total = 0

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return self._monotonic_s() - self._begun_s

    def __call__(self, state: Any, operation: str, done: int, error: str = "") -> None:
        """Tell how many records are done."""
        each, errors = self._migration, (error,) if error else ()
        told = Progress(each.name, each.version, state, operation, done, self.total, self.elapsed_s, errors)
        for tell in self._tells:
            tell(told)


class Applying:
    """What applies migrations to one node, one at a time."""

    def __init__(self, node: Debros, scopes: Scopes, classes: Mapping[str, Any], following: Following) -> None:
        self._node, self._scopes, self._classes, self._following = node, scopes, classes, following
        self.count = 0  # migrations applied since the node opened, once for each log

    async def apply(
        self, migration: Migration, homes: list[Replica], records: int, tell: Teller, *, fake: bool, checks: bool
    ) -> None:
        """Apply a migration in the logs where it is pending.

        Raises:
            MigrationError: a function or a check fails; what the migration did is undone.
            PermissionDeniedError: the acting identity may not write to a log, or is no admin of one that has some.
        """
        for home in homes:
            check_right(home, self._node.device())
        if checks:
            for check in migration.checks:
                if check.before:
                    await self._check(migration, check)
        finishes = (migration.writes and not fake) or any(not check.before for check in migration.checks if checks)
        for home in homes:
            record = self._node.store.lifts.records(home.n).get(migration.name)
            if record is None or record.state != RUNNING:
                said = {"version": migration.number, "records": records, "done": 0, "after": ""}
                await self._turn(migration, home, RUNNING if finishes else APPLIED, said, tell)
        if not finishes:
            tell("completed", "", 0)
            return
        try:
            if not fake:
                await writing.write(self._node, migration, homes[0], self._classes, tell)
            if checks:
                for check in migration.checks:
                    if not check.before:
                        tell("running", check.text, 0)
                        await self._check(migration, check)
        except Exception as error:  # whatever a function of the program raises, the migration is undone
            tell("failed", "undo", 0, str(error))
            await self._undo(migration, homes, tell, error)
            if isinstance(error, DebrosError):
                raise
            raise MigrationError(
                f"{migration.name} failed and was undone: {type(error).__name__}: {error}; correct it, then: debros migrate"
            ) from error
        for home in homes:
            await self._record(home, migration, {"state": APPLIED, "version": migration.number, "records": records})
        tell("completed", "", 0)

    async def take_back(self, migration: Migration, homes: list[Replica], records: int, tell: Teller) -> None:
        """Take a migration back in the logs where it is in effect.

        Raises:
            MigrationError: an operation that writes has no way back.
        """
        if migration.writes:
            for home in homes:
                record = self._node.store.lifts.records(home.n).get(migration.name)
                if record is not None and record.state == APPLIED:  # a crash from here on leaves it to be finished
                    await self._record(home, migration, {"state": RUNNING, "version": migration.number})
            await writing.unwrite(self._node, migration, homes[0], self._classes, tell)
        said = {"version": migration.number, "records": records, "done": 0, "after": ""}
        for home in homes:
            await self._turn(migration, home, ROLLED_BACK, said, tell)
        tell("rolled back", "", 0)

    async def _undo(self, migration: Migration, homes: list[Replica], tell: Teller, cause: Exception) -> None:
        """Take back what a failing migration did; what has no way back stays, and the error says so."""
        try:
            await self.take_back(migration, homes, 0, tell)
        except Exception as error:  # two errors: both are told
            raise MigrationError(
                f"{migration.name} failed ({cause}), and undoing it failed too: {type(error).__name__}: {error}; "
                "it is pending: correct it, then: debros migrate"
            ) from cause

    async def _check(self, migration: Migration, check: Check) -> None:
        self._node.store.flush()
        with self._node.current():
            outcome = check.function(self._node)
            if inspect.isawaitable(outcome):
                outcome = await outcome
        if outcome is False:
            raise MigrationError(f"{migration.name}: {check.text} failed; nothing of the migration stands")

    async def _record(self, home: Replica, migration: Migration, said: dict[str, Any]) -> None:
        change = change_of(home.manifest, migration.name, **said)
        await self._node.store.commit(Record(self._node.store, home, self._node.device(), change))

    async def _turn(self, migration: Migration, home: Replica, state: str, said: dict[str, Any], tell: Teller) -> None:
        """Make the rows as they will be, then write the entry that lets them show."""
        store = self._node.store

        def aims() -> list[Aim]:
            return [self._aim(model, home, migration, state) for model in self._scopes.models(migration)]

        def told(model: str, done: int, total: int) -> None:
            tell.total = total
            tell("running", f"rows of {model}", done)

        await self._following.caught_up()
        async with self._following.turn, turned(store, aims, told):
            change = change_of(home.manifest, migration.name, state=state, **said)
            await store.run_exclusively(Record(store, home, self._node.device(), change))
            store.flush()
        self.count += state == APPLIED
        audit.note("migration", name=migration.name, state=state, log=home.manifest.address)

    def _aim(self, model: Model, home: Replica, migration: Migration, state: str) -> Aim:
        behind = self._node.store.lifts.behind(model)
        logs = sorted({*self._scopes.logs(model, home), *behind})
        return Aim(model, logs, self._scopes.lifts(model, home, migration, applied=state != ROLLED_BACK), refuses=True)
