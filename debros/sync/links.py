"""What a node knows of one peer while it is connected, and what it remembers of it beyond."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import trio

from debros.replica.entries import EntryRow
from debros.sync.budget import MOST_ASKED, Conduct
from debros.sync.held import Pool
from debros.sync.wire import MAX_OFFERED


@dataclass
class Lot:
    """One log that this node and a peer share."""

    fresh: list[EntryRow] = field(default_factory=list)  # local entries that the peer was not told yet
    heads: frozenset[bytes] = frozenset()  # of the peer, as far as it told
    count: int = 0  # entries that the peer has
    pending: int = 0  # found missing here, not yet come
    settled: int = 0  # number of the last comparison after which neither side lacked anything it would take
    spoken_s: float = 0.0  # when the peer last said something of this log
    is_lagging: bool = False  # a notice told so
    differs: bool = False  # as the peer said when many were compared: it is to be compared by itself


@dataclass
class Account:
    """What is remembered of a peer, connected or not."""

    conduct: Conduct
    pool: Pool = field(default_factory=Pool)
    turn: trio.Lock = field(default_factory=trio.Lock)  # of its requests: one is answered after the other
    asking: trio.Semaphore = field(default_factory=lambda: trio.Semaphore(MOST_ASKED))  # held by each of ours


class Link:
    """A connected peer."""

    def __init__(self, peer: str, account: Account, nonce: bytes) -> None:
        self.peer = peer
        self.account = account
        self.nonce = nonce  # what the peer signs to prove who it is
        self.user: bytes | None = None  # root key that it has proven
        self.key = b""  # the key that proved it: the user's, or a device's
        self.lots: dict[bytes, Lot] = {}  # by log id
        self.withheld: set[bytes] = set()  # ids of logs that it holds too, and serves to members only, who we are not
        self.doubted: set[bytes] = set()  # ids of logs that it said it shares, and refused to compare
        self.due: dict[bytes, None] = {}  # logs to compare, in this order
        self._heard: bytes | None = None  # the log whose offer of the peer is being answered
        self.greeted = -1  # which state of our logs the last hello was about
        self.is_outdated = False  # what a hello that is on its way will tell: another one is wanted behind it
        self.scope = trio.CancelScope()
        self._wake = trio.Event()

    def lot(self, log_id: bytes) -> Lot:
        """Return a shared log; it is to be compared if it is new."""
        lot = self.lots.get(log_id)
        if lot is None:
            lot = self.lots[log_id] = Lot()
            self.compare(log_id)
        return lot

    def tell(self, log_id: bytes, entry: EntryRow | None) -> None:
        """Note a new head of a shared log, and the entry itself if it is ours to spread."""
        lot = self.lots.get(log_id)
        if lot is not None:
            if entry is not None and len(lot.fresh) < MAX_OFFERED:
                lot.fresh.append(entry)
            self.compare(log_id)

    def compare(self, log_id: bytes) -> None:
        """Have a log compared soon."""
        self.due[log_id] = None
        self.wake()

    def next_due(self, most: int) -> tuple[list[bytes], bool]:
        """Take what is to be compared next: a few logs of which there is news, or up to so many of which there is none; say which.

        A log is passed over while the peer is telling of it, unless there is news for it: the answer says whether both are equal
        then, and most often what was to be compared is what the peer sent itself.
        """
        first = next((log_id for log_id in self.due if log_id != self._heard or self._has_news(log_id)), None)
        if first is None:
            return [], False
        if have_news := self._has_news(first):
            found = list(islice(filter(self._has_news, islice(self.due, most)), MOST_ASKED))
        else:
            quiet = (log_id for log_id in self.due if log_id != self._heard and not self._has_news(log_id))
            found = list(islice(quiet, most))
        for log_id in found:
            del self.due[log_id]
        return found, have_news

    def _has_news(self, log_id: bytes) -> bool:
        lot = self.lots.get(log_id)
        return lot is not None and (lot.differs or bool(lot.fresh))

    @contextmanager
    def hearing(self, log_id: bytes) -> Iterator[None]:
        """Answer an offer of the peer within the block."""
        self._heard = log_id
        try:
            yield
        finally:
            self._heard = None
            if log_id in self.due:
                self.wake()

    def greet_again(self) -> None:
        """Ask soon which logs are shared, whatever is being answered now."""
        self.greeted, self.is_outdated = -1, True
        self.wake()

    def compare_all(self) -> None:
        """Have all shared logs compared soon."""
        self.due.update(dict.fromkeys(self.lots))
        self.wake()

    def wake(self) -> None:
        """Let the link's task look what is to be done."""
        self._wake.set()

    async def wait(self, longest_s: float) -> None:
        """Wait until there is something to do, at most so many seconds."""
        with trio.move_on_after(longest_s):
            await self._wake.wait()
        self._wake = trio.Event()


REMEMBERED_PEERS: Final = 10_000
