"""One digest of all that a store shows, to compare nodes by."""

from __future__ import annotations

from hashlib import sha256

from debros.blocks import cid, dagcbor
from debros.replica.store import Store
from debros.replica.tables import quoted


def fingerprint(store: Store) -> str:
    """Return a digest of what is shown: equal for stores that show the same records in the same logs."""
    store.view.hide_provisional()
    store.flush()
    shown = sha256()
    for name in sorted(store.models):
        table = store.models[name].table
        if table.schema.is_internal:
            continue
        columns = ", ".join(map(quoted, table.columns[: len(table.names)]))
        query = f'SELECT "_log", {columns} FROM {quoted(table.name)} WHERE "_hidden" = 0'
        rows = sorted(dagcbor.encode([store.by_number[log].log_id, *row]) for log, *row in store.view.read(query, ()))
        shown.update(dagcbor.encode([name, len(rows)]))
        for row in rows:
            shown.update(row)
    return cid.to_text(shown.digest(), cid.RAW)
