"""Equivocation: one key that signed two entries with the same number.

A restored backup does it, a copied key, or a liar. Both branches stay in the log and are folded everywhere; the two headers
prove to anybody what happened, for both carry the key's signature. What is looked at here is only whether an entry goes on
where its author's chain was known to end, which costs a look into a dictionary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from debros.identity.did import did_of
from debros.log.entry import parse_header
from debros.replica.entries import EntryRow
from debros.replica.store import Admitted, Store
from debros.sync.fingerprints import flush


@dataclass(frozen=True, slots=True)
class Fork:
    """Two entries of one author with one number, and the proof."""

    log: str  # address
    author: str  # `did:key` of the key that signed both
    user: str  # DID
    seq: int
    headers: tuple[bytes, bytes]  # both signed, ascending


class Chains:
    """Where every author's chain ends, as far as this node knows."""

    def __init__(self, store: Store) -> None:
        self._store = store
        flush(store)
        rows = store.view.read("SELECT t.log, e.author, e.s FROM tips t JOIN entries e ON e.e = t.e", ())
        self._ends = {(log, store.keys.key(author)): s for log, author, s in rows}

    def suspects(self, admitted: Sequence[Admitted]) -> list[EntryRow]:
        """Return those of these new entries whose number its author had given before."""
        found: list[EntryRow] = []
        for one in admitted:
            entry = one.entry
            place = (entry.log, entry.author)
            if entry.seq <= self._ends.get(place, -1):
                found.append(entry)
            else:
                self._ends[place] = entry.seq
        return found

    def proof(self, entry: EntryRow) -> Fork | None:
        """Return the pair that proves an equivocation, if this entry is half of one."""
        store = self._store
        flush(store)
        same = [row for row in store.entries.of_author(entry.log, entry.author) if row.seq == entry.seq]
        others = sorted((row for row in same if row.digest != entry.digest), key=lambda row: row.digest)
        if not others:
            return None
        first, second = sorted((others[0].header, entry.header), key=lambda at: store.log.read(at))
        headers = (store.log.read(first), store.log.read(second))
        address = store.by_number[entry.log].manifest.address
        seq = parse_header(headers[0]).seq
        return Fork(address, did_of(entry.author), did_of(entry.user), seq, headers)
