"""Opening a home: recover the log, judge the view, and bring it up to the log.

A view is kept when the last entry it has applied is in the log, whole, where it says, and ends where it says, or has
rotted there. Otherwise it belongs to another past: it is rebuilt, and the caller must write with a new device key, for
the log may have lost entries that a peer has seen. A view that turns out to be damaged is rebuilt likewise, as if it
had been deleted. Tables whose declaration changed are projected anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from debros.blocks.files import Files
from debros.blocks.logfile import MAX_SEGMENT, LogFile
from debros.blocks.recovery import Finding
from debros.env import Env
from debros.errors import CorruptionError, DebrosError, StorageError
from debros.log.manifest import Manifest
from debros.replica.indexing import IndexBuild, build_now, missing_indexes, put_off
from debros.replica.layouts import LAYOUTS, refuse_other_key, with_layouts
from debros.replica.lifting import NoPlans, Plans
from debros.replica.replay import Replay
from debros.replica.store import Store, behind
from debros.replica.tables import Table
from debros.replica.view import MEMORY, Prepare, View
from debros.schema import Schema


class Opened(NamedTuple):
    """An open store, and what its opener has to know."""

    store: Store
    report: Sequence[Finding]  # what recovery found in the log
    fresh_key_needed: bool  # the log may lack entries of this home's device key: write with a new one
    orphaned: bool  # entries of its device keys build on damaged ones, and do not show: a new key is better
    rebuilt: bool  # the view was made anew
    rejected: int  # entries behind damage that did not pass the gate again


def open_store(
    env: Env, files: Files, log_path: str, view_path: str, schemas: Iterable[Schema], *,
    prepare: Prepare, own_keys: frozenset[bytes], durable: bool = True, flush_rows: int = 500, row_cache: int = 10_000,
    max_segment: int = MAX_SEGMENT, manifests: Iterable[Manifest] = (), on_lost: Callable[[], None] = lambda: None,
    progress: Callable[[int], None] | None = None, plans: Plans | None = None,
) -> Opened:  # fmt: skip
    """Open the log and view of a home. Blocking.

    Args:
        env: randomness for new segments, and the clock of new entries.
        files: where the log lies; the view is SQLite's own business.
        log_path: directory of the log's segments.
        view_path: the view's file, or `:memory:`.
        schemas: the models to show.
        prepare: puts the SQL functions that queries use on a connection.
        own_keys: device keys that this home has written with: an unfinished transaction of theirs at the end of
            the log is cut, for nobody has seen it.
        durable: sync each commit group before it is acknowledged.
        flush_rows: entries, or a quarter of the rows, that wait in memory before they are moved into the view.
        row_cache: rows kept in memory.
        max_segment: bytes of a log segment.
        manifests: of logs that the node knows, in case that their blocks are damaged.
        on_lost: called before a view is given up that knows of entries which the log lacks; from then on the home must
            write with a new device key. What it raises goes to the caller, and the view stays.
        progress: called with the number of entries replayed so far.
        plans: the migrations that the program knows.

    Raises:
        StorageError: the disk refused.
    """

    def begin(view: View | None) -> Opened:
        with ExitStack() as stack:
            if view is not None:
                stack.callback(view.close)
            applied = 0 if view is None else int(view.meta("applied") or 0)
            log = LogFile.open(files, log_path, applied=applied, random_bytes=env.random_bytes, max_segment=max_segment)
            stack.callback(log.close)
            lost = view is not None and not _belongs(view, log, applied, durable=durable)
            rebuilt = view is None or lost
            if view is None or lost:
                if view is not None:  # it belongs to another past, so what it says of the log counts for nothing
                    on_lost()
                    stack.close()
                    log = LogFile.open(files, log_path, random_bytes=env.random_bytes, max_segment=max_segment)
                    stack.callback(log.close)
                view = _new(view_path, prepare, row_cache)
                stack.callback(view.close)
                applied = 0
            store = Store(env, log, view, durable=durable, flush_rows=flush_rows)
            store.applied = applied
            has_entries = applied == 0 and next(log.scan(), None) is not None
            stale, indexes = _attach(store, schemas, refilled=rebuilt and has_entries)
            if LAYOUTS in store.models:
                store.layouts.load()
            store.effects.link()
            store.lifts.begin(NoPlans() if plans is None else plans, stale)
            replay = Replay(store, own_keys, manifests, progress)
            if stale:
                replay.project_again(stale, applied)
            replay.tail(applied)
            store.flush()
            store.layouts.refuse_others()
            build_now(view, indexes)
            if stale:
                with view.transaction():
                    for name in stale:
                        view.finish_table(store.models[name].table)
            stack.pop_all()
            return Opened(store, log.report, lost, replay.orphaned, rebuilt, replay.rejected)

    schemas, manifests = with_layouts(schemas), tuple(manifests)
    view = _existing(view_path, prepare, row_cache)
    if view is not None:
        try:
            return begin(view)
        except Exception as error:  # whatever a damaged view leads to, the log is there to make another one
            if isinstance(error, DebrosError) and not view.is_damaged:
                raise
    return begin(None)


def _attach(store: Store, schemas: Iterable[Schema], *, refilled: bool) -> tuple[list[str], list[IndexBuild]]:
    """Attach the models' tables; return the names of those that have to be projected again, and indexes put off.

    `refilled`: the view is new, and the log is not.
    """
    view, stale = store.view, []
    indexes: list[IndexBuild] = []
    for schema in schemas:
        table = Table(schema)
        found = view.fingerprint(table)
        if found != schema.fingerprint():
            spoken_of = found is not None  # the log says something of this model already
            refuse_other_key(view, schema)
            with view.transaction():
                view.make_table(table, finished=not spoken_of)
            if spoken_of or refilled:
                indexes += put_off(view, table)
            if spoken_of:
                stale.append(schema.name)
        store.attach(table)
        if found == schema.fingerprint():
            store.building += missing_indexes(view, table)
    return stale, indexes


def _belongs(view: View, log: LogFile, applied: int, *, durable: bool) -> bool:
    """Whether the view is the fold of a prefix of this log."""
    last = view.meta("last")
    if not applied:
        return last is None
    try:
        _, digest, block = log.read_section(last)
    except CorruptionError:
        return durable and _has_rotted(view, log, applied)
    except StorageError:
        return False
    return bool(digest == view.meta("last_digest") and behind(last, len(block)) == applied)


def _has_rotted(view: View, log: LogFile, applied: int) -> bool:
    """Whether the last entry's header is damaged where the view read it: its body, or the entry before, still is there.

    A view that moves only with what is synced is a witness then: the entry was acknowledged. (At
    `durability="process"` the view may be ahead of the disk, and the damage be what a power cut left.)
    """
    (body, _), *before = view.read("SELECT body, header FROM entries ORDER BY e DESC LIMIT 2", ())
    return log.reaches(applied) and any(_is_whole(log, at) for at in (body, *(header for _, header in before)))


def _is_whole(log: LogFile, position: int) -> bool:
    try:
        log.read_section(position)
    except CorruptionError:
        return False
    return True


def _existing(path: str, prepare: Prepare, row_cache: int) -> View | None:
    """Return the view in a file, `None` if there is none that can be used."""
    if path == MEMORY or not os.path.exists(path):
        return None
    try:
        view = View(path, prepare, row_cache)
    except StorageError:  # not a database: it is made anew
        return None
    if view.is_usable():
        return view
    view.close()
    return None


def _new(path: str, prepare: Prepare, row_cache: int) -> View:
    """Make an empty view in the place of whatever is there.

    It is filled in place: each flush moves rows and `applied` together, so at any moment, a crash included, it is
    the fold of a prefix of the log.
    """
    for suffix in ("", "-wal", "-shm") if path != MEMORY else ():
        try:
            os.remove(path + suffix)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(f"cannot replace the view {path}: {error}") from error
    view = View(path, prepare, row_cache)
    view.create()
    return view
