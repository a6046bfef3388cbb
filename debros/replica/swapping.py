"""Many rows that wait beside a model's take the place of the old ones in a thread; the loop only commits.

Whoever calls holds the writer's lock, and has moved what was pending into the view: so nothing is written meanwhile, and
reads go on, on the rows of before. Rows that other rows depend on (effects, unique values, ids in two shards), that lie
elsewhere, or in memory, are swapped by the flush itself.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import apsw

from debros.replica.indexing import LONGEST_MS
from debros.replica.relifting import beside
from debros.replica.tables import quoted
from debros.replica.viewfile import BUSY_MS, MEMORY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from debros.replica.store import Model, Store


def goes_beside(store: Store, model: Model, least: int) -> bool:
    """Whether a model's new rows are more than `least`, and may be swapped in by a thread."""
    rows = model.rows
    if rows.linked or model.claims.indexes or rows.arms or store.view.name == MEMORY or store.lifts.on_behind is None:
        return False
    if model.twins is not None and _shows_otherwise(store, model):
        return False
    return bool(store.view.read(f"SELECT 1 FROM {quoted(beside(model))} LIMIT 1 OFFSET {least}", ()))


def _shows_otherwise(store: Store, model: Model) -> bool:
    """Whether a row begins or ceases to show, so that another one with its id may have to."""
    sql = (
        f"SELECT 1 FROM {quoted(beside(model))} a JOIN {quoted(model.table.name)} b"
        ' ON a."_doc" = b."_doc" WHERE a."_hidden" != b."_hidden" LIMIT 1'
    )
    return bool(store.view.read(sql, ()))


async def swap(store: Store, model: Model) -> None:
    """Swap a model's new rows in, and note what they are lifted by.

    Raises:
        StorageError: the disk refused; the old rows stand.
    """
    view, lifts = store.view, store.lifts
    await store.until_free()
    told = json.dumps(lifts.shown_with(model))
    db = view.another(writing=True)
    with store.taking():
        view.db.set_busy_timeout(LONGEST_MS)
        try:
            try:
                await store.env.offload(_put, db, _statements(model), told)
                db.execute("COMMIT")
            finally:
                db.close()
        except apsw.Error as error:
            raise view.failure(error) from error
        finally:
            view.db.set_busy_timeout(BUSY_MS)
    lifts.take_up(model)
    for tell in store.on_moved:
        tell([], [model.table.schema.name])


def _statements(model: Model) -> list[str]:
    table, aside = model.table, quoted(beside(model))
    listed = ", ".join(map(quoted, table.columns))
    return [
        f'INSERT OR IGNORE INTO {model.rows.touch} SELECT a."_doc", a."_e" FROM {quoted(table.name)} a'
        f' JOIN {aside} b ON a."_doc" = b."_doc" WHERE a."_state" IS NULL',
        f"REPLACE INTO {quoted(table.name)} ({listed}) SELECT {listed} FROM {aside}",
        f"DROP TABLE {aside}",
    ]


def _put(db: apsw.Connection, statements: Sequence[str], told: str) -> None:
    db.set_busy_timeout(LONGEST_MS)
    db.execute("BEGIN IMMEDIATE")
    for statement in statements:
        db.execute(statement)
    db.execute("REPLACE INTO meta VALUES ('lifts', ?)", (told,))
