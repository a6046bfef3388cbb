"""What the gate did not let in: refused for ever, or held until it can be judged.

A pool of held entries per peer, 256 entries and 4 MiB at most, the oldest out. That loses nothing, for replicas are
compared by difference of sets: what fell out is found missing again. Refused digests are remembered so that nobody makes
us fetch them again and again; the verdict about a *body* is not one about the entry, and is not remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from debros.replica.receive import Delivery

MAX_ENTRIES: Final = 256
MAX_BYTES: Final = 4 << 20
REMEMBERED: Final = 65_536  # refused digests


@dataclass(frozen=True, slots=True)
class Held:
    """A held entry, and why: parents that are not here, or something that only time or an upgrade can mend."""

    log: int
    digest: bytes
    delivery: Delivery
    missing: tuple[bytes, ...]


class Pool:
    """The held entries of one peer, oldest first."""

    def __init__(self) -> None:
        self._held: OrderedDict[bytes, Held] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, digest: bytes) -> Held | None:
        """Return a held entry."""
        return self._held.get(digest)

    def add(self, held: Held) -> None:
        """Keep an entry; the oldest go where there is no room."""
        self.remove(held.digest)
        self._held[held.digest] = held
        self._bytes += _size(held)
        while len(self._held) > MAX_ENTRIES or self._bytes > MAX_BYTES:
            _, oldest = self._held.popitem(last=False)
            self._bytes -= _size(oldest)

    def remove(self, digest: bytes) -> None:
        """Forget an entry."""
        held = self._held.pop(digest, None)
        if held is not None:
            self._bytes -= _size(held)

    def __iter__(self) -> Iterator[Held]:
        return iter(list(self._held.values()))

    def of_log(self, log: int) -> Iterator[Held]:
        """Return those of one log, oldest first."""
        return iter([held for held in self._held.values() if held.log == log])


class Refused:
    """Refused entries, the oldest forgotten: by log too, for a good entry that is offered to another log is refused there."""

    def __init__(self) -> None:
        self._digests: OrderedDict[tuple[int, bytes], None] = OrderedDict()

    def has(self, log: int, digest: bytes) -> bool:
        """Whether this log refused the entry."""
        return (log, digest) in self._digests

    def __len__(self) -> int:
        return len(self._digests)

    def add(self, log: int, digest: bytes) -> None:
        """Remember one."""
        self._digests[log, digest] = None
        if len(self._digests) > REMEMBERED:
            self._digests.popitem(last=False)


def _size(held: Held) -> int:
    return len(held.delivery.header) + len(held.delivery.body or b"")
