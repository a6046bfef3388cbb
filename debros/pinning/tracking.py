"""Which documents refer to which content: learned from entries as they are admitted, and from the log at opening.

Rows change without an entry of their own, too: with a cut, a migration, or a declaration that is another one now.

What a document refers to is what its row shows; an older value, or a deleted document, holds on to nothing. Of models
that are not opened there are no rows, so whatever their entries ever named counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

import trio

from debros.blocks import dagcbor
from debros.blocks.cid import Link
from debros.pinning.ledger import PENDING, UNPINNED, Item, Ledger
from debros.replica.changes import Packed
from debros.replica.effects import Place
from debros.replica.pacing import Pacing
from debros.replica.store import Admitted, Store
from debros.replica.tables import Row, quoted
from debros.schema import Schema
from debros.values.composites import holds_links
from debros.values.file import content_in

_STEP: Final = 500  # documents between two checkpoints


class Doc(NamedTuple):
    """A document that changed."""

    model: str
    log: int
    id: str


class Tracker:
    """Keeps the references of a ledger up to date."""

    def __init__(self, store: Store, ruled: frozenset[str]) -> None:
        self._store = store
        self._ruled = ruled  # models whose content is wanted here as soon as it is known
        self._columns = {
            name: _columns(model.table.schema) for name, model in store.models.items() if _columns(model.table.schema)
        }
        self._passed = store.models.keys() - self._columns.keys()  # opened models whose records refer to none
        self._changed: set[tuple[str, int, str]] = set()  # what a `Doc` says
        self._named: list[tuple[Doc, list[tuple[Link, int]]]] = []  # by documents of models that are not opened
        self._anew: set[str] = set()  # models whose rows were made anew, and not looked through yet
        self._seen = 0
        self._declared: dict[str, str] = {}  # fingerprints of models whose rows were looked at, to be written down
        self.on_wanted: Callable[[], object] | None = None  # told that records came that may want content; quick
        self.new: dict[int, Item] = {}  # by number: content that became known, and is not looked for here yet

    @property
    def models(self) -> frozenset[str]:
        """The opened models whose records may refer to content."""
        return frozenset(self._columns)

    @property
    def has_news(self) -> bool:
        """Whether something was learned that is not written down yet."""
        return bool(self._changed or self._named or self._anew)

    def on_admitted(self, admitted: Sequence[Admitted]) -> None:
        """Take note of entries; see `Store.on_admitted`."""
        columns, passed, is_wanted = self._columns, self._passed, False
        self._seen = admitted[-1].entry.e
        for replica, _, changes, origin in admitted:  # every write comes here, so it does no more than note
            if isinstance(changes, Packed) and changes.models <= passed:
                continue
            for change in changes:
                name = change.model
                if name in passed:
                    continue
                if name in columns:
                    self._changed.add((name, replica.n, change.id))
                    is_wanted = is_wanted or (origin == "remote" and name in self._ruled)
                elif found := content_in(change.value):
                    self._named.append((Doc(name, replica.n, change.id), found))
        if is_wanted and self.on_wanted is not None:
            self.on_wanted()

    def on_moved(self, places: Sequence[Place], models: Sequence[str]) -> None:
        """Take note of rows that changed by themselves, and of models whose rows were made anew; see `Store.on_moved`."""
        self._changed.update(place for place in places if place[0] in self._columns)
        self._anew.update(self._columns.keys() & set(models))

    def _look_through(self) -> None:
        """Take note of all documents of the models whose rows were made anew that may refer to content."""
        for name in sorted(self._anew):
            table = self._store.models[name].table
            where = " OR ".join(f"{quoted(table.columns[at])} IS NOT NULL" for at in self._columns[name])
            sql = f'SELECT "_log", "id" FROM {quoted(table.name)} WHERE {where}'  # noqa: S608 - quoted names
            self._changed.update((name, log, id) for log, id in self._store.view.read(sql, ()))
            self._anew.discard(name)

    async def catch_up(self, ledger: Ledger, check_open: Callable[[], None]) -> None:
        """Learn of what happened since the ledger was last brought up to date: entries, and other declarations.

        Raises:
            ClosedError: `check_open` says that they are asked for no more.
        """
        entries = self._store.entries
        seen = ledger.meta("seen") or 0
        if not 0 < seen < entries.next_e or self._seen_mark(seen) != ledger.meta("seen_digest"):
            seen = 0  # the view was rebuilt, or is of another past
        pacing, logs = Pacing(), self._store.by_number
        cut = self._store.view.read("SELECT DISTINCT log FROM entries WHERE e > ?", (seen,)) if seen else []
        turned = [entry.e for (log,) in cut for entry in logs[log].rights.turned_since(seen)]
        for e in (*turned, *range(seen + 1, entries.next_e)):
            entry = entries.by_number(e)
            changes = self._store.changes_of(entry)
            self.on_admitted([Admitted(logs[entry.log], entry, changes, "remote")])
            await pacing.did(1 + len(changes))
            check_open()
        self._seen = max(self._seen, entries.next_e - 1)
        for name, model in self._store.models.items():
            declared = model.table.schema.fingerprint()
            if ledger.meta(_key(name)) != declared:
                self._declared[name] = declared
                self._anew.update(self._columns.keys() & {name})

    def _seen_mark(self, seen: int) -> bytes:
        """Return what stands for the entries up to a number: the last one, and the order they are in."""
        return self._store.entries.digest_of(seen) + self._store.numbering

    async def flush(self, ledger: Ledger, now: int) -> None:
        """Write down what was learned. Content that was not known before is in `new` then: it may be here already.

        What could not be written down, for the disk refused or whoever waited was cancelled, is the next time.

        Raises:
            StorageError: the disk refused.
        """
        self._look_through()
        seen = self._seen
        pending = [Doc(*one) for one in sorted(self._changed)]
        for at in range(0, len(pending), _STEP):
            step = pending[at : at + _STEP]
            with self._noting(ledger):
                for doc in step:
                    self._note(ledger, doc, self._shown(doc), now, only=True)
            self._changed.difference_update(step)
            await trio.lowlevel.checkpoint()
        with self._noting(ledger):
            for doc, found in self._named:
                self._note(ledger, doc, found, now, only=False)
            if seen and seen != ledger.meta("seen"):
                ledger.set_meta("seen", seen)
                ledger.set_meta("seen_digest", self._seen_mark(seen))
            for name, declared in self._declared.items():
                ledger.set_meta(_key(name), declared)
        self._named, self._declared = [], {}

    def unwritten(self) -> set[Link]:
        """Return the content that was referred to since the last time, of which the ledger may not know that it is here."""
        self._look_through()
        found = {item.link for item in self.new.values()}
        for one in self._changed:
            found.update(link for link, _ in self._shown(Doc(*one)))
        for _, named in self._named:
            found.update(link for link, _ in named)
        return found

    @contextmanager
    def _noting(self, ledger: Ledger) -> Iterator[None]:
        known = len(self.new)
        try:
            with ledger.transaction():
                yield
        except BaseException:
            for n in list(self.new)[known:]:  # the ledger does not know it, and gives the number again
                del self.new[n]
            raise

    def content_of(self, model: str, row: Row) -> list[tuple[Link, int]]:
        """Return the content that a row refers to, and its size."""
        found: list[tuple[Link, int]] = []
        for at in self._columns.get(model, ()):
            raw = row[at]
            if raw is not None and b"\xd8\x2a" in raw:
                found += content_in(dagcbor.decode(raw))
        return found

    def _shown(self, doc: Doc) -> list[tuple[Link, int]]:
        store = self._store
        if store.view.is_showing:
            store.view.hide_provisional()
        model = store.models[doc.model]
        row = store.view.row(model.rows, doc.log, doc.id)
        return [] if row is None or row[model.table.hidden_at] & 1 else self.content_of(doc.model, row)

    def _note(self, ledger: Ledger, doc: Doc, found: Sequence[tuple[Link, int]], now: int, *, only: bool) -> None:
        model = ledger.number(doc.model)
        log = ledger.number(self._store.by_number[doc.log].log_id)
        items: list[int] = []
        for link, size in found:
            item = ledger.find(link)
            if item is None:
                wanted = doc.model in self._ruled
                item = ledger.add(link, PENDING if wanted else UNPINNED, now, size=size, model=model)
                self.new[item.n] = item
            else:
                if not item.model:
                    ledger.change(item.n, model=model)
                if item.state == UNPINNED and not item.hand:
                    self.new[item.n] = item  # nobody wanted it for a while, and it may not have gone yet
            items.append(item.n)
        ledger.refer(model, log, doc.id, items, only=only)


def _key(model: str) -> str:
    return f"declared {model}"


def _columns(schema: Schema) -> list[int]:
    """Return where in a row values stand that may refer to content."""
    return [at for at, spec in enumerate(schema.fields, 1) if holds_links(spec.codec)]
