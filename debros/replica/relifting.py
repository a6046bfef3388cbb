"""The rows of a model made anew from their cells: in their place at once, or in a table beside it, to take their place later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from debros.replica.tables import NOT_UNIQUE, SHADOWED, TARGET_GONE, Row, Table, quoted

if TYPE_CHECKING:
    from debros.replica.store import Model, Store

BATCH: Final = 500  # rows in memory at a time


Take = Callable[[Sequence[tuple[Row, Row]]], None]


def project_again(store: Store, model: Model, logs: Iterable[int], take: Take) -> Iterator[int]:
    """Make the rows of some logs anew from their cells, a batch at a time, and yield how many were looked at.

    `take` gets those that differ, each beside what it was. What is pending must be in the file.
    """
    table = model.table
    for log in logs:
        last = 0
        select = f'{table.select} WHERE "_doc" > ? AND "_log" = ? ORDER BY "_doc" LIMIT {BATCH}'
        while batch := store.view.read(select, (last, log)):
            changed = []
            for before in batch:
                row = projected(model, before)
                if row != before:
                    changed.append((row, before))
            take(changed)
            last = batch[-1][table.doc_at]
            yield len(batch)


def projected(model: Model, before: Row) -> Row:
    """Return a document's row under what is in effect now. Effects of other records, and lost claims, stay for a while."""
    table = model.table
    place = (before[table.doc_at], before[table.log_at], before[table.by_at])
    if before[table.state_at] is None and not model.projection.would_lift(before[table.log_at], before[table.v_at]):
        return before
    row = list(model.projection.project(before[0], model.states.load(before), *place))
    row[table.hidden_at] |= before[table.hidden_at] & (TARGET_GONE | SHADOWED)
    made = tuple(row)
    if before[table.flags_at] & NOT_UNIQUE and model.claims.keys(made) == model.claims.keys(before):
        row[table.flags_at] |= NOT_UNIQUE
        made = tuple(row)
    return made


def in_place(store: Store, model: Model) -> Take:
    """Return what writes new rows where the old ones are, within the running transaction."""
    table, view = model.table, store.view

    def take(changed: Sequence[tuple[Row, Row]]) -> None:
        touched = [(row[table.doc_at], row[table.e_at]) for row, before in changed if before[table.state_at] is None]
        view.db.executemany(f"INSERT OR IGNORE INTO {model.rows.touch} VALUES (?, ?)", touched)
        view.write_rows(model.rows, [row for row, _ in changed])
        for row, before in changed:
            note(store, model, row, before)

    return take


def beside(model: Model) -> str:
    """Return the name of the table in which new rows wait until they take the place of the old ones."""
    return f"s_{model.table.schema.name}"


def aside(store: Store, model: Model) -> Take:
    """Make an empty table beside the model's, and return what writes new rows into it, in transactions of its own."""
    view, table = store.view, model.table
    name, listed = quoted(beside(model)), ", ".join(map(quoted, table.columns))
    with view.transaction():
        view.db.execute(f"DROP TABLE IF EXISTS {name}")
        view.db.execute(f"CREATE TABLE {name} AS SELECT {listed} FROM {quoted(table.name)} LIMIT 0")
        view.db.execute(f'CREATE UNIQUE INDEX {quoted("made_" + model.table.schema.name)} ON {name} ("_doc")')
    marks = _marks(table)

    def take(changed: Sequence[tuple[Row, Row]]) -> None:
        with view.transaction():
            view.db.executemany(f"REPLACE INTO {name} ({listed}) VALUES ({marks})", [row for row, _ in changed])

    return take


def renew(store: Store, model: Model, places: Sequence[tuple[int, str]]) -> list[Row]:
    """Make the rows at some places (log, id) anew in the table beside the model's, and return those that differ."""
    view, table = store.view, model.table
    name, listed = quoted(beside(model)), ", ".join(map(quoted, table.columns))
    made, same = list[Row](), list[tuple[int]]()
    for place in places:
        for before in view.read(f'{table.select} WHERE "_log" = ? AND "id" = ?', place):
            row = projected(model, before)
            if row == before:
                same.append((before[table.doc_at],))
            else:
                made.append(row)
    with view.transaction():
        view.db.executemany(f'DELETE FROM {name} WHERE "_doc" = ?', same)
        view.db.executemany(f"REPLACE INTO {name} ({listed}) VALUES ({_marks(table)})", made)
    return made


def _marks(table: Table) -> str:
    return ", ".join("?" * len(table.columns))


def drop_aside(store: Store, model: Model) -> None:
    """Remove the table beside the model's."""
    with store.view.transaction():
        store.view.db.execute(f"DROP TABLE IF EXISTS {quoted(beside(model))}")


def pairs(store: Store, model: Model, aside: str) -> Iterator[tuple[Row, Row]]:
    """Yield the new rows, each beside the one whose place it takes."""
    table = model.table
    listed, last = ", ".join(map(quoted, table.columns)), 0
    select = f'SELECT {listed} FROM {aside} WHERE "_doc" > ? ORDER BY "_doc" LIMIT {BATCH}'
    while batch := store.view.read(select, (last,)):
        for row in batch:
            [before] = store.view.read(f'{table.select} WHERE "_doc" = ?', (row[table.doc_at],))
            yield row, before
        last = batch[-1][table.doc_at]


def note(store: Store, model: Model, row: Row, before: Row) -> None:
    """Let what depends on a row follow: effects on other records, the id's other holders, and unique values."""
    if model.rows.linked:
        store.effects.note(model, row, before)
    if model.twins is not None and row[model.table.hidden_at] != before[model.table.hidden_at]:
        model.twins.note(row, before, checked=False)
    if model.claims.indexes and model.claims.keys(row) != model.claims.keys(before):
        model.claims.note(row, before, checked=False)
