"""`db.migrations`: what is pending, applying it, taking it back, and what became of it.

A migration takes effect by one signed entry in the log of each scope that it concerns. The rows it changes are made
beforehand, in a table beside the model's, a batch at a time while the program goes on; they take the place of the old
ones in the transaction that makes the entry visible. So a reader, a crash or a power cut sees old rows or new ones.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import trio

from debros import audit, current
from debros.blocks import cid
from debros.errors import DeadlineError, DebrosError, MigrationError, did_you_mean
from debros.identity.did import did_of
from debros.log import clock
from debros.migrations import counting, writing
from debros.migrations.builder import Migration
from debros.migrations.following import Following
from debros.migrations.operations import Check, CopyTo
from debros.migrations.plans import ProgramPlans
from debros.migrations.recording import Record, change_of, check_right
from debros.migrations.steps import Event, Progress, Sample, State, Step
from debros.migrations.turning import Aim, turned
from debros.models.options import version_text
from debros.replica.lifting import APPLIED, ROLLED_BACK, RUNNING
from debros.replica.replica import Replica
from debros.replica.store import Model

if TYPE_CHECKING:
    from debros.node import Debros

SAMPLES: Final = 5  # of each model, in a dry run
Tell = Callable[[Progress], None]


class Migrations:
    """The migrations of one node."""

    def __init__(self, node: Debros, plans: ProgramPlans, classes: Mapping[str, Any]) -> None:
        """Take a program's migrations; `classes` are the opened models by stored name."""
        self._node = node
        self._plans = plans
        self._classes = classes
        self.active: Progress | None = None  # the migration at work, or the last one that was
        self._is_running = False
        self.applied_count = 0  # since the node opened
        self.following = Following(node.store, self._follows)

    # -- the surface -------------------------------------------------------------------------------------------

    @property
    def all(self) -> tuple[Migration, ...]:
        """The migrations the node was opened with, in their order."""
        return self._plans.migrations

    async def pending(self) -> list[Step]:
        """Return what `apply` would do, in that order, with the records concerned."""
        self._node.store.flush()
        return [await self._step(each, "pending") for each in self.all if self._homes(each)]

    def pending_names(self) -> list[str]:
        """Return the names of what is pending, without counting records."""
        return [each.name for each in self.all if self._homes(each)]

    async def plan(self, to: str | None = None) -> list[Step]:
        """Return what `apply(to)` would do.

        Raises:
            MigrationError: there is no such migration or version.
        """
        wanted = {each.name for each in self._up_to(to)}
        return [step for step in await self.pending() if step.name in wanted]

    async def states(self) -> list[Step]:
        """Return every migration with its state, those too that only the log knows."""
        self._node.store.flush()
        found = []
        for each in self.all:
            states = {record.state for record in self._records(each)}
            state: State = "pending" if self._homes(each) else "applied"
            if state == "pending" and RUNNING in states:
                state = "running"
            elif state == "pending" and states == {ROLLED_BACK}:
                state = "rolled back"
            found.append(await self._step(each, state))
        known = {each.name for each in self.all}
        lifts = self._node.store.lifts
        foreign = {r.name: r for n in self._known_logs() for r in lifts.records(n).values() if r.name not in known}
        return found + [Step(r.name, version_text(r.version), r.records, "unknown") for r in foreign.values()]

    async def get(self, name: str) -> Step:
        """Return one migration with its state.

        Raises:
            MigrationError: neither the program nor a log knows one of this name.
        """
        steps = {step.name: step for step in await self.states()}
        if name not in steps:
            raise MigrationError(
                f"there is no migration {name!r}{did_you_mean(str(name), steps)}; next: debros showmigrations"
            )
        return steps[name]

    @property
    def is_running(self) -> bool:
        """Whether a migration is being applied or taken back on this node."""
        return self._is_running

    async def apply(
        self, to: str | None = None, *, dry_run: bool = False, progress: Tell | None = None, fake: bool = False,
        skip_checks: bool = False, keep_going: bool = False,
    ) -> list[Step]:  # fmt: skip
        """Apply what is pending, one after the other, and return it.

        Args:
            to: the last one to apply: its name, or a version.
            dry_run: change nothing; the steps have samples of what would become of records.
            progress: called with how far it is.
            fake: only write down that it was applied; functions that write are not run.
            skip_checks: do not run checks.
            keep_going: where one fails, go on with those that neither depend on it nor concern its models; the failed ones
                are returned as pending, with what went wrong as a warning.

        Raises:
            MigrationError: a function or a check fails; what the migration did is undone, those before it stand.
            PermissionDeniedError: the acting identity may not write to the log, or is no admin of one that has some.
        """
        chosen = self._up_to(to)
        if dry_run:
            self._node.store.flush()
            return [await self._dry(each) for each in chosen if self._homes(each)]
        done: list[Step] = []
        failed: set[str] = set()  # migrations, and models they concern
        async with self._alone():
            for each in chosen:
                homes = self._homes(each)
                concerned = {each.name, *each.depends, *self._plans.concerned[each.name]}
                if not homes or failed & concerned:
                    continue
                self._check_dependencies(each)
                begun = self._node.env.monotonic_s()
                records = (await self._step(each, "applied")).records
                tell = _Teller(self, each, progress, begun)
                try:
                    await self._apply(each, homes, records, tell, fake=fake, checks=not skip_checks)
                except MigrationError as error:
                    if not keep_going:
                        raise
                    failed |= {each.name, *self._plans.concerned[each.name]}
                    done.append(self._told(each, "pending", records, warnings=[str(error)]))
                    continue
                duration = self._node.env.monotonic_s() - begun
                done.append(self._told(each, "applied", records, duration_s=duration))
        return done

    async def rollback(self, to: str | None = None, *, progress: Tell | None = None) -> list[Step]:
        """Take the last applied migration back, or all behind `to` (a name or version; `"zero"`: all), and return them.

        Raises:
            MigrationError: nothing is applied, or one of them has no way back: none is taken back then.
        """
        self._node.store.flush()
        applied = [each for each in self.all if self._applied_in(each)]
        if to is None:
            chosen = applied[-1:]
        else:
            kept = set() if to == "zero" else {each.name for each in self._up_to(to)}
            chosen = [each for each in applied if each.name not in kept]
        if not chosen and to is None:
            raise MigrationError("no migration is applied, so none can be rolled back; next: debros showmigrations")
        for each in chosen:
            for operation in each.operations:
                if not operation.is_reversible:
                    raise MigrationError(
                        f"{each.name} cannot be rolled back: {operation.text}; give it a way back, or restore a backup: "
                        "debros restore"
                    )
        done = []
        async with self._alone():
            for each in reversed(chosen):
                begun = self._node.env.monotonic_s()
                records = (await self._step(each, "rolled back")).records
                await self._take_back(each, self._applied_in(each), records, _Teller(self, each, progress, begun))
                duration = self._node.env.monotonic_s() - begun
                done.append(self._told(each, "rolled back", records, duration_s=duration))
        return done

    async def caught_up(self) -> None:
        """Wait until all rows show what the migrations in the logs say.

        Those of our own do when `apply` returns. One that a peer applied is followed at once where a model has few records,
        and beside the program where it has many: until then all of them show as before.
        """
        await self.following.caught_up()

    async def history(self) -> list[Event]:
        """Return what became of migrations, oldest first, as the logs of this node tell it."""
        store = self._node.store
        store.check_open()
        store.flush()
        found = []
        for n in self._known_logs():
            replica = store.by_number[n]
            for entry, change in store.lifts.entries(n):
                said = change.value.get("put", {})
                state, version = said.get("state"), said.get("version")
                if not entry.void and state in (APPLIED, RUNNING, ROLLED_BACK) and type(version) is int:
                    at = datetime.fromtimestamp(clock.ms(entry.clock) / 1000, UTC)
                    name, records = change.id.removesuffix("~admin"), said.get("records", 0)
                    event = Event(
                        name, version_text(version), state, records, at, did_of(entry.user), cid.to_text(entry.digest),
                        replica.manifest.address,
                    )  # fmt: skip
                    found.append((entry.clock, entry.digest, event))
        return [event for _, _, event in sorted(found, key=lambda item: item[:2])]

    def unreadable(self, model: str) -> int:
        """Return how many living records of a model are left out for a missing or unreadable value."""
        self._node.store.flush()
        opened = self._node.store.models.get(model)
        return 0 if opened is None else counting.count_unreadable(self._node.store, opened)

    def _follows(self, model: str, done: int, total: int) -> None:
        self.active = Progress("", "", "running", f"rows of {model} follow a peer", done, total, 0.0)

    # -- which, and where --------------------------------------------------------------------------------------

    def _up_to(self, to: str | None) -> list[Migration]:
        if to is None:
            return list(self.all)
        if not isinstance(to, str):
            raise MigrationError(f"to= is the name of a migration, or a version as text, not {to!r}")
        names = [each.name for each in self.all]
        if to in names:
            wanted = self.all[: names.index(to) + 1]
            needed = _dependencies(self.all[names.index(to)], {each.name: each for each in self.all})
            last = self.all[names.index(to)]
            return [each for each in wanted if each.number <= last.number or each.name in needed]
        versions = [each for each in self.all if _at_most(each, to)]
        if not any(each.version == to for each in self.all):
            raise MigrationError(
                f"there is no migration or version {to!r}{did_you_mean(to, names)}; next: debros showmigrations"
            )
        return versions

    def _models(self, migration: Migration) -> list[Model]:
        models = self._node.store.models
        return [models[name] for name in self._plans.concerned[migration.name] if name in models]

    def _scopes(self, migration: Migration) -> list[Replica]:
        """Return the logs that say whether a migration is applied: of the scopes of its models."""
        node, lifts = self._node, self._node.store.lifts
        homes: dict[int, Replica] = {}
        for model in self._models(migration):
            n = lifts.home_of(node.replica_of(model.table.schema, node.device().user))
            homes[n] = node.store.by_number[n]
        if not homes and not self._plans.concerned[migration.name]:
            homes[node.shared.n] = node.shared
        return list(homes.values())

    def _homes(self, migration: Migration) -> list[Replica]:
        """Return the logs in which a migration is pending."""
        return [home for home in self._scopes(migration) if self._is_pending(migration, home)]

    def _is_pending(self, migration: Migration, home: Replica) -> bool:
        record = self._node.store.lifts.records(home.n).get(migration.name)
        return record is None or record.state != APPLIED

    def _logs(self, model: Model, home: Replica) -> list[int]:
        """Return the logs with rows of a model for which a log's migrations count."""
        return self._node.store.lifts.logs_under(model, home.n)

    def _records(self, migration: Migration) -> list[Any]:
        found = [self._node.store.lifts.records(home.n).get(migration.name) for home in self._scopes(migration)]
        return [record for record in found if record is not None]

    def _applied_in(self, migration: Migration) -> list[Replica]:
        records = self._node.store.lifts.records
        found = []
        for home in self._scopes(migration):
            record = records(home.n).get(migration.name)
            if record is not None and record.state in (APPLIED, RUNNING):
                found.append(home)
        return found

    def _known_logs(self) -> list[int]:
        return self._node.store.lifts.homes()

    def _check_dependencies(self, migration: Migration) -> None:
        for name in migration.depends:
            if any(each.name == name and self._homes(each) for each in self.all):
                raise MigrationError(
                    f"{migration.name} depends on {name}, which is pending; next: debros migrate {name}"
                )

    async def _step(self, migration: Migration, state: State) -> Step:
        """Return a step with the records it concerns: those written under an older version, and those it copies."""
        store, records = self._node.store, 0
        homes = self._scopes(migration)
        lifted = {op.model for op in migration.operations if not op.writes}
        for model in self._models(migration):
            if lifted:
                for home in homes:
                    for log in self._logs(model, home):
                        for counted in counting.count_older(store, model, log, migration.number):
                            records += counted
                            await trio.lowlevel.checkpoint()
        for operation in migration.operations:
            source = store.models.get(operation.model)
            if isinstance(operation, CopyTo) and source is not None:
                records += sum(
                    counting.count_shown(store, source, n) for home in homes for n in self._logs(source, home)
                )
        return self._told(migration, state, records)

    def _told(
        self, migration: Migration, state: State, records: int, *, duration_s: float = 0.0,
        samples: Sequence[Sample] = (), warnings: Sequence[str] = (),
    ) -> Step:  # fmt: skip
        return Step(
            migration.name, migration.version, records, state, migration.description, migration.author, migration.tags,
            self._plans.concerned[migration.name], tuple(operation.text for operation in migration.operations),
            migration.is_reversible, tuple(samples), tuple(warnings), duration_s,
        )  # fmt: skip

    # -- doing it ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        self._node.store.check_open()
        if self._is_running:
            raise MigrationError("a migration is running on this node already; wait for its end")
        if current.context().transaction is not None:
            raise MigrationError("migrations write entries of their own: apply them outside the transaction")
        self._is_running = True
        longest_s = self._node.config.migration_timeout_s
        try:
            with trio.move_on_after(float("inf") if longest_s is None else longest_s) as scope:
                yield
            if scope.cancelled_caught:
                raise DeadlineError(
                    f"migrations took more than migration_timeout_s={longest_s:g}; what is done stands, what is not is "
                    "pending; next: debros showmigrations"
                )
        finally:
            self._is_running = False

    def _lifts(self, model: Model, home: Replica, migration: Migration, *, applied: bool) -> dict[int, Any]:
        """Return the lifts of a model as they will be once a migration is applied, or rolled back, in a log."""
        store, name = self._node.store, model.table.schema.name
        lifts = dict(store.lifts.lifts_of(model))
        records = store.lifts.records(home.n)
        ups = {n for n, record in records.items() if record.state in (APPLIED, RUNNING)} - {migration.name}
        downs = {n for n, record in records.items() if record.state == ROLLED_BACK} - {migration.name}
        (ups if applied else downs).add(migration.name)
        known = {each.name for each in self.all}
        lifter = self._plans.lifter(name, frozenset(ups & known), frozenset(downs & known))
        lifts.update(dict.fromkeys(self._logs(model, home), lifter))
        return lifts

    async def _dry(self, migration: Migration) -> Step:
        """Return a step with samples of what it would do."""
        step = await self._step(migration, "pending")
        found: list[Sample] = []
        for home in self._homes(migration):
            for model in self._models(migration):
                shape = self._classes[model.table.schema.name].__shape__
                lifts = self._lifts(model, home, migration, applied=True)
                logs = self._logs(model, home)
                found += counting.samples(self._node.store, model, logs, lifts, SAMPLES, shape.values_of)
        warnings = [f"{op.text}: it cannot be rolled back" for op in migration.operations if not op.is_reversible]
        return self._told(migration, "pending", step.records, samples=found, warnings=warnings)

    async def _apply(
        self, migration: Migration, homes: list[Replica], records: int, tell: _Teller, *, fake: bool, checks: bool
    ) -> None:
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

    async def _undo(self, migration: Migration, homes: list[Replica], tell: _Teller, cause: Exception) -> None:
        """Take back what a failing migration did; what has no way back stays, and the error says so."""
        try:
            await self._take_back(migration, homes, 0, tell)
        except Exception as error:  # two errors: both are told
            raise MigrationError(
                f"{migration.name} failed ({cause}), and undoing it failed too: {type(error).__name__}: {error}; "
                "it is pending: correct it, then: debros migrate"
            ) from cause

    async def _take_back(self, migration: Migration, homes: list[Replica], records: int, tell: _Teller) -> None:
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

    async def _turn(self, migration: Migration, home: Replica, state: str, said: dict[str, Any], tell: _Teller) -> None:
        """Make the rows as they will be, then write the entry that lets them show."""
        store = self._node.store

        def aims() -> list[Aim]:
            return [self._aim(model, home, migration, state) for model in self._models(migration)]

        def told(model: str, done: int, total: int) -> None:
            tell.total = total
            tell("running", f"rows of {model}", done)

        await self.following.caught_up()
        async with self.following.turn, turned(store, aims, told):
            change = change_of(home.manifest, migration.name, state=state, **said)
            await store.run_exclusively(Record(store, home, self._node.device(), change))
            store.flush()
        self.applied_count += state == APPLIED
        audit.note("migration", name=migration.name, state=state, log=home.manifest.address)

    def _aim(self, model: Model, home: Replica, migration: Migration, state: str) -> Aim:
        behind = self._node.store.lifts.behind(model)
        logs = sorted({*self._logs(model, home), *behind})
        return Aim(model, logs, self._lifts(model, home, migration, applied=state != ROLLED_BACK), refuses=True)


class _Teller:
    """Tells of the progress of one migration."""

    def __init__(self, owner: Migrations, migration: Migration, tell: Tell | None, begun_s: float) -> None:
        self._owner, self._migration, self._tell, self._begun_s = owner, migration, tell, begun_s
        self.total = 0

    def __call__(self, state: Any, operation: str, done: int, error: str = "") -> None:
        elapsed_s = self._owner._node.env.monotonic_s() - self._begun_s
        errors = (error,) if error else ()
        each = self._migration
        told = Progress(each.name, each.version, state, operation, done, self.total, elapsed_s, errors)
        self._owner.active = told
        if self._tell is not None:
            self._tell(told)


def _dependencies(migration: Migration, by_name: Mapping[str, Migration]) -> set[str]:
    found: set[str] = set()
    open_ends = [migration.name]
    while open_ends:
        name = open_ends.pop()
        if name not in found:
            found.add(name)
            open_ends += by_name[name].depends
    return found


def _at_most(migration: Migration, version: str) -> bool:
    parts = version.split(".")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        return False
    return migration.number <= int(parts[0]) * 10**6 + int(parts[1]) * 1000 + int(parts[2])
