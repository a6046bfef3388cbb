"""Which records a migration concerns, counted and shown before anything is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from debros.errors import MigrationError
from debros.migrations.lifter import Lifter
from debros.migrations.steps import Sample
from debros.replica.lifting import Lift
from debros.replica.relifting import BATCH, projected
from debros.replica.store import Model, Store
from debros.replica.tables import DELETED, UNLIFTED, UNREADABLE, Row, quoted


def count_older(store: Store, model: Model, log: int, version: int) -> Iterator[int]:
    """Yield counts, a batch at a time, of living documents that have a cell older than a version."""
    table = model.table
    living = f'"_log" = ? AND ("_hidden" & {DELETED}) = 0'
    plain = f'SELECT count(*) FROM {quoted(table.name)} WHERE {living} AND "_state" IS NULL AND "_v" < ?'
    yield store.view.read(plain, (log, version))[0][0]
    last = 0
    merged = f'{table.select} WHERE "_doc" > ? AND {living} AND "_state" IS NOT NULL ORDER BY "_doc" LIMIT {BATCH}'
    while batch := store.view.read(merged, (last, log)):
        yield sum(model.states.oldest_version(row) < version for row in batch)
        last = batch[-1][table.doc_at]


def count_shown(store: Store, model: Model, log: int) -> int:
    """Return how many records a log shows."""
    found = f'SELECT count(*) FROM {quoted(model.table.name)} WHERE "_log" = ? AND "_hidden" = 0'
    return int(store.view.read(found, (log,))[0][0])


def count_rows(store: Store, model: Model, log: int) -> int:
    """Return how many rows there are, hidden ones too."""
    found = f'SELECT count(*) FROM {quoted(model.table.name)} WHERE "_log" = ?'
    return int(store.view.read(found, (log,))[0][0])


def count_unreadable(store: Store, model: Model) -> int:
    """Return how many living records are left out for a missing or unreadable value."""
    wanted = f'("_hidden" & {DELETED}) = 0 AND ("_hidden" & {UNREADABLE}) != 0'
    return int(store.view.read(f"SELECT count(*) FROM {quoted(model.table.name)} WHERE {wanted}", ())[0][0])


@contextmanager
def projecting(model: Model, lifts: Mapping[int, Lift]) -> Iterator[None]:
    """Project rows under other lifts in the block, which must not wait."""
    before, model.projection.lifts = model.projection.lifts, lifts
    try:
        yield
    finally:
        model.projection.lifts = before


def samples(
    store: Store, model: Model, logs: list[int], lifts: Mapping[int, Lift], most: int, shown: Callable[[Row], dict[str, object]]
) -> list[Sample]:  # fmt: skip
    """Return what would become of the first records that change, at most `most`. Nothing is written."""
    table, found, last = model.table, list[Sample](), 0
    for log in logs:
        select = f'{table.select} WHERE "_doc" > ? AND "_log" = ? ORDER BY "_doc" LIMIT {BATCH}'
        while len(found) < most and (batch := store.view.read(select, (last, log))):
            with projecting(model, lifts):
                rows = [(projected(model, before), before) for before in batch]
            for row, before in rows:
                refuse_failed(model, row, lifts)
                old, new = shown(before), shown(row)
                differ = [name for name in new if old[name] != new[name]]
                if differ and len(found) < most and not row[table.hidden_at] & DELETED:
                    was, is_now = {n: old[n] for n in differ}, {n: new[n] for n in differ}
                    found.append(Sample(table.schema.name, row[0], was, is_now))
            last = batch[-1][table.doc_at]
    return found


def refuse_failed(model: Model, row: Row, lifts: Mapping[int, Lift]) -> None:
    """Raise `MigrationError` for a row on which a function of the migration failed."""
    table = model.table
    if not row[table.flags_at] & UNLIFTED or row[table.hidden_at] & DELETED:
        return  # a deleted record that cannot be lifted hinders nobody
    lift = lifts[row[table.log_at]]
    assert isinstance(lift, Lifter)
    try:
        lift.explain(row[0], model.states.load(row))
    except Exception as error:  # whatever the program's function raises is what the user has to know
        raise MigrationError(
            f"{table.schema.name} {row[0]!r} cannot be migrated: {type(error).__name__}: {error}; nothing was changed; "
            "correct the function, then: debros migrate"
        ) from error
