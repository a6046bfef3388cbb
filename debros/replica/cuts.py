"""Cuts taking effect on a replica: entries become void, or count again, and their documents are folded anew.

Which entries are void is `debros.log.rights`' pure function of the set; here is what of the view has to change, in one
transaction with the entry that brought it: a view on disk is the fold of a prefix of the log at any moment. Only
the entries that a touched register hits are asked about again, and only their documents are folded again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from debros.identity.certificate import Certificate
from debros.log.acts import parse_acts
from debros.log.body import parse_body
from debros.log.entry import parse_header
from debros.log.rights import Cuts, Fact, Register
from debros.replica.entries import EntryRow
from debros.replica.refold import refold

if TYPE_CHECKING:
    from debros.replica.effects import Place
    from debros.replica.replica import Replica
    from debros.replica.store import Store


class Rights:
    """The acts of one log. Most logs have none, which costs one look at a set."""

    def __init__(self, store: Store, replica: Replica) -> None:
        self._store = store
        self._replica = replica
        self.has_cuts = False  # whether any entry of the log has acts; most logs have none
        self._cuts: Cuts | None = None
        self._grants: dict[bytes, Certificate] = {}
        self._touched: set[Register] = set()  # registers whose entries are to be asked about again
        for (e,) in store.view.read("SELECT e FROM acts WHERE log = ? ORDER BY e", (replica.n,)):
            entry = store.entries.by_number(e)
            self._take(entry, parse_body(store.log.read(entry.body)).acts)

    def is_void(self, entry: EntryRow) -> bool:
        """Whether a cut excludes an entry that is just coming in, or is known."""
        return self._cuts is not None and self._cuts.is_void(_fact(entry))

    def would_be_void(self, author: bytes, user: bytes, seq: int) -> bool:
        """Whether a cut would exclude the next entry of a key."""
        return self._cuts is not None and self._cuts.is_void(Fact(b"", author, user, None, seq, 0))

    def grant(self, user: bytes) -> Certificate | None:
        """Return the write certificate that an admin delivered for a user."""
        return self._grants.get(user)

    def granted(self) -> list[bytes]:
        """Return the users whom an admin let write."""
        return sorted(self._grants)

    def revoked(self) -> list[bytes]:
        """Return the keys that an admin revoked, and did not grant again."""
        return [] if self._cuts is None else self._cuts.revoked()

    def admit(self, entry: EntryRow, acts: list[Any] | None) -> None:
        """Take an admitted, indexed entry in; what it makes void, or brings back, changes with the next flush."""
        self._touched |= self._take(entry, acts)
        if self._touched:
            self._store.cut.add(self._replica)

    def _take(self, entry: EntryRow, acts: list[Any] | None) -> set[Register]:
        if self._cuts is None:
            self._cuts, self.has_cuts = Cuts(self._replica.manifest, self._known), True
        for _, act in parse_acts(acts)[0] if acts else ():
            if isinstance(act, Certificate) and self._is_grant(act):
                self._grants[act.to] = act
        return self._cuts.admit(_fact(entry), acts)

    def _is_grant(self, certificate: Certificate) -> bool:
        manifest = self._replica.manifest
        here = certificate.may == "write" and certificate.log == manifest.log_id
        return here and manifest.is_admin(certificate.by) and certificate.is_signed()

    def _known(self, digest: bytes) -> Fact | None:
        entry = self._store.entries.find(digest)
        if entry is None or entry.log != self._replica.n:
            return None
        return self._chained(entry)

    def _chained(self, entry: EntryRow) -> Fact:
        return _fact(entry)._replace(prev=parse_header(self._store.log.read(entry.header)).prev)

    def _hit_by(self, registers: Iterable[Register]) -> dict[bytes, EntryRow]:
        """Return the entries that cuts in these registers may make void, by digest."""
        entries, log = self._store.entries, self._replica.n
        hit: dict[bytes, EntryRow] = {}
        for root, key in registers:
            found = entries.of_author(log, key)
            if root is None:
                found += entries.of_user(log, key)
            hit.update((entry.digest, entry) for entry in found)
        return hit

    def turned_since(self, e: int) -> list[EntryRow]:
        """Return the entries up to a number that count now and were void when those were all there were, or the reverse.

        The view is flushed.
        """
        if self._cuts is None:
            return []
        store = self._store

        def known(digest: bytes) -> Fact | None:
            entry = store.entries.find(digest)
            return None if entry is None or entry.e > e or entry.log != self._replica.n else self._chained(entry)

        cuts = Cuts(self._replica.manifest, known)
        sql = "SELECT e FROM acts WHERE log = ? AND e <= ? ORDER BY e"
        for (number,) in store.view.read(sql, (self._replica.n, e)):
            entry = store.entries.by_number(number)
            cuts.admit(_fact(entry), parse_body(store.log.read(entry.body)).acts)
        hit = self._hit_by(self._cuts.registers).values()
        return [entry for entry in hit if entry.e <= e and cuts.is_void(_fact(entry)) != entry.void]

    def reconsider(self) -> list[Place]:
        """Mark what is void now and fold its documents anew, in the flush's transaction; `settle` follows.

        Returns the documents of opened models that were folded.
        """
        store, log = self._store, self._replica.n
        hit, entries = self._hit_by(self._touched), store.entries
        changed = {
            entry.digest: void
            for entry in hit.values()
            if (void := self.is_void(entry)) != entry.void or entries.is_marked(entry)  # in a flush that failed
        }
        entries.mark_void(changed)
        touched = {(change.model, change.id) for digest in changed for change in store.changes_of(hit[digest])}
        for name, id in sorted(touched):
            if name in store.models:
                refold(store, self._replica, store.models[name], id)
            else:
                store.note_unknown(name)  # its rows are older now than the log
        return [(name, log, id) for name, id in sorted(touched) if name in store.models]

    def settle(self) -> None:
        """Forget what is reconsidered: the transaction is committed."""
        self._touched = set()


def _fact(entry: EntryRow) -> Fact:
    """What rights ask about an entry; `prev` is looked up where a chain is walked."""
    return Fact(entry.digest, entry.author, entry.user, None, entry.seq, entry.clock)
