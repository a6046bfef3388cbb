"""Replaying the log into the view: entries behind `applied` when a home is opened, all of them in a rebuild.

What stands in the own log passed the gate when it came in, so its signatures are not checked again; its bytes are
hashed. Entries read behind damage may have lain inside a value, so they pass the gate again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from debros.blocks import cid
from debros.blocks.car import Section, split
from debros.blocks.volumes import first_of, volume_of
from debros.errors import CorruptionError, EntryHeldError, EntryRefusedError, NewerFormatError
from debros.log.body import Body, parse_body
from debros.log.certificate import user_of_chain
from debros.log.entry import Header, parse_header
from debros.log.gate import judge
from debros.log.manifest import Manifest, parse
from debros.replica.arms import Volume
from debros.replica.changes import changes_in, changes_to_fold
from debros.replica.entries import EntryRow
from debros.replica.store import Store, behind

HEADER_START: Final = b"aaX "  # how every header goes on behind its first byte: the key `a`, the head of its value
MANIFEST_START: Final = b"av\x01capp"  # and every manifest of this version
# what waits in memory between two flushes: more than while programs run, for nobody waits for the loop
_MOST_ROWS: Final = 10_000
_MOST_BYTES: Final = 4 << 20  # of the log


class Found(NamedTuple):
    """A whole entry in the log."""

    header: Header
    body: Body | None  # None: encrypted
    header_at: int
    body_at: int
    doubtful: bool
    raw_body: bytes


class Replay:
    """Reads entries from a store's log and admits them."""

    def __init__(
        self, store: Store, own_keys: frozenset[bytes], manifests: Iterable[Manifest],
        progress: Callable[[int], None] | None, volumes: Sequence[Volume] = (),
    ) -> None:  # fmt: skip
        self._store = store
        self._own_keys = own_keys
        self._manifests = {manifest.log_id: manifest for manifest in manifests}
        self._progress = progress
        self._done = 0
        self._settled = {volume.number: first_of(volume.number) + volume.settled for volume in volumes}
        self._unflushed = 0  # bytes of the log admitted since the last flush
        self._hidden: dict[bytes, Found] = {}  # what is left of transactions that were perhaps never acknowledged
        self.rejected = 0  # doubtful entries that the gate did not let in again
        self.orphaned = False  # entries of own keys are among them

    def tails(self) -> None:
        """Admit what lies behind what the view has, in all volumes."""
        is_judged = bool(self._store.placed)
        if is_judged:
            self._take_back()
        for volume in self._store.log.numbers:
            self._tail(self._end(volume), is_judged)
        self.rejected += len(self._hidden)

    def _end(self, volume: int) -> int:
        end = self._store.ends.get(volume)
        return first_of(volume) if end is None else end.applied

    def _own_tx(self, found: Found) -> tuple[bytes, int] | None:
        """Return the transaction of this home that an entry is one of several parts of."""
        its = found.body.tx if found.body is not None and found.header.author in self._own_keys else None
        return None if its is None or its[1] < 2 else its

    def _tail(self, applied: int, is_judged: bool) -> None:
        """Admit what is behind a position of a volume; `is_judged`: no transaction there is unfinished."""
        waiting: dict[bytes, Found] = {}  # by digest: entries of an own transaction that is not all there yet
        tx: tuple[bytes, int] | None = None
        for found in self._entries(applied):
            its = None if is_judged else self._own_tx(found)
            if waiting and its != tx:
                self._leave(waiting, found.header_at)
            if its is None:
                if found.header.digest not in self._hidden:
                    self._admit(found)
                    self._flush_if_full()
                continue
            tx = its
            waiting[found.header.digest] = found  # again, where a failed sync let a group be written twice
            if len(waiting) == its[1]:
                self._admit_all(waiting)
        if waiting:
            self._leave(waiting, None)

    def _leave(self, waiting: dict[bytes, Found], next_at: int | None) -> None:
        """Decide about a transaction that is not all there; `next_at` is where the entry behind it stands.

        A group is written once the one before it is synced. So if more stands behind it in its segment, it was
        acknowledged, and what it lacks has rotted. At the end of the log it is unfinished: nobody has seen it. It
        is cut, or, where damage that is never cut lies in it too, hidden; likewise at the end of a segment that was
        left, unless an entry behind it builds on it. What came from elsewhere is none, as what stands behind it says.
        """
        if self._came(waiting):
            self._admit_all(waiting)
            return
        if next_at is not None and all(split(found.header_at)[0] == split(next_at)[0] for found in waiting.values()):
            self._admit_all(waiting)
            return
        if next_at is None:
            self._cut(waiting)
        else:
            self._hidden |= waiting
        waiting.clear()

    def _came(self, parts: Mapping[bytes, Found]) -> bool:
        """Whether parts of a transaction were received: then the manifest of their log stands behind the last one.

        A writer here puts it only before the first entry of its log.
        """
        for found in parts.values():
            after = next(self._store.log.scan(behind(found.header_at, len(found.header.raw))), None)
            if after is not None and after.digest == found.header.log:
                return True
        return False

    def _cut(self, unfinished: dict[bytes, Found]) -> None:
        """Cut what stands at the end of a volume; hide it where damage lies in it too."""
        try:
            self._store.log.truncate_to(min(found.body_at for found in unfinished.values()))
        except CorruptionError:
            self._hidden |= unfinished

    def _take_back(self) -> None:
        """Cut the parts of a transaction that one volume has at its end, and another never got.

        All volumes are synced before anything else is written. So a transaction is unfinished where parts are missing and
        each part there is stands at the end of its volume. One volume away may have the rest: then all stays.
        """
        tails: dict[tuple[bytes, int], dict[bytes, Found]] = {}
        for volume in self._store.log.numbers:
            tx, parts = self._last_tx(volume)
            if tx is not None:
                tails.setdefault(tx, {}).update(parts)
        for tx, parts in tails.items():
            if len(parts) == tx[1] or self._store.away or self._came(parts) or self._has_more(tx, parts):
                continue
            for volume in {volume_of(found.body_at) for found in parts.values()}:
                self._cut({digest: part for digest, part in parts.items() if volume_of(part.body_at) == volume})

    def _last_tx(self, volume: int) -> tuple[tuple[bytes, int] | None, dict[bytes, Found]]:
        """Return the transaction with which a volume ends, and what of it stands there; copies of a move are none."""
        last: tuple[bytes, int] | None = None
        parts: dict[bytes, Found] = {}
        for found in self._entries(max(self._end(volume), self._settled.get(volume, 0))):
            tx = self._own_tx(found)
            if tx != last:
                last, parts = tx, {}
            if tx is not None:
                parts[found.header.digest] = found
        return last, parts

    def _has_more(self, tx: tuple[bytes, int], parts: dict[bytes, Found]) -> bool:
        """Whether a part of a transaction stands anywhere else in the log."""
        return any(
            self._own_tx(found) == tx and found.header.digest not in parts
            for volume in self._store.log.numbers
            for found in self._entries(first_of(volume))
        )

    def _admit_all(self, waiting: dict[bytes, Found]) -> None:
        """Admit a whole transaction. No flush comes between: what is behind `applied` would look unfinished."""
        for found in waiting.values():
            self._admit(found)
        waiting.clear()
        self._flush_if_full()

    def project_again(self, models: Iterable[str]) -> None:
        """Fold the entries that the view has into the emptied tables of some models."""
        for volume in self._store.log.numbers:
            if volume in self._store.ends:
                self._project_again(frozenset(models), volume)

    def _project_again(self, names: frozenset[str], volume: int) -> None:
        store, applied = self._store, self._store.ends[volume].applied
        for found in self._entries(first_of(volume)):
            if found.header_at >= applied:
                break
            entry = store.entries.find(found.header.digest)
            if entry is not None and entry.header == found.header_at:  # a second copy, after a failed sync, counts once
                changes = [change for change in changes_in(found.body) if change.model in names]
                store.by_number[entry.log].fold_all(changes, entry)
                self._done += 1
                self._flush_if_full()

    def _admit(self, found: Found) -> None:
        store, header = self._store, found.header
        for parent in header.parents() if self._hidden else ():
            if parent in self._hidden:  # nobody builds on what was never acknowledged
                self._admit(self._hidden.pop(parent))
        replica = store.by_number.find(header.log)
        if replica is None and header.log in self._manifests:  # its block is damaged
            replica = store.replica(self._manifests[header.log])
        if replica is None:
            self.rejected += 1
            return
        if store.placed.get(replica.n, 0) != volume_of(found.header_at):  # a copy that stayed behind when it moved
            self._reach(found)
            return
        if store.entries.find(header.digest) is not None:
            return
        known = None if header.prev is None else store.entries.find(header.prev)
        if found.doubtful or (known is None and header.prev is not None):
            try:
                judge(header.raw, found.raw_body, replica, store.env.now_us() // 1000)
            except (EntryRefusedError, EntryHeldError):
                self.rejected += 1  # what it builds on is damaged, or it never was an entry: peers have it
                self.orphaned |= header.author in self._own_keys
                return
            known = None if header.prev is None else store.entries.find(header.prev)
        user = known.user if known else user_of_chain(header.author, header.certificates, replica.manifest)
        entry = EntryRow.of(header, store.entries.next_e, replica.n, user, found.header_at, found.body_at)
        acts, among = (None, None) if found.body is None else (found.body.acts, len(found.body.ops))
        replica._admit(entry, header.parents(), changes_to_fold(found.body), acts, among)
        self._reach(found)
        self._done += 1

    def _reach(self, found: Found) -> None:
        size = len(found.header.raw)
        if behind(found.header_at, size) > self._end(volume_of(found.header_at)):
            self._store.admitted_up_to(found.header_at, found.header.digest, size)
        self._unflushed += found.header_at - found.body_at + size

    def _flush_if_full(self) -> None:
        store = self._store
        if store.view.pending_rows >= _MOST_ROWS or self._unflushed >= _MOST_BYTES:
            store.flush()
            self._unflushed = 0
            if self._progress is not None:
                self._progress(self._done)

    def _entries(self, start: int) -> Iterator[Found]:
        """Read whole entries: a header, and right before it the body that it names.

        A header is written as DAG-CBOR, and so is every body but an encrypted one, which may be anything: a header too, that
        nobody signed. No digest covers the codec, so it may also have rotted; then what follows tells which of both it is.
        """
        before: Section | None = None
        doubt: Found | None = None  # a header that was written as an encrypted body, or whose codec has rotted
        for section in self._store.log.scan(start):
            found = None if before is None or section.block[1:5] != HEADER_START else _entry(before, section)
            if found is None:
                yield from self._left(before, doubt)
            doubt = None
            if found is None:
                if section.codec == cid.DAG_CBOR:
                    self._manifest(section)
            elif section.codec == cid.DAG_CBOR:
                yield found
                before = None
                continue
            else:
                doubt = found._replace(doubtful=True)
            before = section
        yield from self._left(before, doubt)

    def _left(self, section: Section | None, doubt: Found | None) -> Iterator[Found]:
        """Take what no header named for what it looks like, whatever its codec says."""
        if doubt is not None:
            yield doubt
        elif section is not None and section.codec != cid.DAG_CBOR:
            self._manifest(section)

    def _manifest(self, section: Section) -> None:
        if section.block[1:8] == MANIFEST_START:
            try:
                self._store.replica(parse(section.block))
            except (ValueError, NewerFormatError):
                return  # a body that only begins like one


def _entry(body: Section, section: Section) -> Found | None:
    try:
        header = parse_header(section.block)
        if header.body != body.digest or header.length != len(body.block):
            return None
        doubtful = section.doubtful or body.doubtful
        parsed = None if header.epoch is not None else parse_body(body.block, known=not doubtful)
    except (EntryRefusedError, EntryHeldError):
        return None  # no header after all: a value may begin like one
    return Found(header, parsed, section.position, body.position, doubtful, body.block)
