"""Deleting and restoring records."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import trio

from debros.current import choosing
from debros.errors import NotFoundError, TooLargeError
from debros.log.body import MAX_CHANGES
from debros.models.after import run_after, run_before
from debros.models.saving import absorb, check_right, collection_of, present_row, take, transaction_of
from debros.models.tracking import Snapshot
from debros.query.catalog import columns
from debros.query.query import Query
from debros.replica.draft import Draft
from debros.replica.tables import DELETED

if TYPE_CHECKING:
    from debros.models.ports import Collection
    from debros.models.shape import Shape


_FEW: Final = 50  # records between two steps of the scheduler


async def delete(record: Any, cascade: bool, skip_hooks: bool) -> None:
    """Delete a record; see `Model.delete`."""
    cls = type(record)
    shape: Shape = cls.__shape__
    if record._row is None:
        raise NotFoundError(cls.__name__, (record.id,))
    if shape.undeletable:
        shape.refuse_change("deleted")
    home = collection_of(record)
    if not cascade:
        await _delete_one(record, home, skip_hooks)
        return
    with choosing(node=home.node):
        async with home.node.transaction():
            left = await _tree_of(record)
            while left:  # from the leaves; one that others of the tree still hold on to comes after them
                places = range(len(left) - 1, -1, -1)
                at = next((n for n in places if left[n]._home.restricted_by(left[n]._row) is None), -1)
                one = left.pop(at)
                await _delete_one(one, one._home, skip_hooks)
                if not len(left) % _FEW:
                    await trio.lowlevel.checkpoint()


async def _tree_of(root: Any) -> list[Any]:
    """Return a record, what it has, and what that has: each before what it has itself, in chains of any length.

    Raises:
        TooLargeError: more of one log than one entry deletes.
    """
    found, seen = [root], {(type(root).__schema__.name, root.id)}
    had: Counter[int] = Counter()  # by log
    for n, record in enumerate(found, 1):  # it grows meanwhile
        if not n % _FEW:
            await trio.lowlevel.checkpoint()
        for name in type(record).__shape__.relations:
            for child in await owned_records(record, name):
                place = (type(child).__schema__.name, child.id)
                if place not in seen:
                    seen.add(place)
                    found.append(child)
                    had[child._row[child._home.table.log_at]] += 1
            if max(had.values(), default=0) > MAX_CHANGES:
                raise TooLargeError(
                    f"{type(root).__name__} {root.id!r} has more than {MAX_CHANGES} records to delete with it, which is what one "
                    "transaction holds; delete them in several, then it"
                )
    return found


async def owned_records(record: Any, name: str) -> list[Any]:
    """Return all targets of a has_one or has_many, whatever its limit; none for other relations."""
    relation = type(record).__shape__.relations[name]
    spec = relation.spec
    if spec.kind not in ("has_one", "has_many"):
        return []
    target = relation.target()
    key = columns(target.__schema__).named(spec.key)
    if spec.through:
        between = await owned_records(record, spec.through)
        return list(await Query(target.__subject__).where(key.in_([each.id for each in between])).all())
    return list(await Query(target.__subject__).where(key == record.id).all())


async def _delete_one(record: Any, home: Collection, skip_hooks: bool) -> None:
    cls = type(record)
    shape: Shape = cls.__shape__
    check_right(record, home)
    present = present_row(record, home)
    if present is not None and present[home.table.hidden_at] & DELETED:  # deleted already, perhaps by another task
        absorb(shape, record, present, home)
        return
    known = {} if skip_hooks else cls.__hooks__
    snapshot = Snapshot(shape, shape.decoded(record), deep=True)
    try:
        if known:
            await run_before(record, "delete", known)
        [row] = await home.commit((Draft("delete", record.id, base=record._row),))
    except BaseException:  # cancelled, too
        snapshot.restore()
        raise
    transaction = transaction_of(home)
    take(shape, record, row, home, transaction, snapshot)
    if known:
        await run_after(record, "delete", known, {}, transaction)


async def restore(record: Any) -> None:
    """Undo a deletion; see `Model.restore`."""
    cls = type(record)
    shape: Shape = cls.__shape__
    if record._row is None:
        raise NotFoundError(cls.__name__, (record.id,))
    home = collection_of(record)
    check_right(record, home)
    [row] = await home.commit((Draft("restore", record.id, base=record._row),))
    take(shape, record, row, home, transaction_of(home), None)


def refresh(record: Any) -> None:
    """Take the present values; see `Model.refresh`."""
    cls = type(record)
    home = collection_of(record)
    row = None if record._row is None else present_row(record, home)
    if row is None or row[home.table.hidden_at]:
        raise NotFoundError(cls.__name__, (record.id,))
    own = record.__dict__
    own.pop("_loaded", None)
    own.pop("_counts", None)
    own.update(cls.__shape__.values_of(row))
    own["_row"] = row
