"""`db.migrations`: what is pending, applying it, taking it back, and what became of it.

A migration takes effect by one signed entry in the log of each scope that it concerns. The rows it changes are made
beforehand, in a table beside the model's, a batch at a time while the program goes on; they take the place of the old
ones in the transaction that makes the entry visible. So a reader, a crash or a power cut sees old rows or new ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import trio

from debros import current
from debros.blocks import cid
from debros.errors import DeadlineError, MigrationError, did_you_mean
from debros.identity.did import did_of
from debros.log import clock
from debros.migrations import counting
from debros.migrations.applying import Applying, Tell, Teller
from debros.migrations.builder import Migration
from debros.migrations.following import Following
from debros.migrations.plans import ProgramPlans
from debros.migrations.scopes import Scopes
from debros.migrations.steps import Event, Progress, State, Step
from debros.models.options import version_text
from debros.replica.lifting import APPLIED, ROLLED_BACK, RUNNING

if TYPE_CHECKING:
    from debros.node import Debros


class Migrations:
    """The migrations of one node."""

    def __init__(self, node: Debros, plans: ProgramPlans, classes: Mapping[str, Any]) -> None:
        """Take a program's migrations; `classes` are the opened models by stored name."""
        self._node = node
        self._plans = plans
        self.active: Progress | None = None  # the migration at work, or the last one that was
        self.on_progress: list[Tell] = []  # called with each; quick, never raising
        self._is_running = False
        self.following = Following(node.store, self._follows)
        self._scopes = Scopes(node, plans, classes)
        self._applying = Applying(node, self._scopes, classes, self.following)

    # -- the surface -------------------------------------------------------------------------------------------

    @property
    def all(self) -> tuple[Migration, ...]:
        """The migrations the node was opened with, in their order."""
        return self._plans.migrations

    @property
    def applied_count(self) -> int:
        """How many were applied here since the node opened."""
        return self._applying.count

    async def pending(self) -> list[Step]:
        """Return what `apply` would do, in that order, with the records concerned."""
        self._node.store.flush()
        return [await self._scopes.step(each, "pending") for each in self.all if self._scopes.pending_in(each)]

    def pending_names(self) -> list[str]:
        """Return the names of what is pending, without counting records."""
        return [each.name for each in self.all if self._scopes.pending_in(each)]

    async def plan(self, to: str | None = None) -> list[Step]:
        """Return what `apply(to)` would do.

        Raises:
            MigrationError: there is no such migration or version.
        """
        wanted = {each.name for each in self._scopes.up_to(to)}
        return [step for step in await self.pending() if step.name in wanted]

    async def states(self) -> list[Step]:
        """Return every migration with its state, those too that only the log knows."""
        self._node.store.flush()
        found = []
        for each in self.all:
            states = {record.state for record in self._scopes.records(each)}
            state: State = "pending" if self._scopes.pending_in(each) else "applied"
            if state == "pending" and RUNNING in states:
                state = "running"
            elif state == "pending" and states == {ROLLED_BACK}:
                state = "rolled back"
            found.append(await self._scopes.step(each, state))
        known = {each.name for each in self.all}
        lifts = self._node.store.lifts
        foreign = {
            r.name: r for n in self._node.store.lifts.homes() for r in lifts.records(n).values() if r.name not in known
        }
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
        chosen = self._scopes.up_to(to)
        if dry_run:
            self._node.store.flush()
            return [await self._scopes.dry(each) for each in chosen if self._scopes.pending_in(each)]
        done: list[Step] = []
        failed: set[str] = set()  # migrations, and models they concern
        async with self._alone():
            for each in chosen:
                homes = self._scopes.pending_in(each)
                concerned = {each.name, *each.depends, *self._plans.concerned[each.name]}
                if not homes or failed & concerned:
                    continue
                self._scopes.check_dependencies(each)
                tell = self._teller(each, progress)
                records = (await self._scopes.step(each, "applied")).records
                try:
                    await self._applying.apply(each, homes, records, tell, fake=fake, checks=not skip_checks)
                except MigrationError as error:
                    if not keep_going:
                        raise
                    failed |= {each.name, *self._plans.concerned[each.name]}
                    done.append(self._scopes.told(each, "pending", records, warnings=[str(error)]))
                    continue
                done.append(self._scopes.told(each, "applied", records, duration_s=tell.elapsed_s))
        return done

    async def rollback(self, to: str | None = None, *, progress: Tell | None = None) -> list[Step]:
        """Take the last applied migration back, or all behind `to` (a name or version; `"zero"`: all), and return them.

        Raises:
            MigrationError: nothing is applied, or one of them has no way back: none is taken back then.
        """
        self._node.store.flush()
        applied = [each for each in self.all if self._scopes.applied_in(each)]
        if to is None:
            chosen = applied[-1:]
        else:
            kept = set() if to == "zero" else {each.name for each in self._scopes.up_to(to)}
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
                tell = self._teller(each, progress)
                records = (await self._scopes.step(each, "rolled back")).records
                await self._applying.take_back(each, self._scopes.applied_in(each), records, tell)
                done.append(self._scopes.told(each, "rolled back", records, duration_s=tell.elapsed_s))
        return done

    async def caught_up(self) -> None:
        """Wait until all rows show what the migrations in the logs say.

        Those of our own do when `apply` returns. One that a peer applied is followed at once where a model has few records,
        and beside the program where it has many: until then all of them show as before.

        Raises:
            StorageError: the disk refused; asked again, it is tried again.
        """
        await self.following.caught_up()

    async def history(self) -> list[Event]:
        """Return what became of migrations, oldest first, as the logs of this node tell it."""
        store = self._node.store
        store.check_open()
        store.flush()
        found = []
        for n in self._node.store.lifts.homes():
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
        self._note(Progress("", "", "running", f"rows of {model} follow a peer", done, total, 0.0))

    def _teller(self, migration: Migration, progress: Tell | None) -> Teller:
        return Teller(self._node.env.monotonic_s, migration, self._note, progress)

    def _note(self, progress: Progress) -> None:
        self.active = progress
        for tell in self.on_progress:
            tell(progress)

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
