"""The local copy of one log, and the one place where an entry changes what a reader sees: `_admit`.

A local entry comes from a group (built, signed, appended by the store), a foreign one from the gate, an old one from the
log; all end in `_admit`, which is synchronous, so no cancellation can fall between *durable* and *visible*.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from debros.errors import PermissionDeniedError
from debros.log.certificate import Certificate
from debros.log.entry import MAX_LINKS, sign_header
from debros.log.forms import is_change
from debros.log.gate import Known
from debros.log.manifest import Manifest
from debros.log.rights import may_write
from debros.replica.cells import Document
from debros.replica.changes import Change, Packed, Unformed
from debros.replica.cuts import Rights
from debros.replica.entries import EntryRow
from debros.replica.layouts import LAYOUTS
from debros.replica.lifting import MODEL as MIGRATIONS
from debros.replica.rows import Rows
from debros.replica.tables import Row

_TOGETHER: Final = 64  # packed changes that are decoded before they are folded: they stay in a processor's cache

if TYPE_CHECKING:
    from debros.identity.keys import Device
    from debros.replica.store import Model, Store
    from debros.replica.updates import Update


class Tip(NamedTuple):
    """Where the next entry of one key goes."""

    prev: bytes | None  # its last entry
    seq: int  # of the next one


class Staged:
    """An entry on its way into the log: it is planned, its body is built, `seal` signs it, then it is appended."""

    __slots__ = (
        "acts", "at", "body", "body_digest", "changes", "clock", "device", "digest", "encoded", "header", "parents", "replica",
        "seq", "tx",
    )  # fmt: skip
    body: bytes  # once it is built, as the next two
    body_digest: bytes
    clock: int
    header: bytes  # once it is signed, as the rest
    digest: bytes
    seq: int
    parents: tuple[bytes, ...]
    at: int  # where its body stands in the group's blocks; its header follows

    def __init__(self, replica: Replica, device: Device, acts: list[Any] | None = None) -> None:
        self.replica = replica
        self.device = device  # that signs
        self.acts = acts
        self.tx: tuple[bytes, int] | None = None  # of which transaction it is a part, and of how many parts
        self.changes: list[Change] = []
        self.encoded: list[bytes] = []  # the bytes of each change


class Replica:
    """One log on this node. Made by the store, which holds what all logs share."""

    def __init__(self, store: Store, n: int, manifest: Manifest, heads: set[bytes], clock: int) -> None:
        self.n = n  # number of the log on this node
        self.manifest = manifest
        self.log_id = manifest.log_id
        self.heads = heads
        self.clock = clock  # the greatest admitted
        self.skipped = 0  # changes that the fold left out since the node opened
        self._store = store
        self._rights: Rights | None = None  # looked up when first needed

    # -- the state that the gate asks for ------------------------------------------------------------------

    def entry(self, digest: bytes) -> Known | None:
        """Return what the gate must know about an admitted entry of this log."""
        row = self._store.entries.find(digest)
        return None if row is None or row.log != self.n else Known(row.author, row.seq, row.clock, row.user)

    @property
    def next_e(self) -> int:
        """The number of the store's next entry: it moves whenever one is admitted, in this log or another."""
        return self._store.entries.next_e

    def known_among(self, digests: Collection[bytes]) -> dict[bytes, Known]:
        """Return those of these entries that are admitted in this log, like `entry`."""
        rows = self._store.entries.find_all(digests)
        return {row.digest: Known(row.author, row.seq, row.clock, row.user) for row in rows if row.log == self.n}

    def remembered_among(self, digests: frozenset[bytes]) -> Collection[bytes]:
        """Return those of these entries that were admitted lately, in any log: what memory says, without a query."""
        return self._store.entries.remembered(digests)

    # -- writing ---------------------------------------------------------------------------------------------

    def tip(self, author: bytes) -> Tip:
        """Return where the next entry of a key of this home goes."""
        newest = self._store.entries.tip(self.n, author)
        return Tip(None, 0) if newest is None else Tip(newest.digest, newest.seq + 1)

    def seal(self, staged: Staged, before: Staged | None, own: Staged | EntryRow | None) -> None:
        """Sign an entry that was built.

        Args:
            staged: the entry.
            before: the one of this log that was signed before it and is not admitted yet.
            own: likewise the last one of its key.
        """
        device, heads = staged.device, self.heads if before is None else {before.digest}
        own = own or self._store.entries.tip(self.n, device.public)
        prev, seq = (None, 0) if own is None else (own.digest, own.seq + 1)
        links = () if not heads or (prev in heads and len(heads) == 1) else self._links(heads, prev)
        staged.seq = seq
        staged.parents = links if prev is None else (*links, prev)
        staged.header, staged.digest = sign_header(
            device, body_digest=staged.body_digest, length=len(staged.body), log=self.log_id, next=links, prev=prev,
            seq=seq, clock=staged.clock, certificates=self._certificates(device) if prev is None else (),
        )  # fmt: skip

    def _links(self, heads: set[bytes], prev: bytes | None) -> tuple[bytes, ...]:
        """Return which heads an entry names beside the last one of its key: those with the greatest clocks."""
        others: list[tuple[int, bytes]] = []
        for head in heads - {prev}:
            row = self._store.entries.find(head)
            if row is None:  # staged just before this one, by another key: it is the only one
                others.append((self.clock, head))
            elif not row.void:
                others.append((row.clock, head))
        return tuple(sorted(digest for _, digest in sorted(others, reverse=True)[:MAX_LINKS]))

    def check_right(self, device: Device) -> None:
        """Raise `PermissionDeniedError` if this key may not write here."""
        if self.manifest.scope == "user" and not self.manifest.is_admin(device.user):
            raise PermissionDeniedError("this is another user's log; only its owner writes to it")
        newest, rights = self._store.entries.tip(self.n, device.public), self._rights or self.rights
        if newest is None:
            self._certificates(device)
        if rights.has_cuts and rights.would_be_void(device.public, device.user, self.tip(device.public).seq):
            raise PermissionDeniedError(
                "the right of this device or user to write here was revoked; an admin can `grant`"
            )

    def _certificates(self, device: Device) -> tuple[Certificate, ...]:
        found = [] if device.certificate is None else [device.certificate]
        if not self.manifest.open and not self.manifest.is_admin(device.user):
            grant = self.rights.grant(device.user)
            if grant is None:
                raise PermissionDeniedError("this log is not open: an admin must `grant` you the right to write to it")
            found.append(grant)
        return tuple(found)

    # -- the funnel ------------------------------------------------------------------------------------------

    def _admit(
        self, entry: EntryRow, parents: Iterable[bytes], changes: Collection[Change], acts: list[Any] | None,
        among: int | None = None, *, folded: bool = False,
    ) -> None:  # fmt: skip
        """Make an entry that is on disk visible: index it, move the heads, fold its changes.

        `among` is how many changes it has, of good form or not. `folded`: its rows are made, and shown by the flush that follows.
        """
        store, rights = self._store, self._rights or self.rights
        if rights.has_cuts:
            entry = self.judged(entry)
        store.entries.add(entry)
        self.heads.difference_update(parents)
        self.heads.add(entry.digest)
        if entry.clock > self.clock:
            self.clock = entry.clock
        store.by_number.changed(self)
        if not folded:
            self.fold_all(changes, entry)
        if among is not None and among != len(changes):
            self._skip(among - len(changes))
        if acts:
            store.note_acts(self, entry)
        if acts or rights.has_cuts:
            rights.admit(entry, acts)

    def judged(self, entry: EntryRow) -> EntryRow:
        """Return an entry as it counts: void, if the right to write it was cut before."""
        rights = self._rights or self.rights
        return entry._replace(void=True) if rights.has_cuts and rights.is_void(entry) else entry

    def fold_all(self, changes: Collection[Change], entry: EntryRow) -> None:
        """Fold an entry's changes into the rows of the opened models."""
        if type(changes) is list and len(changes) == 1:
            [change] = changes
            if change.row is None:
                self._fold_one(change, entry)
            else:  # what is written here one by one
                self._fold_any(self._store.models.get(change.model), change, entry, is_new=False)
        elif isinstance(changes, Packed):
            good = 0
            for some in changes.unformed(_TOGETHER):
                good += self._fold_some(some, entry, is_formed=False)
            changes.count(good)
        elif isinstance(changes, Unformed):
            if len(changes) == 1:
                is_good = self._fold_one(changes[0], entry, is_formed=False)
            else:
                is_good = self._fold_some(changes, entry, is_formed=False) == len(changes)
            if not is_good:
                changes.drop_bad()
        else:
            self._fold_some(list(changes), entry)

    def _fold_one(self, change: Change, entry: EntryRow, *, is_formed: bool = True) -> bool:
        """Fold the only change of an entry, like `_fold_some`, and return whether it is of good form."""
        store, log, id = self._store, self.n, change.id
        model = store.models.get(change.model)
        if (
            model is not None
            and id > (rows := model.rows).greatest[log]
            and not ("~" in id or entry.void)
            and self._is_plain(model)
        ):  # most: a new document that is nothing but a row
            by, value, version = store.keys.number(entry.user), change.value, change.version
            row = model.projection.created(id, value, rows.next_doc, log, entry.clock, entry.e, by, version)
            if row is not None:
                rows.next_doc += 1
                rows.greatest[log] = id
                store.view.put_new(rows, log, id, row)
                return True
        if not is_formed and not is_change(change.value):
            return False
        self._fold_any(model, change, entry, is_new=False)
        return True

    def _fold_some(self, changes: list[Change], entry: EntryRow, *, is_formed: bool = True) -> int:
        """Fold changes, and return how many are of good form; not `is_formed`: nobody looked yet."""
        store, log, clock, e = self._store, self.n, entry.clock, entry.e
        by, bad, shown = -1, 0, 0
        absent: Collection[tuple[str, str]] = ()
        is_asked = len(changes) < 2
        model: Model | None = None
        created: Callable[..., Row | None] | None = None  # of a model most of whose changes are a new row, and no more
        rows: Rows | None = None
        name = ""
        for n, change in enumerate(changes):
            if change.model != name:
                name = change.model
                model = store.models.get(name)
                rows, created = None if model is None else model.rows, None
                if model is not None and not entry.void and self._is_plain(model):
                    model.rows.revision += 1
                    created = model.projection.created
            id = change.id
            is_last = rows is not None and id > rows.greatest[log]
            if not (is_last or is_asked):
                absent, is_asked = self._absent(changes[n:]), True
            if created is not None and rows is not None:
                row = change.row
                if row is None and (is_last or (name, id) in absent) and "~" not in id:
                    if by < 0:
                        by = store.keys.number(entry.user)
                    row = created(id, change.value, rows.next_doc, log, clock, e, by, change.version)
                    rows.next_doc += row is not None
                if row is not None:
                    if is_last:
                        rows.greatest[log] = id
                    rows.pending[log, id] = row  # as `View.put_new`, without the call
                    shown += 1
                    continue
            if is_formed or is_change(change.value):
                self._fold_any(model, change, entry, is_new=(name, id) in absent)
            else:
                bad += 1
        store.view.pending_rows += shown
        return len(changes) - bad

    def _absent(self, changes: list[Change]) -> Collection[tuple[str, str]]:
        """Return documents, as (model, id), that nobody has seen, though others with greater ids: asked for at once."""
        models, log = self._store.models, self.n
        greatest: dict[str, str] = {}
        asked: dict[str, list[str]] = {}
        for change in [each for each in changes if each.row is None]:
            name, id = change.model, change.id
            if change.before is None and name in models:
                if id > (greatest.get(name) or models[name].rows.greatest[log]):
                    greatest[name] = id
                else:
                    asked.setdefault(name, []).append(id)
        absent: set[tuple[str, str]] = set()
        for name, ids in asked.items():
            if len(ids) > 1:  # else nothing is gained
                found = self._store.view.rows_at(models[name].rows, log, ids, keep=True)
                absent.update((name, id) for id in ids if id not in found)
        return absent

    def _is_plain(self, model: Model) -> bool:
        """Whether this log may hold documents of a model, and a new one of them concerns nobody but its readers."""
        rows = model.rows
        return not (rows.linked or rows.watch or model.claims.indexes) and model.belongs_in(self.manifest)

    def _fold_any(self, model: Model | None, change: Change, entry: EntryRow, *, is_new: bool) -> None:
        if model is not None and change.model == LAYOUTS and self._announces(model, change, entry):
            self._store.layouts.hear(self.manifest, change)
        if model is not None and change.row is not None and not entry.void:
            self.show_new(model, change.row, checked=True)
        elif not may_write(change.id, entry.user, self.manifest):
            self._skip(1)
        elif change.model == MIGRATIONS and self.manifest.part is None:
            self._store.lifts.note(self, change, entry)
        elif change.model == MIGRATIONS:
            self._skip(1)  # a shard follows what the log of its scope says
        elif model is None:
            self._store.note_unknown(change.model)
        elif model.belongs_in(self.manifest):
            self.fold(model, change, entry, is_new=is_new)
        else:
            self._skip(1)  # another log's model: who may write here says nothing about who may write there

    def _announces(self, model: Model, change: Change, entry: EntryRow) -> bool:
        """Whether an announcement of a layout stands where it has its place, and is by somebody who may make it.

        Whoever may write to a log of their own says nothing there of the shards of others.
        """
        return model.belongs_in(self.manifest) and may_write(change.id, entry.user, self.manifest)

    def _skip(self, changes: int) -> None:
        self.skipped += changes
        self._store.skipped += changes

    def fold(self, model: Model, change: Change, entry: EntryRow, *, is_new: bool = False) -> Row:
        """Merge one change into its document and show the row that comes of it; `is_new`: nobody has seen it yet."""
        rows, claims = model.rows, model.claims
        if is_new or change.id > rows.greatest[self.n]:
            row = self.merged(model, None, change, entry)
            self.show_new(model, row, checked=False)
            return row
        before = change.before or self._store.view.row(rows, self.n, change.id)
        update: Update | None = None
        found = (
            None if before is None or entry.void else patched(self._store, model, before, change, entry.clock, entry.e)
        )
        if before is None or found is None:
            row = self.merged(model, before, change, entry)
        else:
            row, update = found
            self._touch(model, before, entry)
        claimed = bool(claims.indexes) and claims.stays(row, before, change.value)
        self.show(model, row, before, claimed=claimed, update=update)
        return row

    def _touch(self, model: Model, before: Row, entry: EntryRow) -> None:
        """Note that an entry touched a document, and which one alone had made it."""
        table, touched = model.table, model.rows.touched
        doc = before[table.doc_at]
        if before[table.state_at] is None:
            touched.append((doc, before[table.e_at]))
        touched.append((doc, entry.e))

    def merged(self, model: Model, before: Row | None, change: Change, entry: EntryRow) -> Row:
        """Return the row after a change, noting which entries made the document."""
        rows, table = model.rows, model.table
        if before is None:
            doc = rows.next_doc
            rows.next_doc += 1
            by = self._store.keys.number(entry.user)
            if not entry.void:
                row = model.projection.created(
                    change.id, change.value, doc, self.n, entry.clock, entry.e, by, change.version
                )
                if row is not None:
                    return row
            document = Document(self._store.entries.digest_of)
        else:
            doc, by = before[table.doc_at], before[table.by_at]
            document = model.states.load(before)
        if before is None:
            rows.touched.append((doc, entry.e))
        else:
            self._touch(model, before, entry)
        if not entry.void:
            document.merge(change.value, entry.clock, entry.e, change.version)
            if document.born is not None and document.born[1] == entry.e:
                by = self._store.keys.number(entry.user)
        return model.projection.project(change.id, document, doc, self.n, by)

    def show_new(self, model: Model, row: Row, *, checked: bool) -> None:
        """Let a row be seen of a new document; `checked`: a writer here made it, and found its unique values free."""
        rows, id, log = model.rows, row[0], self.n
        if id > rows.greatest[log]:
            rows.greatest[log] = id
        self._store.view.put_new(rows, log, id, row)
        if rows.watch is not None:
            rows.watch(row, None, checked)
        if rows.linked:
            self._store.effects.note(model, row, None)
        if model.claims.indexes:
            model.claims.note(row, None, checked=checked)

    def show(
        self, model: Model, row: Row, before: Row | None, *, claimed: bool = False, update: Update | None = None
    ) -> None:
        """Let a row be seen.

        `claimed`: its unique values are what they were, and nobody has to look at them. `update`: in what it differs from `before`.
        """
        rows, id = model.rows, row[0]
        if before is None:
            if row[model.table.doc_at] >= rows.next_doc:
                rows.next_doc = row[model.table.doc_at] + 1
            if id > rows.greatest[self.n]:
                rows.greatest[self.n] = id
        self._store.view.put(rows, self.n, id, row, update)
        if rows.watch is not None:
            rows.watch(row, before, False)
        if rows.linked:
            self._store.effects.note(model, row, before)
        if model.claims.indexes:
            model.claims.note(row, None if claimed else before, checked=claimed)

    @property
    def rights(self) -> Rights:
        """The acts of this log."""
        if self._rights is None:
            self._rights = Rights(self._store, self)
        return self._rights


def patched(
    store: Store, model: Model, before: Row, change: Change, clock: int, e: int
) -> tuple[Row, Update | None] | None:
    """Return the row after a change that wins everywhere, and in what it differs from `before`; else `None`: merge it."""
    patch = model.patches.of(change.value)
    if patch is None or (model.rows.linked and store.effects.may_touch(model)):
        return None
    row = patch.row(before, clock, e, change.version)
    return None if row is None else (row, patch.update)


def refuse_foreign(model: str, id: str) -> PermissionDeniedError:
    """Return the error for a record that belongs to somebody else."""
    return PermissionDeniedError(
        f"{model} {id!r} belongs to another user, as its id says; only they or an admin write it"
    )
