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
from debros.blocks.volumes import Volumes, first_of, volume_of, within
from debros.env import Env
from debros.errors import CorruptionError, DebrosError, StorageError
from debros.log.manifest import Manifest
from debros.replica import misread
from debros.replica.arms import Arm, Volume, volume_key
from debros.replica.indexing import IndexBuild, build_now, missing_indexes, put_off
from debros.replica.layouts import LAYOUTS, refuse_other_key, with_layouts
from debros.replica.lifting import NoPlans, Plans
from debros.replica.replay import Replay
from debros.replica.store import End, Store, behind
from debros.replica.tables import Table
from debros.replica.view import View
from debros.replica.viewfile import MEMORY, Prepare
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
    progress: Callable[[int], None] | None = None, plans: Plans | None = None, volumes: Sequence[Volume] = (),
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
        volumes: where shards lie that have a place of their own.

    Raises:
        StorageError: the disk refused, or the view knows a volume that is not among `volumes`.
    """

    def open_log(stack: ExitStack, view: View | None) -> Volumes:
        def file(number: int, directory: str) -> LogFile:
            applied = 0 if view is None else within(int(view.meta(volume_key("applied", number)) or 0))
            return LogFile.open(
                files, directory, applied=applied, random_bytes=env.random_bytes, max_segment=max_segment
            )

        log = Volumes(file(0, log_path))
        stack.callback(log.close)
        for volume in volumes:
            if volume.away:
                log.lose(volume.number, volume.away)
            else:
                log.mount(volume.number, file(volume.number, volume.log))
        return log

    def begin(view: View | None) -> Opened:
        with ExitStack() as stack:
            if view is not None:
                stack.callback(view.close)
            log = open_log(stack, view)
            followed = view is None or _has_followed(view, volumes)
            lost = view is not None and not all(_belongs(view, log, n, durable=durable) for n in log.numbers)
            rebuilt = view is None or lost or not followed
            if view is None or rebuilt:
                if view is not None:  # what it says of the log counts for nothing
                    if lost:  # it belongs to another past
                        on_lost()
                    stack.close()
                    log = open_log(stack, None)
                view = _new(view_path, prepare, row_cache)
                stack.callback(view.close)
            store = Store(env, log, view, durable=durable, flush_rows=flush_rows)
            _place(store, volumes)
            if rebuilt and volumes:
                store.number_anew()
            has_entries = not store.ends and any(next(log.scan(first_of(n)), None) is not None for n in log.numbers)
            stale, indexes = _attach(store, schemas, volumes, refilled=rebuilt and has_entries)
            if LAYOUTS in store.models:
                store.layouts.load()
            store.effects.link()
            store.lifts.begin(NoPlans() if plans is None else plans, stale)
            replay = Replay(store, own_keys, (*manifests, *(v.manifest for v in volumes)), progress, volumes)
            if stale:
                replay.project_again(stale)
            replay.tails()
            store.flush()
            store.layouts.refuse_others()
            build_now(view, indexes)
            if stale:
                with view.transaction():
                    for name in stale:
                        view.finish_table(store.models[name].table)
            misread.forget(store)
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


def _has_followed(view: View, volumes: Sequence[Volume]) -> bool:
    """Whether the view knows where each shard lies: a move may have been cut off before it did.

    Raises:
        StorageError: it knows of a shard that moved to where nobody knows any more.
    """
    known: dict[str, bytes] = dict(view.read("SELECT key, value FROM meta WHERE key LIKE 'volume %'", ()))
    told = {volume_key("volume", volume.number): volume.manifest.log_id for volume in volumes}
    if not set(known.values()) <= set(told.values()):
        raise StorageError(
            "a shard of this home lies in a store of its own, and stores.json, which says where, is gone; restore it"
        )
    return known == told


def _place(store: Store, volumes: Sequence[Volume]) -> None:
    """Let the store know where the shards lie, and up to where the view has the volumes."""
    view = store.view
    for number in (0, *(volume.number for volume in volumes)):
        if applied := view.meta(volume_key("applied", number)):
            last, digest = view.meta(volume_key("last", number)), view.meta(volume_key("last_digest", number))
            store.ends[number] = End(int(applied), int(last), digest)
    for volume in volumes:
        store.placed[store.replica(volume.manifest).n] = volume.number
        if volume.away:
            store.away[volume.manifest.log_id] = volume.away
    if volumes:
        with view.transaction():
            for volume in volumes:
                view.set_meta(volume_key("volume", volume.number), volume.manifest.log_id)
                if volume.away:  # when it is back, its model's rows are made anew: documents may have its numbers
                    view.set_meta(volume_key("mark", volume.number), None)
                    view.db.execute("DELETE FROM effects WHERE log = ?", (store.replica(volume.manifest).n,))


def _attach(
    store: Store, schemas: Iterable[Schema], volumes: Sequence[Volume], *, refilled: bool
) -> tuple[list[str], list[IndexBuild]]:
    """Attach the models' tables; return the names of those that have to be projected again, and indexes put off.

    `refilled`: the view is new, and the log is not.
    """
    view, stale = store.view, []
    indexes: list[IndexBuild] = []
    for schema in schemas:
        table = Table(schema)
        arms = [
            Arm(volume.number, volume.view, store.replica(volume.manifest).n)
            for volume in volumes
            if not volume.away and (volume.manifest.part or ())[:1] == (schema.name,)
        ]
        found = view.fingerprint(table)
        if found == schema.fingerprint() and not view.have_marks(table, arms):
            found = ""
        if found != schema.fingerprint():
            spoken_of = found is not None  # the log says something of this model already
            refuse_other_key(view, schema)
            with view.transaction():
                view.make_table(table, finished=not spoken_of)
                for arm in arms:
                    view.set_meta(volume_key("mark", arm.volume), None)
            for arm in arms:
                view.make_arm(table, arm)
            if (spoken_of or refilled) and not arms:
                indexes += put_off(view, table)
            if spoken_of:
                stale.append(schema.name)
        if arms:
            view.extend(table, arms)
            if found != schema.fingerprint():
                with view.transaction():
                    view.touch_arms(arms)
                    view.mark_arms(store.new_mark)
        store.attach(table)
        if found == schema.fingerprint():
            store.building += missing_indexes(view, table)
    return stale, indexes


def _belongs(view: View, log: Volumes, volume: int, *, durable: bool) -> bool:
    """Whether the view is the fold of a prefix of this log, as far as it lies in one volume."""
    applied, last = int(view.meta(volume_key("applied", volume)) or 0), view.meta(volume_key("last", volume))
    if not applied:
        return last is None
    try:
        _, digest, block = log.read_section(last)
    except CorruptionError:
        return durable and _has_rotted(view, log, applied)
    except StorageError:
        return False
    return bool(digest == view.meta(volume_key("last_digest", volume)) and behind(last, len(block)) == applied)


def _has_rotted(view: View, log: Volumes, applied: int) -> bool:
    """Whether the last entry's header is damaged where the view read it: its body, or the entry before, still is there.

    A view that moves only with what is synced is a witness then: the entry was acknowledged. (At
    `durability="process"` the view may be ahead of the disk, and the damage be what a power cut left.)
    """
    begin = first_of(volume_of(applied))
    (body, _), *before = view.read(
        "SELECT body, header FROM entries WHERE header >= ? AND header < ? ORDER BY e DESC LIMIT 2", (begin, applied)
    )
    return log.reaches(applied) and any(_is_whole(log, at) for at in (body, *(header for _, header in before)))


def _is_whole(log: Volumes, position: int) -> bool:
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
