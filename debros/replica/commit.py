"""A saver's request: from drafts to entries, under the writer's lock. Their group signs them.

First everything that can be refused is checked (existence, rights, unique values, sizes), then the entries are
built, one per log, or as many as the size limits need where the caller allows parts.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from debros.errors import FieldError, RestrictedError, TooLargeError, UniqueError, ValidationError
from debros.identity.keys import Device
from debros.log.changes import encode_change
from debros.log.rights import may_write
from debros.replica.ahead import TURN
from debros.replica.changes import Change
from debros.replica.draft import Draft
from debros.replica.drafting import change_of
from debros.replica.group import Group
from debros.replica.replica import Replica, refuse_foreign
from debros.replica.store import Model, Store
from debros.replica.tables import Row

MAX_BYTES: Final = 2**20 - 256  # of encoded changes in one entry: a body has at most 1 MiB
MAX_PART: Final = 1000  # changes in one part of a bulk write
MAX_CHANGES: Final = 10_000  # in one entry
MANY: Final = 32  # drafts for which it is worth looking rows up all at once

R = TypeVar("R")
Place: TypeAlias = "tuple[int, str]"  # log, id
_NOTHING: Final[Mapping[Place, Row]] = {}


class Item(NamedTuple):
    """A draft, and where it goes."""

    replica: Replica
    model: Model
    draft: Draft


class Plan(NamedTuple):
    """What one log gets: changes beside their bytes."""

    replica: Replica
    changes: list[Change]
    encoded: list[bytes]


class Commit:
    """Some drafts, written together or, with `parts`, in as many entries as the size limits need."""

    __slots__ = ("_device", "_is_told", "_items", "_parts", "_store", "done", "error", "rows", "weight")

    def __init__(self, store: Store, device: Device, items: Sequence[Item], *, parts: bool, told: bool = True) -> None:
        """`told`: whether `rows` is asked for."""
        self._is_told = told
        self._store = store
        self._device = device
        self._items = items
        self._parts = parts
        self.weight = len(items)
        self.done = False
        self.error: BaseException | None = None
        self.rows: list[Row | None] = []  # the documents afterwards, in the order of the drafts

    def stage(self, group: Group) -> bool:
        """Check all drafts, then add their entries to the group."""
        return finished(self.steps(group))

    def steps(self, group: Group, *, alone: bool = False) -> Generator[None, None, bool]:
        """Do what `stage` does in steps of some drafts each; nobody else writes meanwhile if it is `alone`."""
        store = self._store
        documents: set[tuple[str, int, str]] = set()
        claims: set[tuple[str, object]] = set()
        plans: dict[int, Plan] = {}
        items, present = self._items, _NOTHING
        many = len(items) >= MANY
        for n, item in enumerate(items):
            if many and not n % TURN:
                if n:
                    yield
                present = present_rows(self._store, items[n : n + TURN], keep=not alone)
            replica, model, draft = item
            place = (model.table.schema.name, replica.n, draft.id)
            if place in group.documents:
                return False
            if draft.kind == "delete" and store.effects.has_restrict(model):
                if group.staged:
                    return False  # who refers to it may be in this group
                store.flush()
                refuse_restricted(store, item)
            if place in documents:
                raise UniqueError(place[0], ("id",), draft.id)
            change = self._change(item, present)
            if change is not None and alone:
                change.before = present.get((replica.n, draft.id))
            if change is None:
                continue
            documents.add(place)
            if (model.twins or model.claims.indexes) and not self._claim(item, change, group, claims):
                return False
            plan = plans.get(replica.n)
            if plan is None:
                replica.check_right(self._device)
                plan = plans[replica.n] = Plan(replica, [], [])
            plan.changes.append(change)
            plan.encoded.append(encoded(change) if change.wires is None else encoded(change, model.encode_new))
        if store.placed and not group.may_take(plans):
            return False
        entries = [part for plan in plans.values() for part in parts_of(plan, parts=self._parts)]
        whole = (store.salt(), len(entries)) if store.placed and len(group.volumes) > 1 else None
        for part in entries:
            if many:
                yield
            build(store, group, self._device, part, tx=whole)
        group.documents |= documents
        group.claims |= claims
        return True

    def _change(self, item: Item, present: Mapping[Place, Row]) -> Change | None:
        """Return what to write."""
        replica, model, draft = item
        table, id = model.table, draft.id
        schema = table.schema
        if not may_write(id, self._device.user, replica.manifest):
            raise refuse_foreign(schema.name, id)
        is_new = draft.fresh and id > model.rows.greatest[replica.n]
        before = None if is_new else present.get((replica.n, id)) or self._store.view.row(model.rows, replica.n, id)
        value = draft.change if is_new and draft.change else change_of(draft, before, table, model.states)
        if value is None:
            return None
        if before is None:
            return Change(schema.name, schema.version, id, value, True, None, draft.wires)
        return Change(schema.name, schema.version, id, value)

    def _claim(self, item: Item, change: Change, group: Group, claims: set[tuple[str, object]]) -> bool:
        """Claim the id, where shards make it one of many, and unique values; `False`: the group has a claim to one.

        Raises:
            UniqueError: one is taken.
        """
        replica, model, draft = item
        name = model.table.schema.name
        if model.twins is not None and draft.kind in ("create", "restore") and not draft.fresh:
            own_id = (name, ("id", draft.id))
            if own_id in group.claims:
                return False
            if own_id in claims or model.twins.holder(replica.n, draft.id) is not None:
                raise UniqueError(name, ("id",), draft.id)
            claims.add(own_id)
        for key in self._new_claims(item, change) if model.claims.indexes else ():
            if (name, key) in group.claims:
                return False
            if (name, key) in claims:
                raise UniqueError(name, model.claims.fields(key), draft.id)
            claims.add((name, key))
            if (holder := model.claims.holder(key, replica.n, draft.id)) is not None:
                raise UniqueError(name, model.claims.fields(key), holder)
        return True

    def _new_claims(self, item: Item, change: Change) -> list[tuple[object, ...]]:
        """Return the unique values that the document does not claim yet."""
        replica, model, draft = item
        claims = model.claims
        before = change.before
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
        if len(self._items) < MANY and self._is_told:
            row = self._store.view.row
            self.rows = [row(model.rows, replica.n, draft.id) for replica, model, draft in self._items]
            return
        for _ in self.finishing():
            pass

    def finishing(self) -> Iterator[None]:
        """Do what `finish` does in steps."""
        row, items = self._store.view.row, self._items
        if not self._is_told:
            return
        many, present = len(items) >= MANY, _NOTHING
        for n, (replica, model, draft) in enumerate(items):
            if many and not n % TURN:
                if n:
                    yield
                present = present_rows(self._store, items[n : n + TURN], keep=False)
            self.rows.append(present.get((replica.n, draft.id)) or row(model.rows, replica.n, draft.id))


def present_rows(store: Store, items: Sequence[Item], *, keep: bool) -> dict[Place, Row]:
    """Look the present rows of some drafts up, all at once; `keep` them in memory for whoever asks next."""
    rows = items[0].model.rows  # a request is of one model
    ids: dict[int, list[str]] = {}
    for replica, _, draft in items:
        if not (draft.fresh and draft.id > rows.greatest[replica.n]):
            ids.setdefault(replica.n, []).append(draft.id)
    found = store.view.rows_at
    return {(log, id): row for log, its in ids.items() for id, row in found(rows, log, its, keep=keep).items()}


def finished(steps: Generator[None, None, R]) -> R:
    """Take all steps at once and return what comes of them."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        result: R = end.value
        return result


def refuse_restricted(store: Store, item: Item) -> None:
    """Raise `RestrictedError` if visible records hold on to the one that is to be deleted."""
    replica, model, draft = item
    by = store.effects.restricted_by(model, replica.n, draft.id)
    if by is not None:
        raise RestrictedError(model.table.schema.name, draft.id, by)


def encoded(change: Change, encode: Callable[[str, int, str, dict[str, Any]], bytes] = encode_change) -> bytes:
    """Return the bytes of a change; `encode` is the model's own for its new documents.

    Raises:
        ValidationError: a value has no form in the log, e.g. text that is not Unicode.
    """
    try:
        return encode(change.model, change.version, change.id, change.value)
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


def build(
    store: Store, group: Group, device: Device, plan: Plan, *,
    tx: tuple[bytes, int] | None = None, acts: list[Any] | None = None,
) -> None:  # fmt: skip
    """Build one entry and add it to the group, which signs it."""
    replica, changes, encoded = plan
    e = store.entries.next_e + len(group.staged)
    now_ms = store.env.now_us() // 1000
    staged = replica.stage(
        device, group.clock(replica), changes, encoded, salt=store.salt(), now_ms=now_ms, tx=tx, acts=acts
    )
    by, log, clock, models = store.keys.number(device.user), replica.n, staged.clock, store.models
    for change in changes:
        if change.makes:
            model = models[change.model]
            rows, projection, id, version, row = model.rows, model.projection, change.id, change.version, None
            if change.wires is not None:
                row = projection.fresh(id, change.wires, rows.next_doc, log, clock, e, by, version)
            if row is None:
                row = projection.created(id, change.value, rows.next_doc, log, clock, e, by, version)
            if row is not None:
                change.row = row
                rows.next_doc += 1
    group.add(staged)


def parts_of(plan: Plan, *, parts: bool) -> list[Plan]:
    """Cut a plan into entries that keep the limits.

    Raises:
        TooLargeError: a record is too large for any entry, or the plan is for one and has to go into one.
    """
    if len(plan.encoded) <= MAX_PART and sum(map(len, plan.encoded)) <= MAX_BYTES:
        return [plan]
    found: list[Plan] = []
    start, size = 0, 0
    for n, encoded in enumerate(plan.encoded):
        if len(encoded) > MAX_BYTES:
            id = plan.changes[n].id
            raise TooLargeError(f"record {id!r} has {len(encoded)} bytes encoded; {MAX_BYTES} are allowed")
        full = n - start >= (MAX_PART if parts else MAX_CHANGES) or size + len(encoded) > MAX_BYTES
        if full and not parts:
            raise TooLargeError(
                f"{len(plan.encoded)} changes of {sum(map(len, plan.encoded))} bytes do not fit into one entry "
                f"({MAX_CHANGES} changes, {MAX_BYTES} bytes); use several transactions"
            )
        if full:
            found.append(Plan(plan.replica, plan.changes[start:n], plan.encoded[start:n]))
            start, size = n, 0
        size += len(encoded)
    found.append(Plan(plan.replica, plan.changes[start:], plan.encoded[start:]))
    return found
