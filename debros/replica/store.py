"""One home's logs and their view, and the way of a write through them.

The store owns what all logs of a home share: the log file, the view, the index of entries, the writer's lock. A
group of requests is staged (checked, built), sealed (signed), appended with one write and one sync, then admitted,
each entry through `Replica._admit`. Nothing in memory changes before the group is on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from struct import Struct
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast

import trio
from trio.lowlevel import enable_ki_protection

from debros.blocks import cid
from debros.blocks.volumes import BITS, Volumes
from debros.current import context
from debros.env import Env
from debros.errors import ClosedError, CorruptionError, StorageError
from debros.log.body import SALT_SIZE, parse_body
from debros.log.manifest import Manifest
from debros.replica import misread
from debros.replica import writer as writers
from debros.replica.ahead import Large, goes_ahead, write_ahead
from debros.replica.arms import volume_key
from debros.replica.changes import Change, Packed, changes_in
from debros.replica.effects import Effects, Place
from debros.replica.entries import Entries, EntryRow, Keys
from debros.replica.group import Group, Request
from debros.replica.indexing import IndexBuild
from debros.replica.layouts import LAYOUTS, Layouts
from debros.replica.lifting import Lifts
from debros.replica.logs import Logs
from debros.replica.packing import encoder_of
from debros.replica.patching import Patches
from debros.replica.projection import Projection
from debros.replica.reading import Reader
from debros.replica.refold import refold
from debros.replica.replica import Replica
from debros.replica.rows import Rows
from debros.replica.state import States
from debros.replica.tables import Table, quoted
from debros.replica.twins import Twins
from debros.replica.uniqueness import Claims
from debros.replica.view import View

_SALTS: Final = 64
_CUT: Final = Struct(f"{SALT_SIZE}s" * _SALTS).unpack
MARK_SIZE: Final = 7  # bytes of the mark that the home's view and a volume's share: an integer of SQLite's
NUMBERING_SIZE: Final = 8
WAL_PAGES: Final = 4000  # moved into the view's file when the write-ahead log is longer


Parts: TypeAlias = "dict[int, list[int]] | None"
"""Which blocks of a group, by place, go into which volume; `None`: all into the home's own."""


def behind(position: int, size: int) -> int:
    """Return the position behind a section whose block has `size` bytes."""
    length = cid.SIZE + size
    return position + (length.bit_length() + 6) // 7 + length


class Model(NamedTuple):
    """What the store keeps for an opened model."""

    table: Table
    rows: Rows
    states: States
    projection: Projection
    claims: Claims
    twins: Twins | None  # of a sharded model
    patches: Patches
    encode_new: Callable[[list[Any]], bytes] | None  # the changes of new documents of good values, if it is quick

    def belongs_in(self, manifest: Manifest) -> bool:
        """Whether a log may hold documents of this model; which of them, their keys say."""
        schema, part = self.table.schema, manifest.part
        if schema.scope != manifest.scope:
            return False
        return part is None if schema.sharding is None else part is not None and part[0] == schema.name


class End(NamedTuple):
    """Up to where a volume is admitted."""

    applied: int  # position behind the last entry
    header: int  # its position
    digest: bytes


class Admitted(NamedTuple):
    """An entry that has just become durable and visible, as `Store.on_admitted` tells of it."""

    replica: Replica
    entry: EntryRow
    changes: Collection[Change]  # of good form; whoever has no right to one of them did not change anything by it
    origin: Literal["local", "remote"]


class Store:
    """The logs of one home and what they mean. Made by `debros.replica.opening.open_store`."""

    def __init__(self, env: Env, log: Volumes, view: View, *, durable: bool, flush_rows: int) -> None:
        self.env = env
        self.log = log
        self.view = view
        self.keys = Keys(view)
        self.entries = Entries(view, self.keys)
        self.models: dict[str, Model] = {}
        self.ends: dict[int, End] = {}  # by volume
        self._moved_ends: set[int] = set()  # volumes whose end the view has not yet
        self.placed: dict[int, int] = {}  # volumes of the logs that do not lie in the home's own log file, by number
        self.away: dict[bytes, str] = {}  # logs, by id, whose volume is not here, and why
        self.by_number = Logs(self)
        self.skipped = 0  # changes that the fold left out since the node opened
        self.effects = Effects(self)
        self.lifts = Lifts(self)
        self.layouts = Layouts(self)
        self.unknown: set[str] = set()  # models in the log that nobody opened
        self._read: tuple[bytes, Collection[Change]] = (b"", [])  # the large entry that was read last, and its changes
        self.flush_failure: StorageError | None = None  # of the last flush that nobody asked for
        self._salts: Iterator[bytes] = iter(())
        # told of each group, which is of one origin; quick, never raising
        self.on_admitted: list[Callable[[Sequence[Admitted]], None]] = []
        # told of rows that a flush changed by itself, and of models whose rows it made anew; as above
        self.on_moved: list[Callable[[Sequence[Place], Sequence[str]], None]] = []
        self.closed = False
        self.is_closing = False
        self._appending: trio.Event | None = None  # set once the append that a thread is at, or was last at, is done
        self._kept_open: trio.Event | None = None  # set once what is, or was last, written in turns is over
        self.broken = ""  # why memory is behind the log for good
        self._durable = durable
        self._flush_rows = flush_rows
        self.cut: set[Replica] = set()  # logs in which cuts came that take effect with the next flush
        self._new_unknown: set[str] = set()
        self._new_acts: list[tuple[int, int]] = []
        self.reader = Reader(env, view)
        self.building: list[IndexBuild] = []  # indexes that are declared and not there yet
        self.taken: trio.Event | None = None  # while another connection writes into the view's file: set when it has
        self.writer = writers.Writer(self._run, None if durable else self._run_now)

    def salt(self) -> bytes:
        """Return 16 random bytes for a body."""
        found = next(self._salts, None)
        if found is None:  # drawn many at once: a call into the kernel costs more than all else of it
            self._salts = iter(_CUT(self.env.random_bytes(SALT_SIZE * _SALTS)))
            found = next(self._salts)
        return found

    def new_mark(self) -> int:
        """Return a number that tells the flush that writes it from all others."""
        return int.from_bytes(self.env.random_bytes(MARK_SIZE), "big")

    @property
    def numbering(self) -> bytes:
        """What tells the numbers of entries from earlier ones that were in another order; empty if they never were."""
        found: bytes = self.view.meta("numbering") or b""
        return found

    def number_anew(self) -> None:
        """Note that the view is made anew from several log files: entries get numbers file by file, not as they came."""
        with self.view.transaction():
            self.view.set_meta("numbering", self.env.random_bytes(NUMBERING_SIZE))

    def attach(self, table: Table) -> Model:
        """Make a model's rows readable and writable; its table is in the view."""
        rows = self.view.add_table(table)
        states = States(table, self.entries.digest_of)
        name, is_sharded = table.schema.name, table.schema.sharding is not None
        projection = Projection(table, states.dump, partial(self.layouts.is_in_place, name) if is_sharded else None)
        patches = Patches(table, projection, self.entries.digest_of, rows.update_of)
        claims = Claims(self.view, rows, states, self.entries.digest_of)
        twins = Twins(self.view, rows, claims, self.entries.digest_of) if is_sharded else None
        if twins is not None:
            self.layouts.add(table.schema)
            rows.watch = twins.note
        elif name == LAYOUTS:
            rows.watch = self.layouts.note
        model = self.models[name] = Model(
            table, rows, states, projection, claims, twins, patches, encoder_of(table.schema.fields)
        )  # fmt: skip
        return model

    # -- logs ------------------------------------------------------------------------------------------------

    def replica(self, manifest: Manifest) -> Replica:
        """Return the local copy of a log, an empty one if there is none."""
        return self.by_number.make(manifest)

    # -- writing -----------------------------------------------------------------------------------------------

    async def commit(self, request: Request) -> None:
        """Write a request; on return it is durable and visible.

        Raises:
            ClosedError: the node is closed.
            DebrosError: the request was refused, or the disk failed; nothing of it was written.
        """
        self.check_open()
        if goes_ahead(request):
            async with self.writer.exclusive():
                await write_ahead(self, cast(Large, request))
        else:
            await self.writer.commit(request)

    def check_open(self) -> None:
        """Raise `ClosedError` once the node is closed, `StorageError` once memory is behind the log."""
        if self.is_closing:
            raise ClosedError("the node is closed; open it again to read or write")
        if self.broken:
            raise StorageError(self.broken)

    def break_off(self, error: BaseException) -> StorageError:
        """Return the error for entries that are on disk and could not be made visible.

        Nothing is written or flushed any more: heads and tips lack them, so the next entry would fork its own key.
        """
        self.broken = f"an entry is in the log but cannot be shown ({error}); open the node again"
        return StorageError(self.broken)

    async def _run(self, requests: Sequence[Request]) -> list[Request]:
        group, deferred = self._stage(requests)
        if group.staged:
            self.show(group, await self.append(group.blocks, self.parts_of(group)))
        self._finish(group)
        return deferred

    def _run_now(self, requests: Sequence[Request]) -> list[Request]:
        group, deferred = self._stage(requests)
        if group.staged:
            self.show(group, self._append(group.blocks, self.parts_of(group)))
        self._finish(group)
        return deferred

    async def append(self, blocks: list[tuple[int, bytes, bytes]], parts: Parts = None) -> list[int]:
        """Append blocks as durably as this store promises, and return their positions. Not to be cancelled.

        `parts` says which of them go into which volume; `None`: all into the home's own.
        """
        if self.broken:  # while it was waited for
            raise StorageError(self.broken)
        if not self._durable:
            return self._append(blocks, parts)
        self._appending = trio.Event()
        try:
            return await self.env.offload(self._append, blocks, parts)
        finally:
            self._appending.set()

    def _append(self, blocks: list[tuple[int, bytes, bytes]], parts: Parts) -> list[int]:
        if parts is None:
            return self.log.append(blocks, durable=self._durable)
        positions, written = [0] * len(blocks), False
        for volume, slots in parts.items():
            try:
                found = self.log.append([blocks[n] for n in slots], durable=self._durable, volume=volume)
            except StorageError as error:
                if written:
                    self.broken = f"a volume refused its part of what others took ({error}); open the node again"
                    raise StorageError(self.broken) from error
                raise
            written = True
            for n, position in zip(slots, found, strict=True):
                positions[n] = position
        return positions

    def parts_of(self, group: Group) -> Parts:
        """Return which blocks of a group go into which volume."""
        if not self.placed:
            return None
        parts: dict[int, list[int]] = {}
        start = 0
        for staged in group.staged:
            parts.setdefault(self.placed.get(staged.replica.n, 0), []).extend(range(start, staged.at + 2))
            start = staged.at + 2
        return parts

    def parts_for(self, replica: Replica, blocks: int) -> Parts:
        """Return where so many blocks of one log go, for `append`."""
        volume = self.placed.get(replica.n)
        return None if volume is None else {volume: list(range(blocks))}

    def admitted_up_to(self, header: int, digest: bytes, size: int) -> None:
        """Note that a volume is admitted up to an entry: the position of its header, which has `size` bytes."""
        volume = header >> BITS
        self.ends[volume] = End(behind(header, size), header, digest)
        self._moved_ends.add(volume)

    @enable_ki_protection
    async def run_exclusively(self, request: Request) -> None:
        """Write a request while the caller holds the writer's lock."""
        if goes_ahead(request):
            await write_ahead(self, cast(Large, request))
            return
        await self._run([request]) if self._durable else self._run_now([request])
        if request.error is not None:
            raise request.error

    def _stage(self, requests: Sequence[Request]) -> tuple[Group, list[Request]]:
        """Return a group of those requests that are not refused, signed, and the ones that have to come after it."""
        group = Group(self)
        deferred: list[Request] = []
        for request in requests:
            try:
                if self.is_closing or self.broken:
                    self.check_open()
                if self.flush_failure is not None:
                    self.flush()
                is_staged = not group.is_closed and request.stage(group)
                (group.requests if is_staged else deferred).append(request)
            except Exception as error:  # whatever refuses one request is its saver's, not the group's
                request.error = error
        group.seal()
        return group, deferred

    @enable_ki_protection
    def show(self, group: Group, positions: list[int]) -> None:
        """Let the entries of a group be seen, which are on disk at these positions."""
        try:
            admitted = self.admit(group, positions)
        except BaseException as error:
            raise self.break_off(error) from error
        self.announce(admitted)
        if self.cut or self.lifts.changed:
            self.flush_if_full()  # before anybody takes a result

    def admit(self, group: Group, positions: list[int], *, folded: bool = False) -> list[Admitted]:
        """Admit the entries of a group, which are on disk at these positions, and perhaps are `folded` already."""
        admitted: list[Admitted] = []
        for staged in group.staged:
            replica, at = staged.replica, staged.at
            entry = EntryRow(
                self.entries.next_e, staged.digest, replica.n, staged.device.public, staged.device.user, staged.seq, staged.clock,
                positions[at + 1], positions[at], False,
            )  # fmt: skip
            replica._admit(entry, staged.parents, staged.changes, staged.acts, folded=folded)
            if self.placed:
                self.admitted_up_to(entry.header, entry.digest, len(staged.header))
            admitted.append(Admitted(replica, entry, staged.changes, "local"))
        if not self.placed:
            last = admitted[-1].entry
            self.admitted_up_to(last.header, last.digest, len(group.staged[-1].header))
        return admitted

    def announce(self, admitted: Sequence[Admitted]) -> None:
        """Tell those who want to know of entries that have become durable and visible."""
        for tell in self.on_admitted:
            tell(admitted)

    def _finish(self, group: Group) -> None:
        for request in group.requests:
            request.done = True
            try:
                request.finish()
            except Exception as error:  # the entry stands, whatever keeps the saver from seeing it
                request.error = StorageError(f"written, but it cannot be read back: {error}")
        self.flush_if_full()

    async def until_writable(self) -> None:
        """Wait for an index that is being built, if something has to be written into the view before it can be read."""
        pending = self.entries.pending or self.view.pending_rows or self.effects.unsettled
        while self.taken is not None and (pending or context().transaction is not None):
            await self.taken.wait()

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Keep others from writing into the view's file within the block; the caller has waited until it is free."""
        self.taken = trio.Event()
        try:
            yield
        finally:
            self.taken.set()
            self.taken = None

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Have whoever closes wait for the end of the block; its caller holds the writer's lock."""
        self._kept_open = trio.Event()
        try:
            yield
        finally:
            self._kept_open.set()

    async def until_free(self) -> None:
        """Wait until nobody else writes into the view's file."""
        while self.taken is not None:
            await self.taken.wait()

    def flush_if_full(self) -> None:
        """Move what is pending into the view when there is enough of it."""
        if self.is_full() and self.taken is None:
            try:
                self.flush()
            except StorageError as error:  # the writes stand; the view catches up before the next one or query
                self.flush_failure = error

    def tune(self, *, flush_rows: int, row_cache: int) -> None:
        """Change sizes while it is open."""
        self._flush_rows = flush_rows
        self.view.row_cache = row_cache

    def is_full(self) -> bool:
        """Whether enough waits in memory to be moved into the view, or a cut that rows in memory do not show."""
        if self.cut or self.lifts.changed:
            return True
        most = self._flush_rows
        return self.view.pending_rows >= 4 * most or len(self.entries.pending) >= most

    # -- the view ----------------------------------------------------------------------------------------------

    @enable_ki_protection
    def flush(self) -> None:
        """Move what is pending into the view's file, in one transaction with the position it reflects.

        Raises:
            StorageError: the disk refused; everything is still in memory.
        """
        if self.broken:
            raise StorageError(self.broken)
        if not (self.entries.pending or self.view.pending_rows or self.effects.unsettled or self.lifts.changed):
            return
        try:
            self._flush()
        except StorageError as error:
            if not self.view.is_damaged and self.view.is_torn:
                self.broken = f"the store of a shard refused what the home's view took ({error}); open the node again"
                raise StorageError(self.broken) from error
            raise

    def _flush(self) -> None:
        view, entries = self.view, self.entries
        relaid = self.layouts.relaid
        recast: list[Place] = []  # documents folded anew, because entries are void now or count again
        with view.transaction():
            entries.drain()  # numbers new keys, so it comes first
            self.keys.drain()
            view.drain()
            if self.cut:
                for replica in self.cut:
                    recast += replica.rights.reconsider()
                    self.lifts.reconsider(replica)
                entries.drain_void()
                view.drain(again=True)
            if self.layouts.relaid:
                self._lay_again()
            self.by_number.drain()
            if self._new_acts:
                view.db.executemany("INSERT OR IGNORE INTO acts VALUES (?, ?)", self._new_acts)
            for name in sorted(self._new_unknown):
                view.db.execute("REPLACE INTO models VALUES (?, '')", (name,))
            if self.lifts.changed:
                self.lifts.drain()
                self.lifts.settle()
            for volume in self._moved_ends:
                applied, last, digest = self.ends[volume]
                view.set_meta(volume_key("applied", volume), applied)
                view.set_meta(volume_key("last", volume), last)
                view.set_meta(volume_key("last_digest", volume), digest)
            moved = self.effects.settle()
            view.set_meta("links", self.effects.declared)
            for model in self.models.values():
                if model.twins is not None and model.twins.unsettled:
                    moved += [(model, place) for place in model.twins.settle()]
            stale = [(model.claims, model.claims.settle()) for model in self.models.values() if model.claims.indexes]
            misread.mark(self)
            view.mark_arms(self.new_mark)
        view.note_drained()
        for claims, places in stale:
            claims.forget(places)
        for model, place in moved:
            model.rows.pending.pop(place, None)
            model.rows.cache.pop(place)
            model.rows.revision += 1
        self.effects.forget()
        lifted = self.lifts.forget() if self.lifts.changed else []
        for name in lifted:
            self.models[name].rows.revision += 1
        self.layouts.relaid = set()
        for model in self.models.values():
            if model.twins is not None:
                model.twins.forget()
        view.settle()
        entries.settle()
        self.keys.settle()
        self._new_acts, self._new_unknown, self._moved_ends = [], set(), set()
        for replica in self.cut:
            replica.rights.settle()
        self.cut = set()
        self.by_number.settle()
        self.flush_failure = None
        if view.wal_pages > WAL_PAGES and not view.is_through:
            try:
                view.checkpoint()
            except StorageError as error:  # what was written stands before the file, and a later one moves it
                self.flush_failure = error
        if self.on_moved and not self.is_closing:
            turned: list[Place] = [*recast, *((model.table.schema.name, *place) for model, place in moved)]
            lifted += sorted({name for name, _ in relaid})
            turned += [(claims.model, *place) for claims, places in stale for place in places]
            for tell in self.on_moved if turned or lifted else ():
                tell(turned, lifted)

    def _lay_again(self) -> None:
        """Fold documents again whose shard can be told only now, within the view's running transaction."""
        for name, log in sorted(self.layouts.relaid):
            model, replica = self.models[name], self.by_number[log]
            found = self.view.read(f'SELECT "id" FROM {quoted(model.table.name)} WHERE "_log" = ?', (log,))
            for (id,) in found:
                refold(self, replica, model, id)
        self.view.drain(again=True)

    def note_unknown(self, model: str) -> None:
        """Remember that the log speaks of a model nobody opened; it is projected when somebody does."""
        if model not in self.unknown:
            self.unknown.add(model)
            self._new_unknown.add(model)

    def note_acts(self, replica: Replica, entry: EntryRow) -> None:
        """Remember that an entry has acts."""
        self._new_acts.append((entry.e, replica.n))

    # -- reading the log ---------------------------------------------------------------------------------------

    def changes_of(self, entry: EntryRow) -> Collection[Change]:
        """Read an entry's changes of good form from the log.

        Raises:
            CorruptionError: its body is damaged.
        """
        digest, found = self._read
        if digest == entry.digest:
            return found
        codec, _, block = self.log.read_section(entry.body)
        if codec == cid.RAW:  # encrypted
            return []
        if codec != cid.DAG_CBOR:
            raise CorruptionError(f"the codec of the block at {entry.body} has rotted: no body is dag-pb")
        found = changes_in(parse_body(block))
        if type(found) is Packed:  # whose documents are often asked about one after the other; each asking decodes anew
            self._read = (entry.digest, found)
        return found

    @enable_ki_protection
    async def aclose(self) -> None:
        """Let what is being written come to its end, then flush and close; from now on nothing else begins."""
        self.is_closing = True
        with trio.CancelScope(shield=True):
            if self._appending is not None:
                await self._appending.wait()
                await trio.lowlevel.checkpoint()  # its saver makes it visible first
            if self._kept_open is not None:
                await self._kept_open.wait()
            self.view.thread.let_go()
            await self.env.offload(self.close)
            self.view.thread.take()

    @enable_ki_protection
    def close(self) -> None:
        """Flush and close. What was acknowledged is in the log in any case."""
        if self.closed:
            return
        self.is_closing = True
        self.view.thread.take_to_close()
        try:
            self.log.sync()
            if not self.broken:
                self.flush()
        finally:
            self.closed = True
            with ExitStack() as left:  # whichever of them fails
                left.callback(self.log.close)
                left.callback(self.view.close)
                self.reader.close()
