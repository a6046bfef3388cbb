"""The cells of one document, and how a change is merged into them: the heart of the fold.

Cells are a pure function of the *set* of changes merged: order does not matter, and nothing here knows a
schema, a clock or a disk. The rules are those of docs/format.md, Changes:

- `put` is a last-writer-wins register per field, by stamp (clock, digest of the entry);
- `inc` is a sum of integers without bounds (PN-counter);
- `add`/`rem` are an observed-remove set: a value lives while one of its dots does, and a `rem` ends exactly the
  dots it names, even before they arrive;
- `keep` is a multi-value register: a value stays until another `keep` names its dot;
- `live` is a register of the whole document.

Shapiro, Preguica, Baquero, Zawirski, "A comprehensive study of Convergent and Commutative Replicated Data
Types", INRIA RR-7506, 2011; dots after Bieniusa et al., arXiv:1210.3368, 2012.

A stamp is (clock, tie). In a pure fold the tie is the digest itself. The view stores the entry's number instead,
which is shorter, and `digest_of` turns it into the digest in the one case that needs it: equal clocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from debros.blocks import dagcbor

Stamp: TypeAlias = "tuple[int, Any]"  # (clock, tie)
Register: TypeAlias = "tuple[int, Any, int, Any]"  # (clock, tie, schema version, value)


def itself(tie: Any) -> Any:
    """Return the tie of a pure fold, which is the digest."""
    return tie


class Elements:
    """An observed-remove set: living dots by encoded value, and ends that wait for their dot."""

    __slots__ = ("living", "waiting")

    def __init__(self) -> None:
        self.living: dict[bytes, set[bytes]] = {}
        self.waiting: dict[bytes, set[bytes]] = {}

    def add(self, value: bytes, dot: bytes) -> None:
        """Let a value live under a dot, unless the dot's end came first."""
        ended = self.waiting.get(value)
        if ended is not None and dot in ended:
            _discard(self.waiting, value, dot)
        else:
            self.living.setdefault(value, set()).add(dot)

    def end(self, value: bytes, dot: bytes) -> None:
        """End one dot of a value; an unknown one is remembered until it comes."""
        if dot in self.living.get(value, ()):
            _discard(self.living, value, dot)
        else:
            self.waiting.setdefault(value, set()).add(dot)


class Kept:
    """A multi-value register: values by dot, and dots that were replaced before they came."""

    __slots__ = ("living", "waiting")

    def __init__(self) -> None:
        self.living: dict[bytes, tuple[int, Any]] = {}  # dot -> (clock, value)
        self.waiting: set[bytes] = set()

    def put(self, value: Any, dot: bytes, clock: int, replaced: list[bytes]) -> None:
        """Keep a value and let go of those that the writer had seen."""
        for old in replaced:
            if self.living.pop(old, None) is None:
                self.waiting.add(old)
        if dot in self.waiting:
            self.waiting.discard(dot)
        else:
            self.living[dot] = (clock, value)

    def values(self) -> list[tuple[bytes, Any]]:
        """Return (dot, value), the shown one (greatest stamp) first."""
        ranked = sorted(((clock, dot, value) for dot, (clock, value) in self.living.items()), key=_rank, reverse=True)
        return [(dot, value) for _, dot, value in ranked]


class Document:
    """All cells of one document. `digest_of` turns a tie into an entry's digest."""

    __slots__ = ("born", "count", "digest_of", "elements", "kept", "live", "newest", "registers", "sums")

    def __init__(self, digest_of: Callable[[Any], bytes] = itself) -> None:
        self.digest_of = digest_of
        self.registers: dict[str, Register] = {}
        self.sums: dict[str, int] = {}
        self.elements: dict[str, Elements] = {}
        self.kept: dict[str, Kept] = {}
        self.live: tuple[int, Any, bool] | None = None
        self.born: Stamp | None = None  # the smallest stamp with `live: true`
        self.newest: tuple[int, Any, int] | None = None  # stamp and schema version of the newest change
        self.count = 0  # changes merged

    def merge(self, change: dict[str, Any], clock: int, tie: Any, version: int) -> None:
        """Merge one change of good form, once per entry."""
        self.count += 1
        for field, value in change.get("put", _NOTHING).items():
            held = self.registers.get(field)
            if held is None or self._after(clock, tie, held[0], held[1]):
                self.registers[field] = (clock, tie, version, value)
        for field, amount in change.get("inc", _NOTHING).items():
            self.sums[field] = self.sums.get(field, 0) + amount
        if "add" in change or "rem" in change or "keep" in change:
            self._merge_dotted(change, clock, self.digest_of(tie))
        live = change.get("live")
        if live is not None:
            if self.live is None or self._after(clock, tie, self.live[0], self.live[1]):
                self.live = (clock, tie, live)
            if live and (self.born is None or self._after(self.born[0], self.born[1], clock, tie)):
                self.born = (clock, tie)
        if self.newest is None or self._after(clock, tie, self.newest[0], self.newest[1]):
            self.newest = (clock, tie, version)

    def _merge_dotted(self, change: dict[str, Any], clock: int, dot: bytes) -> None:
        for field, values in change.get("add", _NOTHING).items():
            cell = self.elements.get(field) or self.elements.setdefault(field, Elements())
            for encoded in dict.fromkeys(map(dagcbor.encode, values)):  # a value twice is one value with one dot
                cell.add(encoded, dot)
        for field, ends in change.get("rem", _NOTHING).items():
            cell = self.elements.get(field) or self.elements.setdefault(field, Elements())
            for value, dots in ends:
                encoded = dagcbor.encode(value)
                for ended in dots:
                    cell.end(encoded, ended)
        for field, (value, replaced) in change.get("keep", _NOTHING).items():
            kept = self.kept.get(field) or self.kept.setdefault(field, Kept())
            kept.put(value, dot, clock, replaced)

    def _after(self, clock: int, tie: Any, other_clock: int, other_tie: Any) -> bool:
        if clock != other_clock:
            return clock > other_clock
        return tie != other_tie and self.digest_of(tie) > self.digest_of(other_tie)

    @property
    def is_live(self) -> bool:
        """Whether the document exists and is not deleted."""
        return self.live is not None and self.live[2]


_NOTHING: dict[str, Any] = {}


def _rank(item: tuple[int, bytes, Any]) -> tuple[int, bytes]:
    return item[0], item[1]


def _discard(cells: dict[bytes, set[bytes]], value: bytes, dot: bytes) -> None:
    dots = cells[value]
    dots.discard(dot)
    if not dots:
        del cells[value]
