"""Which whole logs of other users go from a node whose log takes more than `log_bytes`, and when they may.

Those that are followed no more go first, then those whose owners wrote longest ago. A log goes only if nobody has written to
it in this home, and as many peers as the rules ask for have promised to hold all of it for a day (`exchange`). A node
gives no such promise for a log that it is giving up, so two never rely on each other at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from typing import Final

import trio

from debros.blocks import cid
from debros.blocks.cid import Link
from debros.errors import NotFoundError
from debros.identity.did import did_of
from debros.pinning.leaving import GivenUp, Leaving, is_foreign
from debros.replica.replica import Replica
from debros.replica.store import Store
from debros.sync.following import Following
from debros.sync.serving import make_durable

RENEWED_MS: Final = 12 * 3_600_000  # before they end, promises are asked for again

Ask = Callable[[bytes, Sequence[Link]], Awaitable[Mapping[bytes, int]]]
"""Asks all peers to hold a log up to these heads: by the keys of those who promise, until when."""


class Departures:
    """The logs of one node that leave it."""

    def __init__(
        self, store: Store, leaving: Leaving, following: Following, unfollow: Callable[[str], None],
        own_keys: Callable[[], Set[bytes]], *, max_bytes: int, copies: int, now_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        self.leaving = leaving
        self.ask: Ask | None = None  # set once there are peers
        self._store = store
        self._following = following
        self._unfollow = unfollow
        self._own_keys = own_keys
        self._max_bytes = max_bytes
        self._needed = max(1, copies)  # others that have to promise
        self._now_ms = now_ms
        self._asking: set[bytes] = set()  # logs that nothing is promised of meanwhile

    def is_leaving(self, log_id: bytes) -> bool:
        """Whether a log is given up, or about to be: nobody may rely on it here."""
        return log_id in self._asking or self.leaving.has(log_id)

    def stay(self, log_id: bytes) -> None:
        """A peer whose name comes first relies on it: it is not given up now."""
        self._asking.discard(log_id)

    async def sweep(self, promised: Callable[[bytes], int]) -> int:
        """Give up as many logs as the ceiling asks for; return how many. `promised` says until when others rely on one."""
        await self._renew()
        if not self._max_bytes or self.ask is None:
            return 0
        store = self._store
        total = store.log.home.size
        if total <= self._max_bytes:
            return 0
        sizes = self._sizes(total)
        excess = total - self._max_bytes - sum(size for n, size in sizes.items() if self._is_given_up(n))
        given_up = 0
        followed = set(self._following.owners)
        for replica in sorted(self._candidates(), key=lambda r: (_owner(r) in followed, r.clock, r.n)):
            if excess <= 0:
                break
            if promised(replica.log_id) <= self._now_ms() and await self._give_up(replica):
                excess -= sizes.get(replica.n, 0)
                given_up += 1
        return given_up

    async def give_up(self, owner: str, promised: Callable[[bytes], int]) -> bool:
        """Give the log of a user up whatever room there is; `False` if too few others promise to hold it.

        Raises:
            NotFoundError: this node holds no log of this user that may go.
        """
        found = [replica for replica in self._candidates() if _owner(replica) == owner]
        if not found:
            raise NotFoundError("log", (owner,))
        return promised(found[0].log_id) <= self._now_ms() and await self._give_up(found[0])

    def _is_given_up(self, n: int) -> bool:
        return self.leaving.has(self._store.by_number[n].log_id)

    def _sizes(self, total: int) -> dict[int, int]:
        """Return, by log, about how many bytes it takes: entries are taken for equally long."""
        counts: dict[int, int] = dict(self._store.view.read("SELECT log, count(*) FROM entries GROUP BY log", ()))
        every = sum(counts.values()) or 1
        return {n: total * count // every for n, count in counts.items()}

    def _candidates(self) -> list[Replica]:
        store = self._store
        store.view.hide_provisional()
        store.flush()
        own = self._own_keys()
        return [
            replica
            for replica in store.by_number.values()
            if replica.heads and not self.leaving.has(replica.log_id) and is_foreign(store, replica, own)
        ]

    async def _give_up(self, replica: Replica) -> bool:
        log_id, heads = replica.log_id, sorted(replica.heads)
        owner = _owner(replica)
        self._asking.add(log_id)
        try:
            until = await self._promises(log_id, heads)
            if until is None or log_id not in self._asking or sorted(replica.heads) != heads:
                return False
            self._unfollow(owner)  # first: else it would come back at once
            self.leaving.note(log_id, GivenUp(owner, tuple(head.hex() for head in heads), until))
            return True
        finally:
            self._asking.discard(log_id)

    async def _promises(self, log_id: bytes, heads: Sequence[bytes]) -> int | None:
        """Return until when enough others hold a log up to these heads, `None` if too few promise that."""
        if self.ask is None:
            return None
        await make_durable(self._store)
        promises = await self.ask(log_id, [Link(cid.DAG_CBOR, head) for head in heads])
        ends = sorted((until for until in promises.values() if until > self._now_ms()), reverse=True)
        return ends[self._needed - 1] if len(ends) >= self._needed else None

    async def _renew(self) -> None:
        for id, one in list(self.leaving.logs.items()):
            await trio.lowlevel.checkpoint()
            if one.until - self._now_ms() < RENEWED_MS:
                until = await self._promises(bytes.fromhex(id), [bytes.fromhex(head) for head in one.heads])
                if until is not None and id in self.leaving.logs:
                    self.leaving.note(bytes.fromhex(id), GivenUp(one.owner, one.heads, until))


def _owner(replica: Replica) -> str:
    return did_of(replica.manifest.admins[0])
