"""Which migrations are in effect in which log, and the rows that follow from it.

Applied migrations are documents of the model `_migrations` in the log of their scope: the shared one, or a user's own.
So peers that have the same entries agree on what is applied, and whoever has the migrations' code shows the same
rows. The entries are few: they are read from the log and folded when a home is opened.

Rows are projected anew in the flush that brings such an entry, so a view on disk is always the fold of a prefix of the
log; what a view's rows are lifted by is written down in that transaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from debros.errors import MigrationPendingError
from debros.log.manifest import Manifest
from debros.replica.cells import Document
from debros.replica.changes import models_of
from debros.replica.entries import EntryRow
from debros.replica.relifting import beside, drop_aside, in_place, note, pairs, project_again
from debros.replica.tables import DELETED, quoted

if TYPE_CHECKING:
    from debros.replica.changes import Change
    from debros.replica.replica import Replica
    from debros.replica.store import Admitted, Model, Store

MODEL: Final = "_migrations"
ADMINS_ONLY: Final = "~admin"
APPLIED: Final = "applied"
RUNNING: Final = "running"  # in effect, and something of it is still to be written or checked
ROLLED_BACK: Final = "rolled back"
ABSENT: Final = object()
SHORT: Final = 500  # rows of a model that are made anew in the flush; more of them are, while the program goes on

_migrating: ContextVar[bool] = ContextVar("debros_migrating", default=False)


class Record(NamedTuple):
    """What a log says of one migration."""

    name: str
    version: int
    state: str
    done: int  # operations that write entries, of which all is written
    after: str  # id of the last record that the one in progress has copied
    records: int  # that it concerned where it was applied
    e: int  # number of the entry that said so last


class Lift(Protocol):
    """How documents of one model show. Documents whose versions are all at least `below`, and less than `above`, as is."""

    below: int
    above: int
    fingerprint: str

    def told(self, fields: Collection[str]) -> str:
        """Return what tells the steps that may change what these fields show, `""` among them: any; empty if there are none."""
        ...

    def __call__(self, id: str, document: Document) -> tuple[Mapping[str, Any], bool]:
        """Return values to show instead of the cells', by stored name (`ABSENT`: none), and whether all could be done."""
        ...


class Plans(Protocol):
    """The migrations that a program knows."""

    def lift(self, model: str, records: Mapping[str, Record]) -> Lift | None:
        """Return the lift of a model where the log says this, `None` if there is nothing to lift."""
        ...

    def unapplied(self, model: str, records: Mapping[str, Record]) -> Sequence[tuple[str, int, bool]]:
        """Return (name, version, always) of what is not applied; `always`: pending whatever documents there are."""
        ...


class NoPlans:
    """A program without migrations."""

    def lift(self, model: str, records: Mapping[str, Record]) -> Lift | None:
        return None

    def unapplied(self, model: str, records: Mapping[str, Record]) -> Sequence[tuple[str, int, bool]]:
        return ()


class Lifts:
    """The migrations in effect in one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.plans: Plans = NoPlans()
        self.guards = False  # whether any model may have to refuse writes
        self._all: dict[int, dict[tuple[int, str], Change]] = {}  # log -> (entry, id) -> change, void ones too
        self._new: list[tuple[int, int]] = []  # (e, log), not yet in the view
        self._records: dict[int, dict[str, Record]] = {}  # by log, as of the entries folded
        self._blocked: dict[tuple[str, int], str] = {}  # (model, log) -> the pending migration, or ""
        self.changed = False  # what is in effect may differ from what rows in the file show
        self._shown: dict[str, dict[int, str]] = {}  # model -> log -> fingerprint of what its rows are lifted by
        self._next: dict[str, dict[int, str]] = {}  # what `_shown` becomes when the flush is committed
        self._moved: list[Model] = []  # whose rows in memory are stale then
        self.made: dict[str, Collection[int]] = {}  # model -> logs whose lifted rows wait in a table beside it
        self.turns = 0  # how often rows were made anew
        self.on_behind: Callable[[], None] | None = None  # told that rows have to be made anew; `None`: a flush does it

    # -- opening ---------------------------------------------------------------------------------------------

    def begin(self, plans: Plans, fresh: Iterable[str]) -> None:
        """Take up what the log says; models in `fresh` have no rows yet."""
        store = self._store
        self.plans = plans
        self.guards = not isinstance(plans, NoPlans)
        for e, log in store.view.read("SELECT e, log FROM migrations ORDER BY e", ()):
            entry = store.entries.by_number(e)
            for change in store.changes_of(entry):
                if change.model == MODEL and store.by_number[log].manifest.part is None:
                    self._take(log, entry, change)
        shown = json.loads(store.view.meta("lifts") or "{}")
        self._shown = {name: {int(log): told for log, told in logs.items()} for name, logs in shown.items()}
        for name in fresh:
            self._shown[name] = self._wanted(store.models[name])
        for model in store.models.values():
            self._set(model)
        self.changed = bool(self._all) and any(name in self._shown for name in fresh)
        self.changed |= any(self.behind(model) for model in store.models.values())
        if self.guards:
            store.on_admitted.append(self._hear)
        tables = {name for (name,) in store.view.read("SELECT name FROM sqlite_master WHERE type = 'table'", ())}
        for model in store.models.values():
            if beside(model) in tables:  # a process ended while it made rows
                drop_aside(store, model)

    # -- the log ---------------------------------------------------------------------------------------------

    def note(self, replica: Replica, change: Change, entry: EntryRow) -> None:
        """Take an admitted change of `_migrations` in; rows follow with the next flush."""
        self._take(replica.n, entry, change)
        self._new.append((entry.e, replica.n))
        self.changed = True

    def reconsider(self, replica: Replica) -> None:
        """Fold a log's migrations again: entries became void, or count again."""
        if self._records.pop(replica.n, None) is not None:
            self.changed = True
            self._blocked.clear()

    def _take(self, log: int, entry: EntryRow, change: Change) -> None:
        self._all.setdefault(log, {})[entry.e, change.id] = change
        self._records.pop(log, None)
        self._blocked.clear()

    def take(self, replica: Replica) -> None:
        """Notice a log that is new here: a shard's rows follow the migrations of its scope's log."""
        if self._all and replica.manifest.part:
            self.changed = True

    def records(self, log: int) -> Mapping[str, Record]:
        """Return what a log says of migrations, by name."""
        found = self._records.get(log)
        if found is None:
            found = self._records[log] = self._folded(log)
        return found

    def _folded(self, log: int) -> dict[str, Record]:
        store = self._store
        documents: dict[str, Document] = {}
        for (e, id), change in self._all.get(log, {}).items():
            entry = store.entries.by_number(e)
            if not entry.void:
                document = documents.get(id) or documents.setdefault(id, Document(store.entries.digest_of))
                document.merge(change.value, entry.clock, e, change.version)
        manifest = store.by_number[log].manifest
        found = (_record(id, document, manifest) for id, document in documents.items())
        return {record.name: record for record in found if record is not None}

    def homes(self) -> list[int]:
        """Return the logs that speak of migrations."""
        return sorted(self._all)

    def entries(self, log: int) -> list[tuple[EntryRow, Change]]:
        """Return every entry that speaks of migrations in a log, void ones too, oldest first."""
        found = [(self._store.entries.by_number(e), change) for (e, _), change in self._all.get(log, {}).items()]
        return sorted(found, key=lambda pair: (pair[0].clock, pair[0].digest))

    def home_of(self, replica: Replica) -> int:
        """Return the number of the log whose migrations count for the rows of a log: a shard's are in its scope's log."""
        manifest = replica.manifest
        if not manifest.part:
            return replica.n
        return self._store.replica(replace(manifest, part=None)).n

    # -- what is in effect -------------------------------------------------------------------------------------

    def _wanted(self, model: Model) -> dict[int, str]:
        """Return what the rows of a model should be lifted by, by log."""
        return {log: lift.fingerprint for log, lift in self.lifts_of(model).items()}

    def lifts_of(self, model: Model) -> dict[int, Lift]:
        """Return the lift of a model in each log that has one."""
        found: dict[int, Lift] = {}
        if not self._all:
            return found
        for home in self._all:
            logs = self.logs_under(model, home)
            lift = self.plans.lift(model.table.schema.name, self.records(home)) if logs else None
            if lift is not None:
                found.update(dict.fromkeys(logs, lift))
        return found

    def logs_under(self, model: Model, home: int) -> list[int]:
        """Return the logs with records of a model for which the migrations in a log count: itself, and shards."""
        schema, logs = model.table.schema, self._store.by_number
        if logs[home].manifest.scope != schema.scope:
            return []
        if schema.sharding is None:
            return [home]
        shards = [r for r in logs.of_shards() if r.manifest.part is not None and r.manifest.part[0] == schema.name]
        return [home, *(replica.n for replica in shards if self.home_of(replica) == home)]

    def _set(self, model: Model) -> None:
        model.projection.lifts = self.lifts_of(model)

    def behind(self, model: Model) -> list[int]:
        """Return the logs whose rows in the file are lifted otherwise than they should be."""
        shown, wanted = self._shown.get(model.table.schema.name, {}), self._wanted(model)
        return [log for log in sorted(shown.keys() | wanted.keys()) if shown.get(log) != wanted.get(log)]

    def not_shown_yet(self, model: Model) -> float:
        """Return the number of the newest entry about migrations while a model's rows are not what it makes them, else infinity."""
        if not self._all or not self.behind(model):
            return inf
        return max(e for changes in self._all.values() for e, _ in changes)

    def told(self, model: Model, logs: Collection[int] | None, fields: Collection[str]) -> list[str]:
        """Return what tells how values of these fields are lifted in the rows as they are now: one text for each log where they are."""
        shown = self._shown.get(model.table.schema.name, {})
        lifts = model.projection.lifts
        found = [(shown.get(log, ""), lift) for log, lift in lifts.items() if logs is None or log in logs]
        # rows that are being made anew beside the program are still as another lift made them
        return sorted(
            filter(None, (lift.told(fields) if is_by == lift.fingerprint else f"by {is_by}" for is_by, lift in found))
        )

    def _is_long(self, model: Model, logs: Sequence[int]) -> bool:
        marks = ", ".join("?" * len(logs))
        found = f'SELECT 1 FROM {quoted(model.table.name)} WHERE "_log" IN ({marks}) LIMIT 1 OFFSET {SHORT}'
        return bool(self._store.view.read(found, tuple(logs)))

    # -- in the flush --------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Write which entries speak of migrations, within the flush's transaction."""
        if self._new:
            self._store.view.db.executemany("INSERT OR IGNORE INTO migrations VALUES (?, ?)", self._new)

    def settle(self) -> None:
        """Bring all rows in the file in line with what is in effect, within the flush's transaction.

        Where there are many and `on_behind` is somebody who makes them beside the program, they stay as they are, all of
        them and those that come, until they can be replaced at once.
        """
        self._next, self._moved = dict(self._shown), []
        is_behind = False
        for name, model in self._store.models.items():
            logs = self.behind(model)
            if not logs:
                continue
            made = self.made.pop(name, None)
            if made is not None and set(logs) <= set(made):
                self._set(model)
                self._take_made(model)
            elif self.on_behind is not None and self._is_long(model, logs):
                is_behind = True
                continue
            else:
                self._set(model)
                for _ in project_again(self._store, model, logs, in_place(self._store, model)):
                    pass
            self._next[name] = self._wanted(model)
            self._moved.append(model)
        self._store.view.set_meta("lifts", json.dumps(self._next))
        if is_behind and self.on_behind is not None:
            self.on_behind()

    def forget(self) -> list[str]:
        """Forget what is settled: the transaction is committed, and rows in memory are older than the file's.

        Returns the models whose rows were made anew.
        """
        self._new, self._shown = [], self._next
        self.changed = False
        self.turns += bool(self._moved)
        for model in self._moved:
            model.rows.pending.clear()
            model.rows.cache.clear()
            model.rows.revision += 1
        return [model.table.schema.name for model in self._moved]

    def shown_with(self, model: Model) -> dict[str, dict[int, str]]:
        """Return what rows are lifted by once those of a model are what they should be, as the view notes it."""
        return {**self._shown, model.table.schema.name: self._wanted(model)}

    def take_up(self, model: Model) -> None:
        """Take notice of new rows of a model, which are in the file now."""
        self._shown = self.shown_with(model)
        self.turns += 1
        self._set(model)
        model.rows.cache.clear()
        model.rows.revision += 1

    def _take_made(self, model: Model) -> None:
        view, table = self._store.view, model.table
        aside = quoted(beside(model))
        listed = ", ".join(map(quoted, table.columns))
        if model.rows.linked or model.claims.indexes or model.twins is not None:
            for row, before in pairs(self._store, model, aside):
                note(self._store, model, row, before)
        view.db.execute(
            f'INSERT OR IGNORE INTO {model.rows.touch} SELECT a."_doc", a."_e" FROM {quoted(table.name)} a'
            f' JOIN {aside} b ON a."_doc" = b."_doc" WHERE a."_state" IS NULL'
        )
        for target, which in model.rows.shares():
            view.db.execute(f"REPLACE INTO {target} ({listed}) SELECT {listed} FROM {aside}{which}")
        view.touch_arms(model.rows.arms.values())
        view.db.execute(f"DROP TABLE {aside}")

    # -- refusing writes -----------------------------------------------------------------------------------------

    def check(self, model: Model, replica: Replica) -> None:
        """Raise `MigrationPendingError` if a migration of a model is pending in a log, but for the migration itself."""
        pending = self.pending(model, replica)
        if pending and not _migrating.get():
            raise MigrationPendingError(model.table.schema.name, pending)

    def pending(self, model: Model, replica: Replica) -> str:
        """Return the name of the first migration of a model that is pending in a log, or nothing.

        One that was never applied hinders nobody where there is no document that was last written under an older version.
        """
        place = (model.table.schema.name, replica.n)
        found = self._blocked.get(place)
        if found is None:
            found = ""
            for name, version, always in self.plans.unapplied(place[0], self.records(self.home_of(replica))):
                if always or has_older(self._store, model, replica.n, version):
                    found = name
                    break
            self._blocked[place] = found
        return found

    def _hear(self, admitted: Sequence[Admitted]) -> None:
        for one in admitted:
            if one.origin == "remote":
                for name in models_of(one.changes):
                    self._blocked.pop((name, one.replica.n), None)


@contextmanager
def migrating() -> Iterator[None]:
    """Let writes of this task through that a pending migration refuses: they are the migration's own."""
    token = _migrating.set(True)
    try:
        yield
    finally:
        _migrating.reset(token)


def has_older(store: Store, model: Model, log: int, version: int) -> bool:
    """Whether a living document of a log was last written under an older version of its model."""
    table = model.table
    for (place_log, _), row in model.rows.pending.items():
        if place_log == log and row[table.v_at] < version and not row[table.hidden_at] & DELETED:
            return True
    found = f'SELECT 1 FROM {quoted(table.name)} WHERE "_log" = ? AND "_v" < ? AND ("_hidden" & {DELETED}) = 0 LIMIT 1'
    return bool(store.view.read(found, (log, version)))


def _record(id: str, document: Document, manifest: Manifest) -> Record | None:
    """Return what a document of `_migrations` says, `None` if it is not of the form that its log wants."""
    if not document.is_live or id.endswith(ADMINS_ONLY) != bool(manifest.admins):
        return None
    cells = document.registers
    said: dict[str, Any] = {
        name: cells[name][3] for name in ("version", "state", "done", "after", "records") if name in cells
    }
    version, state = said.get("version", ""), said.get("state")
    done, after, records = said.get("done", 0), said.get("after", ""), said.get("records", 0)
    numbers = type(version) is int and type(done) is int and type(records) is int and done >= 0
    if not numbers or state not in (APPLIED, RUNNING, ROLLED_BACK) or type(after) is not str:
        return None
    assert document.newest is not None
    return Record(id.removesuffix(ADMINS_ONLY), version, state, done, after, records, document.newest[1])
