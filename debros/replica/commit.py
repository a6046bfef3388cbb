"""A saver's request: from drafts to entries, under the writer's lock. Their group signs them.

First everything that can be refused is checked (existence, rights, unique values, sizes), then the entries are
built, one per log, or as many as the size limits need where the caller allows parts.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from debros.errors import FieldError, RestrictedError, TooLargeError, UniqueError, ValidationError
from debros.identity.keys import Device
from debros.log.body import MAX_CHANGES
from debros.log.changes import encode_change
from debros.log.rights import may_write
from debros.replica.changes import Change
from debros.replica.draft import Draft
from debros.replica.drafting import change_of
from debros.replica.group import Group
from debros.replica.pacing import TURN
from debros.replica.replica import Replica, Staged, refuse_foreign
from debros.replica.store import Model, Store
from debros.replica.tables import Row

MAX_BYTES: Final = 2**20 - 256  # of encoded changes in one entry: a body has at most 1 MiB
MAX_PART: Final = 1000  # changes in one part of a bulk write
MANY: Final = 32  # drafts for which it is worth looking rows up all at once

Place: TypeAlias = "tuple[int, str]"  # log, id
_NOTHING: Final[Mapping[Place, Row]] = {}


Item: TypeAlias = "tuple[Replica, Draft]"
"""A draft, and the log that it goes into."""


class Commit:
    """Some drafts of one model, written together or, with `parts`, in as many entries as the size limits need."""

    __slots__ = ("_device", "_is_told", "_items", "_model", "_parts", "_store", "done", "error", "rows", "weight")

    def __init__(
        self, store: Store, device: Device, model: Model, items: Sequence[Item], *, parts: bool, told: bool = True
    ) -> None:
        """`told`: whether `rows` is asked for."""
        self._is_told = told
        self._store = store
        self._device = device
        self._model = model
        self._items = items
        self._parts = parts
        self.weight = len(items)
        self.done = False
        self.error: BaseException | None = None
        self.rows: list[Row | None] = []  # the documents afterwards, in the order of the drafts

    def stage(self, group: Group) -> bool:
        """Check all drafts, then add their entries to the group."""
        plans: dict[int, Staged] = {}
        if not self._take(self._items, group, plans):
            return False
        entries = self._entries(plans, group)
        for staged in entries or ():
            group.add(staged)
        return entries is not None

    def steps(self, group: Group, *, alone: bool = False) -> Generator[None, None, bool]:
        """Do what `stage` does in steps of some drafts each; nobody else writes meanwhile if it is `alone`."""
        plans: dict[int, Staged] = {}
        for start in range(0, len(self._items), TURN):
            if start:
                yield
            if not self._take(self._items[start : start + TURN], group, plans, alone=alone):
                return False
        entries = self._entries(plans, group)
        for staged in entries or ():
            yield
            group.add(staged)
        return entries is not None

    def _take(self, items: Sequence[Item], group: Group, plans: dict[int, Staged], *, alone: bool = False) -> bool:
        """Check drafts and plan what each log gets; `False`: the group has something that they have to come after."""
        store, model, taken = self._store, self._model, group.taken
        name, makes_claims = model.table.schema.name, bool(model.twins or model.claims.indexes)
        present = present_rows(store, model, items, keep=not alone) if len(items) >= MANY else _NOTHING
        for replica, draft in items:
            log, id = replica.n, draft.id
            place = (name, log, id)
            if place in taken:
                if taken[place] is self:
                    raise UniqueError(name, ("id",), id)
                return False
            if draft.kind == "delete" and store.effects.has_restrict(model):
                if group.staged:
                    return False  # who refers to it may be in this group
                store.flush()
                refuse_restricted(store, replica, model, id)
            change = self._change(replica, draft, present)
            if change is None:
                continue
            if alone:
                change.before = present.get((log, id))
            taken[place] = self
            if makes_claims and not self._claim(replica, draft, change, group):
                return False
            plan = plans.get(log)
            if plan is None:
                replica.check_right(self._device)
                plan = plans[log] = Staged(replica, self._device)
            plan.changes.append(change)
            plan.encoded.append(encoded(change, None if change.columns is None else model.encode_new))
        return True

    def _entries(self, plans: dict[int, Staged], group: Group) -> list[Staged] | None:
        """Return the entries to write; `None`: they do not lie where those of the group do."""
        placed = self._store.placed
        if placed and not group.may_take(plans):
            return None
        entries: list[Staged] = []
        for plan in plans.values():
            entries += parts_of(plan, parts=self._parts)
        if placed and len(group.volumes) > 1:
            name = self._store.salt()
            for staged in entries:
                staged.tx = name, len(entries)
        return entries

    def _change(self, replica: Replica, draft: Draft, present: Mapping[Place, Row]) -> Change | None:
        """Return what to write."""
        id, model = draft.id, self._model
        schema, rows = model.table.schema, model.rows
        if "~" in id and not may_write(id, self._device.user, replica.manifest):
            raise refuse_foreign(schema.name, id)
        if draft.change and draft.fresh and id > rows.greatest[replica.n]:  # nothing can be there
            before, value = None, draft.change
        else:
            before = present.get((replica.n, id)) or self._store.view.row(rows, replica.n, id)
            found = change_of(draft, before, model.table, model.states)
            if found is None:
                return None
            value = found
        if before is None:
            return Change(schema.name, schema.version, id, value, True, None, draft.columns)
        return Change(schema.name, schema.version, id, value)

    def _claim(self, replica: Replica, draft: Draft, change: Change, group: Group) -> bool:
        """Claim the id, where shards make it one of many, and unique values; `False`: the group has a claim to one.

        Raises:
            UniqueError: one is taken.
        """
        model, taken = self._model, group.taken
        name, claims = model.table.schema.name, model.claims
        if model.twins is not None and draft.kind in ("create", "restore") and not draft.fresh:
            own_id = (name, ("id", draft.id))
            if own_id in taken and taken[own_id] is not self:
                return False
            if own_id in taken or model.twins.holder(replica.n, draft.id) is not None:
                raise UniqueError(name, ("id",), draft.id)
            taken[own_id] = self
        for key in self._new_claims(replica, draft, change) if claims.indexes else ():
            claim = (name, key)
            if claim in taken and taken[claim] is not self:
                return False
            if claim in taken:
                raise UniqueError(name, claims.fields(key), draft.id)
            taken[claim] = self
            if (holder := claims.holder(key, replica.n, draft.id)) is not None:
                raise UniqueError(name, claims.fields(key), holder)
        return True

    def _new_claims(self, replica: Replica, draft: Draft, change: Change) -> list[tuple[object, ...]]:
        """Return the unique values that the document does not claim yet."""
        model, before = self._model, change.before
        claims = model.claims
        if before is None and not change.makes:
            before = self._store.view.row(model.rows, replica.n, draft.id)
        if draft.kind == "delete" or (
            before is not None and replica.n not in model.projection.lifts and not claims.concerns(change.value)
        ):
            return []  # what hides a record, or leaves it in sight or out of it as it was, claims nothing
        held = set() if before is None else set(claims.keys(before))
        row = preview(self._store, replica, model, before, change)
        return [key for key in claims.keys(row) if key not in held]

    def finish(self) -> None:
        """Take the rows as they are now."""
        if self.weight < MANY and self._is_told:
            row, rows = self._store.view.row, self._model.rows
            for replica, draft in self._items:
                self.rows.append(row(rows, replica.n, draft.id))
            return
        for _ in self.finishing():
            pass

    def finishing(self) -> Iterator[None]:
        """Do what `finish` does in steps."""
        if not self._is_told:
            return
        store, model = self._store, self._model
        for start in range(0, len(self._items), TURN):
            if start:
                yield
            items, pending = self._items[start : start + TURN], model.rows.pending
            rows: list[Row | None] = [pending.get((replica.n, draft.id)) for replica, draft in items]
            if None in rows:  # they went into the file in between
                present = present_rows(store, model, items, keep=False) if len(items) >= MANY else _NOTHING
                for n, (replica, draft) in enumerate(items):
                    rows[n] = present.get((replica.n, draft.id)) or store.view.row(model.rows, replica.n, draft.id)
            self.rows += rows


def present_rows(store: Store, model: Model, items: Sequence[Item], *, keep: bool) -> dict[Place, Row]:
    """Look the present rows of some drafts up, all at once; `keep` them in memory for whoever asks next."""
    rows, greatest = model.rows, model.rows.greatest
    ids: dict[int, list[str]] = {}
    for replica, draft in items:
        if not (draft.fresh and draft.id > greatest[replica.n]):
            ids.setdefault(replica.n, []).append(draft.id)
    found = store.view.rows_at
    return {(log, id): row for log, its in ids.items() for id, row in found(rows, log, its, keep=keep).items()}


def refuse_restricted(store: Store, replica: Replica, model: Model, id: str) -> None:
    """Raise `RestrictedError` if visible records hold on to the one that is to be deleted."""
    by = store.effects.restricted_by(model, replica.n, id)
    if by is not None:
        raise RestrictedError(model.table.schema.name, id, by)


def encoded(change: Change, quick: Callable[[list[Any]], bytes] | None = None) -> bytes:
    """Return the bytes of a change; `quick` is what its model has for new documents.

    Raises:
        ValidationError: a value has no form in the log, e.g. text that is not Unicode.
    """
    if quick is not None:
        try:
            return quick([change.model, change.version, change.id, change.value])
        except ValueError:
            pass  # what is wrong is told by the other one
    try:
        return encode_change(change.model, change.version, change.id, change.value)
    except ValueError as error:
        raise ValidationError(change.model, (FieldError("", None, "not_storable", str(error)),)) from error


def preview(store: Store, replica: Replica, model: Model, before: Row | None, change: Change) -> Row:
    """Return the row that a change would make, were it written now."""
    table, clock, e = model.table, replica.clock + 1, store.entries.next_e
    if before is None:
        row = model.projection.created(change.id, change.value, 0, replica.n, clock, e, 0, change.version)
        if row is not None:
            return row
    document = model.states.load(before) if before is not None else model.states.empty()
    document.merge(change.value, clock, e, change.version)
    doc, by = (0, 0) if before is None else (before[table.doc_at], before[table.by_at])
    return model.projection.project(change.id, document, doc, replica.n, by)


def parts_of(plan: Staged, *, parts: bool) -> list[Staged]:
    """Cut a plan into entries that keep the limits.

    Raises:
        TooLargeError: a record is too large for any entry, or the plan is for one and has to go into one.
    """
    if len(plan.encoded) <= MAX_PART and sum(map(len, plan.encoded)) <= MAX_BYTES:
        return [plan]
    part = Staged(plan.replica, plan.device)
    found, size = [part], 0
    for change, encoded in zip(plan.changes, plan.encoded, strict=True):
        if len(encoded) > MAX_BYTES:
            raise TooLargeError(f"record {change.id!r} has {len(encoded)} bytes encoded; {MAX_BYTES} are allowed")
        full = len(part.encoded) >= (MAX_PART if parts else MAX_CHANGES) or size + len(encoded) > MAX_BYTES
        if full and not parts:
            raise TooLargeError(
                f"{len(plan.encoded)} changes of {sum(map(len, plan.encoded))} bytes do not fit into one entry "
                f"({MAX_CHANGES} changes, {MAX_BYTES} bytes); use several transactions"
            )
        if full:
            part, size = Staged(plan.replica, plan.device), 0
            found.append(part)
        part.changes.append(change)
        part.encoded.append(encoded)
        size += len(encoded)
    return found
