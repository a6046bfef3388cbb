"""One digest of all that a store shows, to compare nodes by."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from debros.blocks import cid, dagcbor
from debros.replica.tables import Row, quoted

if TYPE_CHECKING:
    from debros.replica.reading import Asked
    from debros.replica.store import Store


async def fingerprint(store: Store) -> str:
    """Return a digest of what is shown: equal for stores that show the same records in the same logs."""
    names: list[str] = []

    def ask() -> list[Asked]:
        store.view.hide_provisional()
        store.flush()
        names[:] = [name for name in sorted(store.models) if not store.models[name].table.schema.is_internal]
        return [(_all_of(store, name), ()) for name in names]

    rows = await store.reader.together(ask, 1)
    logs = {n: store.by_number[n].log_id for n in {log for its in rows for log, *_ in its}}
    return await store.env.offload(_digest, names, rows, logs)


def _all_of(store: Store, name: str) -> str:
    table = store.models[name].table
    columns = ", ".join(map(quoted, table.columns[: len(table.names)]))
    return f'SELECT "_log", {columns} FROM {quoted(table.name)} WHERE "_hidden" = 0'


def _digest(names: list[str], rows: list[list[Row]], logs: dict[int, bytes]) -> str:
    shown = sha256()
    for name, its in zip(names, rows, strict=True):
        encoded = sorted(dagcbor.encode([logs[log], *row]) for log, *row in its)
        shown.update(dagcbor.encode([name, len(encoded)]))
        for row in encoded:
            shown.update(row)
    return cid.to_text(shown.digest(), cid.RAW)
