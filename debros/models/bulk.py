"""Changing many records alike: `await query.update(...)` and `await query.delete()`.

Everything is validated and every before-hook run before the first entry is written; then all drafts go to one commit,
which makes as many entries as the size limits need, or they join the transaction that is running. The records are the
query's own, so nobody sees the state in which a refusal leaves them; without hooks nobody sees them at all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from debros.models.after import Changes, Hooks, Written, run_after_all, run_before
from debros.models.saving import assign, check_right, take, transaction_of
from debros.models.tracking import changed_fields, changes_of, counted, is_changed, to_wire, update_draft
from debros.replica.draft import Draft
from debros.replica.pacing import TURN
from debros.replica.tables import Row
from debros.schema import FieldSpec

if TYPE_CHECKING:
    from debros.models.ports import Collection
    from debros.models.shape import Shape

_FEW: Final = 50  # records between two steps of the scheduler, where each may take a while
_Assigned: TypeAlias = tuple[int, FieldSpec, Any]  # position in a row, field, checked value
Drafted: TypeAlias = "Callable[[Any, Hooks], Awaitable[tuple[Draft, Changes] | None]]"
"""What one record's draft is, once its before-hooks are run, and what its after-hooks are told; `None`: there is nothing to write."""


async def change_all(
    cls: Any, rows: Sequence[Row], home: Collection, values: Mapping[str, Any], *, plainly: bool
) -> None:
    """Assign values to the saved records of some rows of one model and save them.

    `plainly`: its assignments are those of `Model`, so that without hooks what one record makes of the values all do.

    Raises:
        ValidationError, UniqueError, PermissionDeniedError, ImmutableError: and nothing is written.
    """
    if not rows or not values:
        return
    shape: Shape = cls.__shape__
    if shape.append_only:
        shape.refuse_change("changed")
    if plainly and not cls.__hooks__ and _is_plain(shape, values):
        await _change_alike(shape, rows, home, values)
        return

    async def drafted(record: Any, known: Hooks) -> tuple[Draft, Changes] | None:
        own = shape.decoded(record)
        assign(record, values)
        changed = changed_fields(shape, own, record._row)
        if changed and known:
            await run_before(record, "update", known)
            changed = changed_fields(shape, own, record._row)
        if not changed:  # it is so already, or the hooks took it back
            return None
        shape.check_some(own, [spec.name for _, spec in changed])
        told = changes_of(shape, own, record._row, changed) if known else {}
        return update_draft(shape, own, record._row, changed, False), told

    await _write_all(cls, rows, home, "update", drafted)


def _is_plain(shape: Shape, values: Mapping[str, Any]) -> bool:
    """Whether values are of registers and counters only, and mean the same on every record."""
    merges = {spec.name: spec.merge for spec in shape.fields}
    are_plain = all(merges.get(name) in ("lww", "counter") and name in shape.types for name in values)
    return are_plain and shape.derived not in values and not shape.whole


async def _change_alike(shape: Shape, rows: Sequence[Row], home: Collection, values: Mapping[str, Any]) -> None:
    """Change records by what the first of them makes of the values; of the others no record is made."""
    first = shape.hydrate_one(rows[0], home)
    own = shape.decoded(first)
    assign(first, values)
    shape.check_some(own, values)
    alike = _Alike([(at, spec, own[spec.name]) for at, spec in enumerate(shape.fields, 1) if spec.name in values])
    await _write_alike(shape, rows, home, alike.draft)


async def _write_alike(
    shape: Shape, rows: Sequence[Row], home: Collection, draft_of: Callable[[Row], Draft | None]
) -> None:
    may_write = _Logs(shape, home)
    drafts: list[Draft] = []
    for start in range(0, len(rows), TURN):
        if start:
            await trio.lowlevel.checkpoint()
        for row in rows[start : start + TURN]:
            may_write.check(row)
            if (draft := draft_of(row)) is not None:
                drafts.append(draft)
    if drafts:
        await home.commit(drafts, parts=transaction_of(home) is None, told=False)


class _Logs:
    """The logs that records are in, each asked once whether the acting identity may write there."""

    def __init__(self, shape: Shape, home: Collection) -> None:
        self._shape, self._home = shape, home
        self._good: set[int] = set()
        self._log_at = home.table.log_at

    def check(self, row: Row) -> None:
        """Refuse to write a record of another user's log."""
        log = row[self._log_at]
        if log not in self._good:
            check_right(self._shape.hydrate_one(row, self._home), self._home)
            self._good.add(log)


class _Alike:
    """Drafts of records that get the same values."""

    def __init__(self, assigned: Sequence[_Assigned]) -> None:
        self._registers = [each for each in assigned if each[1].merge == "lww"]
        self._counters = [each for each in assigned if each[1].merge == "counter"]
        self._differs: list[dict[tuple[type, Any], bool]] = [{} for _ in self._registers]  # by what stood there
        self._changes: dict[tuple[int, ...], dict[str, Any]] = {}  # by the registers that change

    def draft(self, row: Row) -> Draft | None:
        """Return the draft for the record with this row; `None`: it is so already."""
        changed = tuple([n for n, (at, _, _) in enumerate(self._registers) if self._is_changed(n, row[at])])
        inc = {
            spec.wire: counted(spec, value, row[at])
            for at, spec, value in self._counters
            if is_changed(spec, value, row[at])
        }
        if not changed and not inc:
            return None
        change = self._changes.get(changed) or self._changes.setdefault(changed, self._change(changed))
        put: dict[str, Any] | None = change.get("put")
        return Draft("update", row[0], put=put, inc=inc or None, base=row, change=None if inc else change)

    def _is_changed(self, n: int, old: Any) -> bool:
        known, key = self._differs[n], (type(old), old)
        found = known.get(key)
        if found is None:
            _, spec, value = self._registers[n]
            found = known[key] = is_changed(spec, value, old)
        return found

    def _change(self, changed: tuple[int, ...]) -> dict[str, Any]:
        """Return the change of some registers: one object, so that it is seen to be the same for all these records."""
        put = {spec.wire: to_wire(spec, value) for _, spec, value in map(self._registers.__getitem__, changed)}
        return {"put": put} if put else {}


async def delete_all(cls: Any, rows: Sequence[Row], home: Collection) -> None:
    """Delete the saved records of some rows of one model.

    Raises:
        RestrictedError, PermissionDeniedError, ImmutableError: and nothing is written.
    """
    if not rows:
        return
    shape: Shape = cls.__shape__
    if shape.undeletable:
        shape.refuse_change("deleted")
    if not cls.__hooks__:
        await _write_alike(shape, rows, home, lambda row: Draft("delete", row[0], base=row))
        return

    async def drafted(record: Any, known: Hooks) -> tuple[Draft, Changes]:
        await run_before(record, "delete", known)
        return Draft("delete", record.id, base=record._row), {}

    await _write_all(cls, rows, home, "delete", drafted)


async def _write_all(cls: Any, rows: Sequence[Row], home: Collection, operation: Written, drafted: Drafted) -> None:
    shape: Shape = cls.__shape__
    known: Hooks = cls.__hooks__
    transaction = transaction_of(home)
    may_write = _Logs(shape, home)
    written: list[Any] = []
    drafts: list[Draft] = []
    told: list[Changes] = []
    for start in range(0, len(rows), _FEW):
        if start:
            await trio.lowlevel.checkpoint()
        for record in shape.hydrate(rows[start : start + _FEW], home):
            may_write.check(record._row)
            made = await drafted(record, known)
            if made is not None:
                written.append(record)
                drafts.append(made[0])
                told.append(made[1])
    if not drafts:
        return
    merged = await home.commit(drafts, parts=transaction is None, told=bool(known))
    if not known:
        return
    with trio.CancelScope(shield=True):  # it is written, so each of them says so
        for n, (record, row) in enumerate(zip(written, merged, strict=True), 1):
            take(shape, record, row, home, transaction, None)
            if not n % _FEW:
                await trio.lowlevel.checkpoint()
    await run_after_all(written, operation, known, told, transaction)
