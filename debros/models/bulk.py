"""Changing many records alike: `await query.update(...)` and `await query.delete()`.

Everything is validated and every before-hook run before the first entry is written; then all drafts go to one commit,
which makes as many entries as the size limits need, or they join the transaction that is running. The records are the
query's own, so nobody sees the state in which a refusal leaves them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from debros.models.after import run_after, run_before
from debros.models.saving import assign, check_right, take, transaction_of
from debros.models.tracking import changed_fields, changes_of, update_draft
from debros.replica.draft import Draft

if TYPE_CHECKING:
    from debros.models.ports import Collection
    from debros.models.shape import Shape


async def change_all(records: Sequence[Any], values: Mapping[str, Any]) -> None:
    """Assign values to saved records of one model and save them.

    Raises:
        ValidationError, UniqueError, PermissionDeniedError, ImmutableError: and nothing is written.
    """
    if not records or not values:
        return
    cls = type(records[0])
    shape: Shape = cls.__shape__
    if shape.append_only:
        shape.refuse_change("changed")
    home: Collection = records[0]._home
    known = cls.__hooks__
    changed_records, drafts, written = [], [], []
    for record in records:
        own = shape.decoded(record)
        check_right(record, home)
        assign(record, values)
        changed = changed_fields(shape, own, record._row)
        if not changed:
            continue
        if known:
            await run_before(record, "update", known)
            changed = changed_fields(shape, own, record._row)
            if not changed:  # the hooks took it back
                continue
        shape.check_changed(own, [spec.name for _, spec in changed])
        drafts.append(update_draft(shape, own, record._row, changed, False))
        changed_records.append(record)
        written.append(changes_of(shape, own, record._row, changed) if known else {})
    rows = await home.commit(drafts, parts=transaction_of(home) is None) if drafts else []
    for record, row in zip(changed_records, rows, strict=True):
        take(shape, record, row, home, None)
    await _after(changed_records, "update", home, written)


async def delete_all(records: Sequence[Any]) -> None:
    """Delete saved records of one model.

    Raises:
        RestrictedError, PermissionDeniedError, ImmutableError: and nothing is written.
    """
    if not records:
        return
    cls = type(records[0])
    shape: Shape = cls.__shape__
    if shape.undeletable:
        shape.refuse_change("deleted")
    home: Collection = records[0]._home
    known = cls.__hooks__
    for record in records:
        check_right(record, home)
        if known:
            await run_before(record, "delete", known)
    drafts = [Draft("delete", record.id, base=record._row) for record in records]
    rows = await home.commit(drafts, parts=transaction_of(home) is None)
    for record, row in zip(records, rows, strict=True):
        take(shape, record, row, home, None)
    await _after(records, "delete", home, [{} for _ in records])


async def _after(records: Sequence[Any], what: Any, home: Collection, written: Sequence[dict[str, Any]]) -> None:
    """Run after-hooks: every record is written, so each has its hooks run; the first error is told."""
    known = type(records[0]).__hooks__ if records else {}
    if not known:
        return
    failed: Exception | None = None
    transaction = transaction_of(home)
    for record, changes in zip(records, written, strict=True):
        try:
            await run_after(record, what, known, changes, transaction)
        except Exception as error:  # the others' hooks run all the same
            failed = failed or error
    if failed is not None:
        raise failed
