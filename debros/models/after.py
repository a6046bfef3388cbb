"""Hooks after a write: at once when it is durable, or once after the commit of the transaction around it.

A transaction writes one change per record, so its after-hooks come once per record object too: a record that was
created and then updated inside has been created, one that was created and deleted has not been at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import trio

from debros.errors import ModelError
from debros.models import hooks
from debros.models.hooks import Hook, HookEvent

if TYPE_CHECKING:
    from debros.models.ports import Transaction

Written = Literal["create", "update", "delete"]
Changes = dict[str, tuple[Any, Any]]
Hooks = Mapping[HookEvent, tuple[Hook, ...]]


async def run_before(record: Any, operation: Written, known: Hooks) -> None:
    """Run the hooks before a write; their error stops it.

    Raises:
        ModelError: one of them saves the record that is being saved.
    """
    own, here = record.__dict__, trio.lowlevel.current_task()
    if operation == "delete":
        await hooks.run(known.get("before_delete", ()), record)
        return
    if own.get("_before") is here:
        raise ModelError(
            f"a before-hook of {type(record).__name__} saves the record that is being saved; let it only assign: what it assigns is "
            "written"
        )
    own["_before"] = here
    try:
        await hooks.run(known.get("before_save", ()), record)
        await hooks.run(known.get(f"before_{operation}", ()), record)  # type: ignore[call-overload]  # by its parts
    finally:
        own.pop("_before", None)


async def run_after(
    record: Any, operation: Written, known: Hooks, changes: Changes, transaction: Transaction | None
) -> None:
    """Run the hooks after a durable write, or leave them to the transaction that it is part of."""
    state = _State(operation, known, changes)
    if transaction is None:
        await _run(record, state)
        return
    pending: _Pending | None = record.__dict__.get("_pending")
    if pending is None or pending.transaction is not transaction:
        pending = _Pending(record, transaction, state)
        record.__dict__["_pending"] = pending
        transaction.after_commit.append(pending)
    else:
        earlier = pending.state
        pending.state = _joined(earlier, state)
        transaction.on_rollback.append(lambda: pending.give_back(earlier))


async def run_after_all(
    records: Sequence[Any], operation: Written, known: Hooks, told: Sequence[Changes], transaction: Transaction | None
) -> None:
    """Run the hooks of many records: every one is written, so each has its hooks run; the first error is told then."""
    if not known:
        return
    failed: Exception | None = None
    for record, changes in zip(records, told, strict=True):
        try:
            await run_after(record, operation, known, changes, transaction)
        except Exception as error:  # the others' hooks run all the same
            failed = failed or error
    if failed is not None:
        raise failed


@dataclass(frozen=True, slots=True)
class _State:
    operation: Written | None  # None: created and deleted in one transaction, so nothing happened
    known: Hooks
    changes: Changes


class _Pending:
    """What the end of a transaction has to tell one record."""

    __slots__ = ("record", "state", "transaction")

    def __init__(self, record: Any, transaction: object, state: _State) -> None:
        self.record = record
        self.transaction = transaction
        self.state = state

    def give_back(self, state: _State) -> None:
        """Take back what a savepoint that is undone added."""
        self.state = state

    async def __call__(self) -> None:
        """Run the hooks; the transaction calls this once it is durable."""
        self.record.__dict__.pop("_pending", None)
        await _run(self.record, self.state)


def _joined(earlier: _State, later: _State) -> _State:
    if later.operation == "delete":
        return _State(None, later.known, {}) if earlier.operation == "create" else later
    if earlier.operation not in ("create", "update"):
        return later
    changes = dict(earlier.changes)
    for name, (old, new) in later.changes.items():
        changes[name] = (changes[name][0] if name in changes else old, new)
    return _State(earlier.operation, later.known, changes)


async def _run(record: Any, state: _State) -> None:
    if state.operation is None:
        return
    own = record.__dict__
    own["_written"] = state.changes  # what `record.changes` says meanwhile
    try:
        await hooks.run(state.known.get(f"after_{state.operation}", ()), record)  # type: ignore[call-overload]  # as above
        if state.operation != "delete":
            await hooks.run(state.known.get("after_save", ()), record)
    finally:
        own.pop("_written", None)
