"""Writing records: hooks, validation, the draft, and what the record holds afterwards.

A save either does all of it or leaves the record as it was. Nothing can fall between the durable entry and the
merged values on the object: after `commit` returns there is no await until they are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

import trio

from debros import current
from debros.current import node_here
from debros.env import collector_paused
from debros.errors import (
    ArgumentError,
    FieldError,
    ModelError,
    NotFoundError,
    PermissionDeniedError,
    UniqueError,
    ValidationError,
    did_you_mean,
)
from debros.models.after import run_after, run_after_all, run_before
from debros.models.finding import must_be_here
from debros.models.ids import flaw_of, new_ids, refuse_no_text
from debros.models.tracking import Snapshot, changed_fields, changes_of, create_draft, update_draft
from debros.models.turns import Turn, until_free
from debros.replica.draft import Draft
from debros.replica.pacing import TURN
from debros.replica.tables import Row
from debros.schema import FieldSpec

if TYPE_CHECKING:
    from debros.models.ports import Collection, Transaction
    from debros.models.shape import Shape

_DRAWN: Final = 250  # ids at once
_new: Final = object.__new__
_set: Final = object.__setattr__


def collection_of(record: Any) -> Collection:
    """Return the records that this one belongs to: of the node it came from, else of the current one."""
    home: Collection | None = record._home
    if home is None:
        return node_here().collection(type(record).__schema__)
    current.check_here(home.node.thread)
    return home


def check_right(record: Any, home: Collection) -> None:
    """Refuse to write a record of another user's log; what is in a global log is for `commit` to judge.

    Raises:
        PermissionDeniedError: the acting identity is not the owner.
    """
    cls = type(record)
    if cls.__schema__.scope == "user" and record._row[home.table.log_at] not in (home.logs(None) or ()):
        raise PermissionDeniedError(
            f"{cls.__name__} {record.id!r} is a record of {owner_of(record)}; only its owner writes it:"
            " `async with db.acting_as(identity):`"
        )


def transaction_of(home: Collection) -> Transaction | None:
    """Return the transaction that writes to this collection are part of."""
    transaction: Transaction | None = current.context().transaction
    return transaction if transaction is not None and transaction.belongs_to(home.node.store) else None


def present_row(record: Any, home: Collection) -> Row | None:
    """Return the present row of a saved record, hidden or not; in user scope of the log it was loaded from."""
    row = home.row(record.id)
    loaded: Row = record._row
    log_at = home.table.log_at
    if row is None or row[log_at] != loaded[log_at]:  # of another user, or of another shard's record with this id
        found = home.read(home.table.by_id, (record.id, loaded[log_at]))
        return found[0] if found else None
    return row


def take(
    shape: Shape,
    record: Any,
    row: Row,
    home: Collection,
    transaction: Transaction | None,
    before: Snapshot | None,
    turn: Turn | None = None,
) -> None:
    """Take over what was written. A transaction gives the row its final form, or the record its state `before`.

    `turn` knows the values that were written, where tasks may have edited the record meanwhile.
    """
    if transaction is not None:
        before = before or Snapshot(shape, record.__dict__, deep=False)
        transaction.on_rollback.append(before.restore)
        transaction.settled.append(lambda: _settle(record, home))
    own = record.__dict__
    if own.pop("_fresh", False):  # a new id: nothing was there to merge with, so the record holds what was written
        own["_row"] = row
        own["_home"] = home
    else:
        absorb(shape, record, row, home, turn)


def _settle(record: Any, home: Collection) -> None:
    """Point a record to the row that its transaction made; unsaved edits since stay."""
    with current.choosing(transaction=None):
        row = present_row(record, home)
    if row is not None:
        record.__dict__["_row"] = row


def absorb(shape: Shape, record: Any, row: Row, home: Collection, turn: Turn | None = None) -> None:
    """Give a record the merged values of its row; mutable values that are equal stay the same objects.

    What was edited while `turn` was under way stays, unsaved.
    """
    own = record.__dict__
    if "_loaded" in own:
        shape.decoded(record)  # so that it is seen which keys stay what they were
    fresh = shape.values_of(row)
    for spec in shape.mutable:
        name = spec.name
        if fresh[name] == own.get(name):
            fresh[name] = own[name]
    if loaded := own.get("_loaded"):
        for name, relations in shape.forgets.items():
            if fresh[name] != own.get(name):
                for relation in relations:
                    loaded.pop(relation, None)
    if turn is not None:
        turn.keep_edits(own, fresh, shape.fields)
    own.update(fresh)
    own["_row"] = row
    own["_home"] = home


async def create(record: Any, skip_hooks: bool = False, unseen: bool = False) -> Any:
    """Save a new record; see `Model.save`. `unseen`: it was made just now, and nobody else had it in hand since."""
    cls = type(record)
    shape: Shape = cls.__shape__
    own = record.__dict__
    if "id" not in own:
        raise ModelError(f"{cls.__name__}.__init__ does not call `super().__init__(...)`, which makes the record")
    home = collection_of(record)
    known = {} if skip_hooks else cls.__hooks__
    snapshot = Snapshot(shape, own, deep=True) if known else None
    turn: Turn | None = None
    try:
        if known:
            await run_before(record, "create", known)
            shape.check_whole(own)
        elif not unseen:
            shape.check_mutable(own)
        if "_turn" in own:
            await until_free(own, in_transaction=transaction_of(home) is not None)
            if record._row is not None:  # another task has created it meanwhile
                return await save(record, skip_hooks=skip_hooks)
        draft = create_draft(shape, own)
        if known or not (draft.fresh and unseen):
            turn = Turn(own, () if draft.fresh and not known else shape.mutable)
        changes = changes_of(shape, own, None) if known else {}
        [row] = await home.commit((draft,))
        written = turn.written(changes, shape.fields) if known and turn is not None else {}
        transaction = transaction_of(home)
        take(shape, record, row, home, transaction, snapshot, turn)
    except BaseException:  # cancelled, too
        _give_back(shape, own, snapshot, turn)
        raise
    finally:
        if turn is not None:
            turn.end(own)
    if known:
        await run_after(record, "create", known, written, transaction)
    return record


async def save(record: Any, if_unchanged: bool = False, skip_hooks: bool = False) -> Any:
    """Write what changed; see `Model.save`."""
    row: Row | None = record._row
    if row is None:
        return await create(record, skip_hooks)
    cls = type(record)
    shape: Shape = cls.__shape__
    own = record.__dict__
    if "_turn" in own:
        await until_free(own, in_transaction=transaction_of(collection_of(record)) is not None)
        row = record._row
    assert row is not None, "a record that was saved stays so"
    changed = changed_fields(shape, own, row)
    if not changed:
        return record
    if shape.append_only:
        shape.refuse_change("changed")
    home = collection_of(record)
    check_right(record, home)
    shape.decoded(record)
    known = {} if skip_hooks else cls.__hooks__
    snapshot = Snapshot(shape, own, deep=True) if known else None
    turn: Turn | None = None
    try:
        if known:
            await run_before(record, "update", known)
            if "_turn" in own:
                await until_free(own, in_transaction=transaction_of(home) is not None)
            row = cast(Row, record._row)
            changed = changed_fields(shape, own, row)
            if not changed:  # the hooks took it back
                return record
        shape.check_some(own, [spec.name for _, spec in changed])
        draft = update_draft(shape, own, row, changed, if_unchanged)
        turn = Turn(own, shape.mutable)
        changes = changes_of(shape, own, row, changed) if known else {}
        [merged] = await home.commit((draft,))
        written = turn.written(changes, shape.fields) if known else {}
        transaction = transaction_of(home)
        take(shape, record, merged, home, transaction, snapshot, turn)
    except BaseException:  # cancelled, too
        _give_back(shape, own, snapshot, turn)
        raise
    finally:
        if turn is not None:
            turn.end(own)
    if known:
        await run_after(record, "update", known, written, transaction)
    return record


def _give_back(shape: Shape, own: dict[str, Any], snapshot: Snapshot | None, turn: Turn | None) -> None:
    """Undo what hooks did to a record whose save failed; what other tasks edited while it was written stays."""
    if snapshot is None:
        return
    if turn is None:
        snapshot.restore()
        return
    now = dict(own)
    snapshot.restore()
    turn.keep_edits(now, own, shape.fields)


async def create_many(cls: Any, given: Iterable[Any], *, plainly: bool) -> list[Any]:
    """Save new records of one model; see `Model.create_many`. `plainly`: its constructor is that of `Model`."""
    records, given_as_records = await _constructed(cls, given, plainly=plainly)
    if not records:
        return records
    shape: Shape = cls.__shape__
    home: Collection = node_here().collection(cls.__schema__)
    known = cls.__hooks__
    _check_new(cls, records)
    snapshots = [Snapshot(shape, record.__dict__, deep=True) for record in records] if known else []
    transaction = transaction_of(home)
    turns: dict[int, Turn] = {}
    try:
        if known:
            for record in records:
                await run_before(record, "create", known)
                shape.check_whole(record.__dict__)
        drafts: list[Draft] = []
        as_given = set(map(id, given_as_records))
        for start in range(0, len(records), TURN):
            if start:
                await trio.lowlevel.checkpoint()
            some = records[start : start + TURN]
            given_of_them = [record.__dict__ for record in some if id(record) in as_given] if as_given else []
            if not known:
                for own in given_of_them:
                    shape.check_mutable(own)
            with collector_paused():
                drafts += [create_draft(shape, record.__dict__) for record in some]
            for own in given_of_them:
                if "_fresh" not in own:  # what is there is merged with, and others know the record
                    turns[id(own)] = Turn(own, shape.mutable)
        rows = await home.commit(drafts, parts=transaction is None)
    except BaseException:
        for snapshot in snapshots:
            snapshot.restore()
        raise
    finally:
        for record in given_as_records:
            if (turn := turns.get(id(record.__dict__))) is not None:
                turn.end(record.__dict__)
    written = [changes_of(shape, record.__dict__, None) for record in records] if known else []
    with trio.CancelScope(shield=True):  # it is written, so each of them says so
        for n, (record, row) in enumerate(zip(records, rows, strict=True)):
            if n and not n % TURN and not given_as_records:  # those made here nobody else knows
                await trio.lowlevel.checkpoint()
            before, turn = snapshots[n] if snapshots else None, turns.get(id(record.__dict__)) if turns else None
            take(shape, record, row, home, transaction, before, turn)
    await run_after_all(records, "create", known, written, transaction)
    return records


async def _constructed(cls: Any, given: Iterable[Any], *, plainly: bool) -> tuple[list[Any], list[Any]]:
    """Return the records meant, and those of them that others may have in hand: what was just constructed is checked.

    Raises:
        ValidationError: of all that were given as dicts, with their positions.
    """
    if not isinstance(given, Iterable) or isinstance(given, Mapping):
        raise ArgumentError(
            f"create_many takes a list of records or dicts, not {type(given).__name__}: `create` makes one"
        )
    ids = _ids(len(given) if isinstance(given, Sized) else _DRAWN)
    is_plain = plainly and cls.__shape__ is not None
    records: list[Any] = []
    as_records: list[Any] = []
    errors: list[FieldError] = []
    each_given = enumerate(list(given) if isinstance(given, list) else given)  # others may change the list meanwhile
    while some := list(islice(each_given, TURN)):
        with collector_paused():
            for n, one in some:
                if type(one) is not dict and not isinstance(one, Mapping):
                    records.append(one)
                    as_records.append(one)
                    continue
                try:
                    if is_plain:
                        records.append(_record(cls, one, ids))
                    else:
                        records.append(cls(**one))
                        as_records.append(records[-1])
                except ValidationError as error:
                    errors += [replace(each, field=f"{n}.{each.field}") for each in error.errors]
        if len(some) == TURN:
            await trio.lowlevel.checkpoint()
    if errors:
        raise ValidationError(cls.__name__, tuple(errors))
    return records, as_records


def _ids(count: int) -> Iterator[str]:
    """Yield new ids, rising, for perhaps so many records; drawn many at once when one is needed."""
    while True:
        yield from new_ids(max(1, min(count, _DRAWN)))


def _record(cls: Any, values: Mapping[str, Any], ids: Iterator[str]) -> Any:
    """Make a record as the constructor of `Model` does, at half the price, with one of these ids if it needs a new one."""
    record = _new(cls)
    _set(record, "__dict__", cls.__shape__.construct(values, ids))
    return record


def _check_new(cls: Any, records: Sequence[Any]) -> None:
    if {*map(type, records)} == {cls} and len({each.id for each in records if each._row is None}) == len(records):
        return
    seen: set[str] = set()
    for n, record in enumerate(records):
        if type(record) is not cls:
            raise ArgumentError(
                f"create_many of {cls.__name__} got a {type(record).__name__}; give records, or dicts of values"
            )
        if record._row is None and record.id not in seen:
            seen.add(record.id)
            continue
        first = next((m for m in range(n) if records[m] is record), None)
        if first is None:
            raise UniqueError(cls.__name__, ("id",), record.id)
        flaw = f"is the record that stands at {first} too; to create another like it, give `record.copy()`"
        raise ValidationError(cls.__name__, (FieldError(str(n), record, "unique", flaw),))


def assign(record: Any, values: Mapping[str, Any]) -> None:
    """Assign all of these values, or none if one of them is refused.

    Raises:
        ValidationError: listing everything that is wrong.
    """
    own = record.__dict__
    before = dict(own)
    errors: list[FieldError] = []
    for name, value in values.items():
        try:
            if name.startswith("_"):
                raise ValidationError("", (type(record).__shape__.unknown(name, value),))
            setattr(record, name, value)
        except ValidationError as error:
            errors += error.errors
    if errors:
        own.clear()
        own.update(before)
        raise ValidationError(type(record).__name__, tuple(errors))


async def increment(cls: Any, id: str, by: Mapping[str, int]) -> None:
    """Add to counters; see `Model.increment`."""
    shape: Shape = cls.__shape__
    home: Collection = node_here().collection(cls.__schema__)
    errors = []
    refuse_no_text(cls.__name__, id)
    if home.row(id) is None and (flaw := flaw_of(id, home.owner_suffix() if shape.has_suffix else "")) is not None:
        errors.append(FieldError("id", id, "id", flaw))
    counters = {spec.name: spec for spec in shape.fields if spec.merge == "counter"}
    inc = {}
    for name, amount in by.items():
        if name not in counters:
            known = did_you_mean(name, counters) or f"; counters: {', '.join(counters) or 'none'}"
            errors.append(FieldError(name, amount, "counter", f"is no counter of the model{known}"))
        elif type(amount) is not int or not -(2**63) <= amount < 2**63:
            errors.append(FieldError(name, amount, "int_type", "an amount is a whole number within 64 bits"))
        elif amount:
            inc[counters[name].wire] = amount
    if not by:
        errors.append(
            FieldError("", None, "missing", f"say by how much: increment(id, {next(iter(counters), 'name')}=1)")
        )
    if errors:
        raise ValidationError(cls.__name__, tuple(errors))
    if inc:
        if home.row(id) is None:
            must_be_here(home, (id,))
            if any(_is_needed(spec) for spec in shape.fields):
                raise NotFoundError(cls.__name__, (id,))
        await home.commit((Draft("increment", id, inc=inc),))


def _is_needed(spec: FieldSpec) -> bool:
    """Whether a record without this field's cell does not show."""
    return spec.merge in ("lww", "keep") and not spec.has_default and not spec.nullable


def owner_of(record: Any) -> object:
    """Return whose record of a user-scoped model this is; an unsaved one is nobody's yet."""
    row, home = record._row, record._home
    return None if row is None or home is None else home.call(home.owner, row)
