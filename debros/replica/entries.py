"""The index of admitted entries: by digest and by number, in memory while recent, else in the view.

An entry's number counts admissions on this node; it is short, and stands for the digest in rows. Public keys
are numbered likewise.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Collection, Iterator
from functools import cache
from struct import Struct
from typing import Any, Final, NamedTuple

from debros.identity.did import did_of, tag
from debros.log.entry import Header
from debros.replica.view import View

RECENT: Final = 8192  # entries kept in memory
KEYS_KEPT: Final = 16_384  # likewise keys
TIPS_KEPT: Final = 4096  # likewise newest entries of keys
PROVISIONAL: Final = b"\xff" * 32  # the digest that an entry of a running transaction goes by: after all others


_key: Final = Struct(">q").unpack_from  # by which the view finds a digest: its first eight bytes


class EntryRow(NamedTuple):
    """An admitted entry: who wrote it, where it stands in its log, and where its blocks are."""

    e: int
    digest: bytes
    log: int  # number of the log
    author: bytes
    user: bytes
    seq: int
    clock: int
    header: int  # positions in the log file
    body: int
    void: bool

    @classmethod
    def of(cls, header: Header, e: int, log: int, user: bytes, header_at: int, body_at: int) -> EntryRow:
        """Return the row of an entry that is about to be admitted, as number `e`."""
        its = (e, header.digest, log, header.author, user, header.seq, header.clock, header_at, body_at, False)
        return tuple.__new__(cls, its)  # as `cls(*its)`, a call of Python less for each entry


class Keys:
    """Numbers of public keys: authors and users."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._numbers: dict[bytes, int] = {}  # those used last, and the new ones
        self._keys: dict[int, bytes] = {}
        self._next: int = 1 + (view.db.execute("SELECT max(n) FROM keys").get or 0)
        self._new: dict[bytes, int] = {}

    def number(self, key: bytes) -> int:
        """Return the number of a key, a new one if it was never seen here."""
        n = self._numbers.get(key)
        if n is None and (n := self.find(key)) is None:
            n = self._new[key] = self._next
            self._next += 1
            self._remember(n, key)
        return n

    def find(self, key: bytes) -> int | None:
        """Return the number of a key, `None` if it was never seen here."""
        n = self._numbers.get(key)
        if n is None:
            for (n,) in self._view.read("SELECT n FROM keys WHERE key = ?", (key,)):
                self._remember(n, key)
        return n

    @property
    def count(self) -> int:
        """How many keys have numbers: they are 1 to this."""
        return self._next - 1

    def key(self, n: int) -> bytes:
        """Return the key that has this number."""
        key = self._keys.get(n)
        if key is None:
            [(key,)] = self._view.read("SELECT key FROM keys WHERE n = ?", (n,))
            self._remember(n, key)
        return key

    def _remember(self, n: int, key: bytes) -> None:
        if len(self._keys) >= KEYS_KEPT:
            self._numbers, self._keys = dict(self._new), {new: key for key, new in self._new.items()}
        self._numbers[key], self._keys[n] = n, key

    def did_of_tag(self, owner: str) -> str | None:
        """Return the DID of the user with this owner tag, `None` if no such user was seen here."""
        for (key,) in self._view.read("SELECT key FROM keys WHERE tag = ?", (owner,)):
            return did_of(key)
        return next((did_of(key) for key in self._new if tag(key) == owner), None)

    def drain(self) -> None:
        """Write the new numbers, within the view's running transaction."""
        if self._new:
            self._view.db.executemany(
                "INSERT INTO keys VALUES (?, ?, ?)", [(n, key, tag(key)) for key, n in self._new.items()]
            )

    def settle(self) -> None:
        """Forget what was written: it is committed."""
        self._new = {}


class Entries:
    """All admitted entries of a store."""

    def __init__(self, view: View, keys: Keys) -> None:
        self._view = view
        self._keys = keys
        self.next_e: int = 1 + (view.db.execute("SELECT max(e) FROM entries").get or 0)
        self.pending: dict[bytes, EntryRow] = {}  # not yet in the view
        # by log and key: those used last, and what the view has not yet
        self._tips: dict[tuple[int, bytes], EntryRow] = {}
        self._moved_tips: set[tuple[int, bytes]] = set()
        self._recent: OrderedDict[bytes, EntryRow] = OrderedDict()
        self._digests: OrderedDict[int, bytes] = OrderedDict()
        self._void: dict[int, bool] = {}  # what `mark_void` set and the view does not have yet

    def add(self, row: EntryRow) -> None:
        """Note an admitted entry, which has the number `next_e`."""
        self.next_e = row.e + 1
        self.pending[row.digest] = row
        place = (row.log, row.author)
        tip = self._tips.get(place) or self.tip(*place)
        if tip is None or row.seq > tip.seq:  # a fork of a key may come late: the longer branch goes on
            self._tips[place] = row
            self._moved_tips.add(place)
        self._digests[row.e] = row.digest

    def expect(self, digests: Collection[bytes]) -> None:
        """Know the next entries by their numbers, before they are admitted."""
        self._digests.update(enumerate(digests, self.next_e))

    def expect_no_more(self) -> None:
        """Forget those that were expected, and not admitted."""
        for e in [e for e in self._digests if e >= self.next_e]:
            del self._digests[e]

    def find(self, digest: bytes) -> EntryRow | None:
        """Return the entry with this digest."""
        row = self.pending.get(digest) or self._recent.get(digest)
        if row is None:
            k = int.from_bytes(digest[:8], "big", signed=True)
            for found in self._rows("k = ? AND digest = ?", (k, digest)):
                row = found
                self._remember(row)
        return row

    def beginning_with(self, start: bytes) -> EntryRow | None:
        """Return the entry whose digest begins with these 8 bytes, if it is the only one."""
        pending = [row for digest, row in self.pending.items() if digest[:8] == start]
        found = [*pending, *self._rows("k = ?", (int.from_bytes(start, "big", signed=True),))]
        return found[0] if len(found) == 1 else None

    def find_all(self, digests: Collection[bytes]) -> list[EntryRow]:
        """Return those of these entries that are admitted, by one query for all that are not in memory."""
        its = frozenset(digests)
        held = self.remembered(its)
        found = [self.pending.get(digest) or self._recent[digest] for digest in held]
        ks = [_key(digest)[0] for digest in (its.difference(held) if held else its)]
        if ks:
            rows = self._rows("k IN (SELECT value FROM json_each(?))", (json.dumps(ks),))
            found += [row for row in rows if row.digest in its]
        return found

    def remembered(self, digests: frozenset[bytes]) -> Collection[bytes]:
        """Return those of these entries that are in memory."""
        return (digests & self.pending.keys()) | (digests & self._recent.keys())

    def by_number(self, e: int) -> EntryRow:
        """Return the entry with this number.

        Raises:
            StorageError: the view has none, though it was given: it is damaged.
        """
        digest = self._digests.get(e)
        row = (self.pending.get(digest) or self._recent.get(digest)) if digest is not None else None
        if row is None:
            row = next(self._rows("e = ?", (e,)), None)
            if row is None:
                raise self._view.damage(LookupError(f"no entry has the number {e}"))
            self._remember(row)
        return row

    def digest_of(self, e: int) -> bytes:
        """Return the digest of an entry; the provisional one for a number not given yet."""
        digest = self._digests.get(e)
        if digest is not None:
            return digest
        return PROVISIONAL if e >= self.next_e else self.by_number(e).digest

    def of_author(self, log: int, author: bytes) -> list[EntryRow]:
        """Return all entries of one key in one log; the view has been flushed."""
        n = self._keys.find(author)
        return [] if n is None else list(self._rows("author = ? AND log = ?", (n, log)))

    def of_user(self, log: int, user: bytes) -> list[EntryRow]:
        """Return all entries of one user in one log; the view has been flushed."""
        n = self._keys.find(user)
        return [] if n is None else list(self._rows("user = ? AND log = ?", (n, log)))

    def up_to(self, clock: int, after: int, most: int) -> list[EntryRow]:
        """Return entries in the order of admission whose clock is not greater, behind a number; the view is flushed."""
        return list(self._rows("t <= ? AND e > ? ORDER BY e LIMIT ?", (clock, after, most)))

    def of_log(self, log: int, after: int, most: int) -> list[EntryRow]:
        """Return entries of one log in the order of admission, behind a number; the view has been flushed."""
        return list(self._rows("log = ? AND e > ? ORDER BY e LIMIT ?", (log, after, most)))

    def forget_places(self, log: int) -> None:
        """Forget where the entries of a log lie, as it was in memory: the view has been flushed, and told where now."""
        for digest in [digest for digest, row in self._recent.items() if row.log == log]:
            del self._recent[digest]
        for place in [place for place in self._tips if place[0] == log]:
            del self._tips[place]

    def logs_of(self, key: bytes) -> list[int]:
        """Return the numbers of the logs with entries of a key, as author or as user; the view has been flushed."""
        n = self._keys.find(key)
        found = self._view.read("SELECT DISTINCT log FROM entries WHERE author = ?1 OR user = ?1 ORDER BY log", (n,))
        return [log for (log,) in found]

    def tip(self, log: int, author: bytes) -> EntryRow | None:
        """Return the newest entry of one key in one log, by its own count."""
        newest = self._tips.get((log, author))
        if newest is None and (n := self._keys.find(author)) is not None:
            for (e,) in self._view.read("SELECT e FROM tips WHERE log = ? AND author = ?", (log, n)):
                newest = self._tips[log, author] = self.by_number(e)
        return newest

    def mark_void(self, changes: dict[bytes, bool]) -> None:
        """Set whether entries are void, from now on in memory, and in the view with the next `drain_void`."""
        for digest, void in changes.items():
            row = self.find(digest)
            if row is not None:
                kept = self.pending if digest in self.pending else self._recent
                kept[digest] = row._replace(void=void)
                self._void[row.e] = void

    def is_marked(self, entry: EntryRow) -> bool:
        """Whether `mark_void` said of an entry what the view does not have yet."""
        return entry.e in self._void

    def drain_void(self) -> None:
        """Write which entries became void or count again, within the view's running transaction."""
        changed = [(int(void), e) for e, void in self._void.items()]
        self._view.db.executemany("UPDATE entries SET void = ? WHERE e = ?", changed)

    def _rows(self, where: str, bindings: tuple[Any, ...]) -> Iterator[EntryRow]:
        columns = "e, digest, log, author, user, s, t, header, body, void"
        key = self._keys.key
        found = self._view.read(f"SELECT {columns} FROM entries WHERE {where}", bindings)
        for e, digest, log, author, user, s, t, header, body, void in found:
            yield EntryRow(e, digest, log, key(author), key(user), s, t, header, body, self._void.get(e, bool(void)))

    def _remember(self, row: EntryRow) -> None:
        self._recent[row.digest] = row
        self._digests[row.e] = row.digest
        self._forget_old()

    def _forget_old(self) -> None:
        while len(self._recent) > RECENT:
            _, old = self._recent.popitem(last=False)
            self._digests.pop(old.e, None)

    def drain(self) -> None:
        """Write the pending entries, within the view's running transaction."""
        number = cache(self._keys.number)
        self._view.db.executemany(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (e, _key(digest)[0], digest, log, number(author), number(user), s, t, h, b, void)
                for e, digest, log, author, user, s, t, h, b, void in self.pending.values()
            ],
        )

        self._view.db.executemany(
            "REPLACE INTO tips VALUES (?, ?, ?)",
            [(log, number(author), self._tips[log, author].e) for log, author in self._moved_tips],
        )

    def settle(self) -> None:
        """Forget the pending entries: they are committed."""
        self._moved_tips = set()
        if len(self._tips) > TIPS_KEPT:
            self._tips = {}
        self._recent.update(self.pending)
        self._forget_old()
        self.pending = {}
        self._void = {}
