"""Changing many records alike: `await query.update(...)` and `await query.delete()`.

Everything is validated and every before-hook run before the first entry is written; then all drafts go to one commit,
which makes as many entries as the size limits need, or they join the transaction that is running. The records are the
query's own, so nobody sees the state in which a refusal leaves them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from debros.models.after import Changes, Hooks, Written, run_after_all, run_before
from debros.models.saving import assign, check_right, take, transaction_of
from debros.models.tracking import changed_fields, changes_of, update_draft
from debros.replica.draft import Draft

if TYPE_CHECKING:
    from debros.models.shape import Shape

Drafted: TypeAlias = "Callable[[Any, Hooks], Awaitable[tuple[Draft, Changes] | None]]"
"""What one record's draft is, once its before-hooks are run, and what its after-hooks are told; `None`: there is nothing to write."""


async def change_all(records: Sequence[Any], values: Mapping[str, Any]) -> None:
    """Assign values to saved records of one model and save them.

    Raises:
        ValidationError, UniqueError, PermissionDeniedError, ImmutableError: and nothing is written.
    """
    if not records or not values:
        return
    shape: Shape = type(records[0]).__shape__
    if shape.append_only:
        shape.refuse_change("changed")

    async def drafted(record: Any, known: Hooks) -> tuple[Draft, Changes] | None:
        own = shape.decoded(record)
        assign(record, values)
        changed = changed_fields(shape, own, record._row)
        if changed and known:
            await run_before(record, "update", known)
            changed = changed_fields(shape, own, record._row)
        if not changed:  # it is so already, or the hooks took it back
            return None
        shape.check_changed(own, [spec.name for _, spec in changed])
        told = changes_of(shape, own, record._row, changed) if known else {}
        return update_draft(shape, own, record._row, changed, False), told

    await _write_all(records, "update", drafted)


async def delete_all(records: Sequence[Any]) -> None:
    """Delete saved records of one model.

    Raises:
        RestrictedError, PermissionDeniedError, ImmutableError: and nothing is written.
    """
    if not records:
        return
    shape: Shape = type(records[0]).__shape__
    if shape.undeletable:
        shape.refuse_change("deleted")

    async def drafted(record: Any, known: Hooks) -> tuple[Draft, Changes]:
        if known:
            await run_before(record, "delete", known)
        return Draft("delete", record.id, base=record._row), {}

    await _write_all(records, "delete", drafted)


async def _write_all(records: Sequence[Any], operation: Written, drafted: Drafted) -> None:
    cls, home = type(records[0]), records[0]._home
    shape: Shape = cls.__shape__
    known: Hooks = cls.__hooks__
    transaction = transaction_of(home)
    written: list[Any] = []
    drafts: list[Draft] = []
    told: list[Changes] = []
    for record in records:
        check_right(record, home)
        made = await drafted(record, known)
        if made is not None:
            written.append(record)
            drafts.append(made[0])
            told.append(made[1])
    if not drafts:
        return
    rows = await home.commit(drafts, parts=transaction is None)
    for record, row in zip(written, rows, strict=True):
        take(shape, record, row, home, None)
    await run_after_all(written, operation, known, told, transaction)
