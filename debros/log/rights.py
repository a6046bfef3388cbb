"""Rights: who may write a document, and which entries the cuts of a log make void.

Who may write a document is in its id, so nobody can seize an id by an earlier clock. What is void is a function of
the *set* of admitted entries, whenever each of them came.

A cut sets a register, and in each register the greatest (clock, digest, index in `act`) wins. *Own* registers,
one per (root, key), are set by the root's own entries and hit the root's device `key`; *admin* registers, one per
key, are set by chains of an admin, and hit that key and that user unless the user is an admin. They are evaluated
in three passes, own cuts by admin roots, then admin cuts, then own cuts by other roots; an entry that an earlier pass
made void sets nothing in a later one, and no pass can void the cuts of an earlier one, so there is no cycle.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from debros.identity import did
from debros.log.acts import Cut, parse_acts
from debros.log.manifest import Manifest

_TAG_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz234567")


def id_owner(id: str) -> str | None:
    """Return who alone may write a document besides the admins: `"admin"`, an owner tag, or `None` for anybody.

    A tag has 20 characters, so it is never `"admin"`.
    """
    _, mark, owner = id.rpartition("~")
    if mark and (owner == "admin" or (len(owner) == did.TAG_SIZE and _TAG_LETTERS.issuperset(owner))):
        return owner
    return None


def may_write(id: str, user: bytes, manifest: Manifest) -> bool:
    """May this user (a root key) write the document with this id? A change by anybody else is skipped."""
    if "~" not in id:
        return True
    owner = id_owner(id)
    return owner is None or did.tag(user) == owner or manifest.is_admin(user)


class Fact(NamedTuple):
    """What rights have to know of an admitted entry. Keys and digests are 32 bytes."""

    digest: bytes
    author: bytes
    user: bytes  # root key of the chain
    prev: bytes | None
    seq: int
    clock: int


class Register(NamedTuple):
    """Where cuts of one key compete. `root` is the user whose own device is cut, `None` in an admin register.

    It hits the entries by author `key` and user `root`; with `root` `None` those whose author or user is `key` and
    whose user is no admin.
    """

    root: bytes | None
    key: bytes


class Cuts:
    """The cuts of one log, and the question which entries they make void.

    Grows by one admitted entry at a time, in any order that respects parents. `entry` looks an admitted entry up
    by its digest; it is asked about the entries that cuts name, and their chains.
    """

    def __init__(self, manifest: Manifest, entry: Callable[[bytes], Fact | None]) -> None:
        self._manifest = manifest
        self._entry = entry
        self._cuts: dict[Register, list[_Placed]] = {}  # ascending, so the last surviving one wins
        self._made_by: dict[tuple[bytes, bytes], set[Register]] = {}  # (author, user) -> where it competes
        self._awaited: dict[bytes, set[Register]] = {}  # entries that cuts name and that are not known yet
        self._winners: dict[Register, _Placed | None] = {}
        self._chains: dict[bytes, frozenset[bytes]] = {}  # by their last entry

    def admit(self, entry: Fact, acts: list[Any] | None) -> set[Register]:
        """Take in an admitted entry; `entry` must find it. `acts` are those of its body, `None` if encrypted.

        Returns the registers whose entries may have become void, or ceased to be: for all others, `is_void` says
        what it said before. The new entry itself is always to be asked about.
        """
        touched = self._awaited.pop(entry.digest, set())
        for index, act in parse_acts(acts)[0] if acts else ():
            if isinstance(act, Cut):
                touched |= self._place(entry, index, act)
        if touched:
            self._winners.clear()
        return self._with_dependents(touched)

    def is_void(self, entry: Fact) -> bool:
        """Does a winning cut exclude this entry?"""
        if not self._cuts:
            return False
        if self._excludes(Register(entry.user, entry.author), entry):
            return True
        if self._manifest.is_admin(entry.user):
            return False
        return any(self._excludes(Register(None, key), entry) for key in {entry.author, entry.user})

    @property
    def registers(self) -> Iterable[Register]:
        """Where cuts compete: only what these hit may be void."""
        return self._cuts.keys()

    def revoked(self) -> list[bytes]:
        """Return the keys whose entries an admin's cut excludes, at least those to come."""
        admins = [register for register in self._cuts if register.root is None]
        winners = [(register.key, self._winner(register)) for register in admins]
        return sorted(key for key, cut in winners if cut is not None and cut.ends is not None)

    def _place(self, entry: Fact, index: int, cut: Cut) -> set[Register]:
        """Put a cut where it competes; return the registers in which it may win."""
        registers = set()
        if entry.author == entry.user != cut.key:
            registers.add(Register(entry.user, cut.key))
        if self._manifest.is_admin(entry.user):
            registers.add(Register(None, cut.key))
        unknown = [end for end in cut.ends or () if self._entry(end) is None]
        placed = _Placed(entry.clock, entry.digest, index, entry, cut.ends)
        touched = set()
        for register in registers:
            before = self._winner(register)
            insort(self._cuts.setdefault(register, []), placed)
            if before is None or before < placed:
                touched.add(register)
            for end in unknown:
                self._awaited.setdefault(end, set()).add(register)
        if registers:
            self._made_by.setdefault((entry.author, entry.user), set()).update(registers)
        return touched

    def _with_dependents(self, registers: set[Register]) -> set[Register]:
        """Add the registers in which entries compete that these may hit, and so on: at most two passes further."""
        found, new = set(registers), set(registers)
        while new:
            hit = {(key, key if root is None else root) for root, key in new}
            new = set().union(*(self._made_by.get(writer, ()) for writer in hit)) - found
            found |= new
        return found

    def _winner(self, register: Register) -> _Placed | None:
        if register not in self._cuts:
            return None
        if register not in self._winners:
            self._winners[register] = next(filter(self._survives_for(register), reversed(self._cuts[register])), None)
        return self._winners[register]

    def _survives_for(self, register: Register) -> Callable[[_Placed], bool]:
        """Which cuts count in this register: those of entries that the passes before its own leave alone."""
        if register.root is None:  # second pass: an admin's entries, which only the admin's own root can cut
            return lambda cut: not self._excludes(Register(cut.by.user, cut.by.author), cut.by)
        if self._manifest.is_admin(register.root):  # first pass
            return lambda cut: True
        of_root = Register(None, register.root)  # third pass: entries that the root itself signed
        return lambda cut: not self._excludes(of_root, cut.by)

    def _excludes(self, register: Register, entry: Fact) -> bool:
        cut = self._winner(register)
        return cut is not None and cut.ends is not None and not any(self._leads_to(end, entry) for end in cut.ends)

    def _leads_to(self, end: bytes, entry: Fact) -> bool:
        """Is the entry on the chain that ends here? An end that is not known yet leads nowhere."""
        last = self._entry(end)
        if last is None or last.author != entry.author or last.seq < entry.seq:
            return False
        if end not in self._chains:
            chain = [end]
            while last is not None and last.prev is not None:
                chain.append(last.prev)
                last = self._entry(last.prev)
            self._chains[end] = frozenset(chain)
        return entry.digest in self._chains[end]


def void(entries: Iterable[Fact], acts: Mapping[bytes, list[Any]], manifest: Manifest) -> set[bytes]:
    """Return the digests of the void ones among all admitted entries of a log.

    `acts` has the acts of each entry that has some in a plain body, by digest.
    """
    known = {entry.digest: entry for entry in entries}
    cuts = Cuts(manifest, known.get)
    for entry in known.values():
        cuts.admit(entry, acts.get(entry.digest))
    return {entry.digest for entry in known.values() if cuts.is_void(entry)}


class _Placed(NamedTuple):
    """A cut in its register: the first three order it, and no two are equal in them."""

    clock: int
    digest: bytes
    at: int  # its index in `act`
    by: Fact
    ends: tuple[bytes, ...] | None
