"""A log takes its place in a volume: the view follows, in one transaction, and memory with it.

Its entries are in the volume's log file already. The home's record says so once the rows are written and before that is committed: a
disk that has no room for them refuses the move as a whole. Whatever ends the process between the two leaves a view that does
not know of the volume, and the next opening makes it anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from debros.blocks.logfile import LogFile
from debros.blocks.volumes import first_of
from debros.replica.arms import Arm, Volume, in_schema, volume_key
from debros.replica.replica import Replica
from debros.replica.store import End, Model, Store


class Blocks(NamedTuple):
    """Where an entry lies in its new log file."""

    header: int
    body: int


def relocate(
    store: Store,
    replica: Replica,
    volume: Volume,
    log: LogFile,
    moved: Mapping[int, Blocks],
    settle: Callable[[], None],
) -> None:
    """Let a log lie in a volume from now on; the caller holds the writer's lock, and has flushed.

    Args:
        store: the home.
        replica: the log.
        volume: where it lies now.
        log: the volume's log file.
        moved: where its entries lie there, by their numbers.
        settle: lets the home's record say so; called when all that may be refused for want of room is written.

    Raises:
        StorageError: the disk refused. Until `settle` is called, nothing has changed then.
    """
    view, model = store.view, store.models[volume.manifest.part[0] if volume.manifest.part else ""]
    table, name, old = model.table, model.table.schema.name, store.placed.get(replica.n, 0)
    arm = Arm(volume.number, volume.view, replica.n)
    before = view.arms_of(name)
    view.make_arm(table, arm)
    view.extend(table, [*before, arm])
    end = _end(store, volume.number, moved, log)
    first = first_of(volume.number)
    try:
        with view.transaction():
            view.db.executemany(
                "UPDATE entries SET header = ?, body = ? WHERE e = ?",
                [(first + at.header, first + at.body, e) for e, at in moved.items()],
            )
            _carry(store, model, replica.n, next((one.schema for one in before if one.log == replica.n), "main"), arm)
            view.set_meta(volume_key("volume", volume.number), replica.log_id)
            if end is not None:
                for key, value in zip(("applied", "last", "last_digest"), end, strict=True):
                    view.set_meta(volume_key(key, volume.number), value)
            for key in ("volume", "applied", "last", "last_digest", "mark") if old else ():
                view.db.execute("DELETE FROM meta WHERE key = ?", (volume_key(key, old),))
            view.touch_arms([arm])
            view.mark_arms(store.new_mark)
            settle()
    except BaseException:
        view.extend(table, before)
        raise
    store.log.mount(volume.number, log)
    store.placed[replica.n] = volume.number
    if end is not None:
        store.ends[volume.number] = end
    model.rows.arms[replica.n] = arm
    view.extend(table, list(model.rows.arms.values()))
    store.entries.forget_places(replica.n)
    store.reader.renew()
    if old:
        store.ends.pop(old, None)
        store.log.unmount(old)


def _end(store: Store, volume: int, moved: Mapping[int, Blocks], log: LogFile) -> End | None:
    if not moved:
        return None
    newest = max(moved, key=lambda e: moved[e].header)
    return End(first_of(volume) + log.end, first_of(volume) + moved[newest].header, store.entries.digest_of(newest))


def _carry(store: Store, model: Model, log: int, source: str, arm: Arm) -> None:
    """Carry the rows of a log from one file into another, within the running transaction."""
    db, table = store.view.db, model.table
    here, there = in_schema(source, table.name), in_schema(arm.schema, table.name)
    db.execute(f'INSERT INTO {there} ({table.listed}) SELECT {table.listed} FROM {here} WHERE "_log" = ?', (log,))
    missing = {build.index.name for build in store.building if build.table is table}
    for index in table.indexes():
        if index.fill and index.name not in missing:  # its trigger has filled the table there
            side = in_schema(source, index.name)
            db.execute(f'DELETE FROM {side} WHERE "doc" IN (SELECT "_doc" FROM {here} WHERE "_log" = ?)', (log,))
    db.execute(f'DELETE FROM {here} WHERE "_log" = ?', (log,))
