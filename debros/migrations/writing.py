"""The operations of a migration that write entries: copying records, and functions of the program.

Each batch, and each function, is one transaction that also writes down how far the migration is: after a crash it goes
on behind what is written, and never does it twice.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from debros.errors import MigrationError
from debros.migrations.builder import Migration
from debros.migrations.operations import CopyTo, Function, Operation, Reshard, Run
from debros.migrations.recording import change_of
from debros.migrations.resharding import close_layout, open_layout
from debros.replica.lifting import RUNNING, migrating
from debros.replica.replica import Replica
from debros.replica.tables import DELETED, quoted

if TYPE_CHECKING:
    from debros.node import Debros

UNDONE_AT_ONCE: Final = 500  # copies deleted in one transaction
BEGINNING: Final = "\0"  # less than every id


class Teller(Protocol):
    """Tells of progress."""

    total: int

    def __call__(self, state: Any, operation: str, done: int, error: str = "") -> None:
        """Tell how many records are done."""
        ...


async def write(node: Debros, migration: Migration, home: Replica, classes: Mapping[str, Any], tell: Teller) -> None:
    """Do what is not done yet of a migration's writing operations."""
    writing = [operation for operation in migration.operations if operation.writes]
    record = node.store.lifts.records(home.n)[migration.name]
    for n, operation in enumerate(writing[record.done :], record.done):
        if isinstance(operation, CopyTo):
            after = record.after if n == record.done else ""
            await _copy(node, migration, home, n, operation, classes, after, tell)
        elif isinstance(operation, Reshard):
            tell("running", operation.text, 0)
            await _note(node, migration, home, n, BEGINNING)  # begun: the way back takes back what a crash leaves
            await open_layout(node, _class(classes, migration, operation, operation.model), operation)
            await _note(node, migration, home, n + 1, "")
        elif isinstance(operation, Run):
            tell("running", operation.text, 0)
            await _call(node, migration, home, operation.function, n + 1)


async def unwrite(node: Debros, migration: Migration, home: Replica, classes: Mapping[str, Any], tell: Teller) -> None:
    """Take back what is done of a migration's writing operations, the last one first.

    Raises:
        MigrationError: one has no way back.
    """
    writing = [operation for operation in migration.operations if operation.writes]
    record = node.store.lifts.records(home.n)[migration.name]
    begun = min(len(writing), record.done + bool(record.after))
    for n in reversed(range(begun)):
        operation = writing[n]
        tell("running", f"undo: {operation.text}", 0)
        if isinstance(operation, CopyTo):
            await _note(node, migration, home, n, BEGINNING)  # whatever a crash leaves of it, both ways go on from here
            await _delete_copies(node, migration, home, operation, classes)
            await _note(node, migration, home, n, "")
        elif isinstance(operation, Reshard):
            await close_layout(node, _class(classes, migration, operation, operation.model), operation)
            await _note(node, migration, home, n, "")
        elif isinstance(operation, Run):
            if operation.undo is None:
                raise MigrationError(f"{migration.name}: {operation.text} has no way back")
            await _call(node, migration, home, operation.undo, n)


async def _note(node: Debros, migration: Migration, home: Replica, done: int, after: str) -> None:
    """Write down how far the migration is."""
    async with node.transaction() as transaction:
        transaction.notes.append((home, change_of(home.manifest, migration.name, done=done, after=after)))


async def _call(node: Debros, migration: Migration, home: Replica, function: Function, done: int) -> None:
    with migrating(), node.current():
        async with node.transaction() as transaction:
            outcome = function(node)
            if inspect.isawaitable(outcome):
                await outcome
            change = change_of(home.manifest, migration.name, done=done, after="")
            transaction.notes.append((home, change))


def _class(classes: Mapping[str, Any], migration: Migration, operation: Operation, name: str) -> Any:
    found = classes.get(name) or next((cls for cls in classes.values() if cls.__name__ == name), None)
    if found is None:
        raise MigrationError(f"{migration.name}: {operation.text}, but {name} is not open; add it to `models=[...]`")
    return found


async def _copy(
    node: Debros, migration: Migration, home: Replica, n: int, operation: CopyTo, classes: Mapping[str, Any], after: str,
    tell: Teller,
) -> None:  # fmt: skip
    source = _class(classes, migration, operation, operation.model)
    target = _class(classes, migration, operation, operation.target)
    done = 0
    with migrating(), node.current():
        tell.total = await source.count()
        while batch := await source.query().where(source.__subject__.column("id") > after).limit(operation.batch).all():
            async with node.transaction() as transaction:
                for record in batch:
                    if operation.where is None or operation.where(record):
                        await _copy_one(node, operation, record, target)
                after = batch[-1].id
                transaction.notes.append((home, change_of(home.manifest, migration.name, done=n, after=after)))
            done += len(batch)
            tell("running", operation.text, done)
        await _note(node, migration, home, n + 1, "")


async def _copy_one(node: Debros, operation: CopyTo, record: Any, target: Any) -> None:
    here = node.collection(target.__schema__)
    row = here.row(record.id)
    if row is not None and not row[here.table.hidden_at] & DELETED:
        return  # it is there already
    own = type(record).__shape__.decoded(record)
    if operation.mapping:
        values = {name: own[wanted] for name, wanted in operation.mapping.items()}
    else:
        values = {name: own[name] for name in target.__shape__.types if name in own}
    if operation.make is not None:
        values = operation.make(dict(values))
    await target(id=record.id, **values).save(skip_hooks=True)


async def _delete_copies(
    node: Debros, migration: Migration, home: Replica, operation: CopyTo, classes: Mapping[str, Any]
) -> None:
    """Delete the records that the migration made: those of the target that came since it began, under ids of the source."""
    source = _class(classes, migration, operation, operation.model)
    target = _class(classes, migration, operation, operation.target)
    store = node.store
    runs = [entry.e for entry, change in store.lifts.entries(home.n) if _begins(change, migration, home)]
    here, there = store.models[target.__schema__.name].table, store.models[source.__schema__.name].table
    select = (
        f'SELECT "id" FROM {quoted(here.name)} WHERE "_hidden" = 0 AND "_ce" > ?'
        f' AND "id" IN (SELECT "id" FROM {quoted(there.name)}) LIMIT {UNDONE_AT_ONCE}'
    )
    with migrating(), node.current():
        while True:
            store.flush()
            ids = [id for (id,) in store.view.read(select, (runs[0] if runs else 0,))]
            found = await target.get_many(ids, missing_ok=True)
            if not found:
                return
            async with node.transaction():
                for record in found:
                    await record.delete(skip_hooks=True)


def _begins(change: Any, migration: Migration, home: Replica) -> bool:
    wanted = change_of(home.manifest, migration.name).id
    return bool(change.id == wanted and change.value.get("put", {}).get("state") == RUNNING)
