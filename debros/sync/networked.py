"""A node's side towards its peers: what `debros.open(..., listen=, peers=)` adds, in one value.

A node without peers has none of it: nothing runs, and nothing is asked of a write.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Set
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from debros.errors import DeadlineError
from debros.identity.keys import Device
from debros.log.manifest import Manifest
from debros.net.transport import Transport
from debros.replica.store import Store
from debros.sync.answering import is_served
from debros.sync.following import Following
from debros.sync.notices import Notices
from debros.sync.receipts import Receipt
from debros.sync.remembered import Remembered
from debros.sync.reporting import peers, status
from debros.sync.status import LogStatus, Peer
from debros.sync.sync import Sync
from debros.sync.waiting import settled, synced


class Peers:
    """What a node knows of other nodes; alone if it neither listens nor dials."""

    def __init__(
        self, home: Path | None, own_users: Callable[[], Set[bytes]], is_ours: Callable[[Manifest], bool]
    ) -> None:
        self.notices = Notices()
        self.remembered = Remembered(None if home is None else home / "peers")
        self.following = Following(self.remembered, own_users, is_ours)
        self.transport: Transport | None = None
        self.sync: Sync | None = None

    @asynccontextmanager
    async def meeting(
        self, store: Store, transport: Transport | None, tasks: trio.Nursery, device: Callable[[], Device],
        gather: Callable[[], object], addresses: Iterable[str], *, members_only: bool,
    ) -> AsyncIterator[None]:  # fmt: skip
        """Replicate over an open transport for the block; without a transport there is nobody to meet."""
        if transport is None:
            yield
            return
        self.transport = transport
        self.sync = Sync(
            store, transport, tasks, device, self.following.keeps, gather, self.remembered, self.notices,
            members_only=members_only,
        )  # fmt: skip
        self.sync.start(addresses)
        try:
            yield
        finally:
            self.sync.stop()

    def serves(self, peer: str) -> bool:
        """Whether a peer may have content: where logs go to members only, whoever is served one."""
        return self.sync is not None and is_served(self.sync, peer)

    def known(self) -> list[Peer]:
        """Return peers that are connected or configured."""
        return [] if self.sync is None else peers(self.sync)

    def addresses(self) -> list[str]:
        """Return where this node listens."""
        return [] if self.transport is None else self.transport.addresses

    def status(self) -> list[LogStatus]:
        """Return where every kept log stands; nothing for a node that is alone."""
        return [] if self.sync is None else status(self.sync)

    async def synced(self, timeout_s: float | None) -> None:
        """Wait for a comparison with every peer; at once for a node that is alone."""
        await trio.lowlevel.checkpoint()
        if self.sync is not None:
            await synced(self.sync, timeout_s)

    async def settled(
        self, store: Store, log: int, digest: bytes, replicas: int, timeout_s: float | None
    ) -> list[Receipt]:
        """Collect receipts; a node that is alone has nobody to give one."""
        if self.sync is not None:
            return await settled(self.sync, store.by_number[log], digest, replicas, timeout_s)
        return await _nobody(replicas, timeout_s)

    def change(self, texts: Iterable[str], *, follow: bool) -> None:
        """Follow or unfollow."""
        self.following.change(texts, follow=follow)
        if self.sync is not None:
            self.sync.follows_changed()


async def _nobody(replicas: int, timeout_s: float | None) -> list[Receipt]:
    await trio.lowlevel.checkpoint()
    if not replicas:
        return []
    raise DeadlineError(f"0 of {replicas} receipts: this node has no peers; `debros.open(..., peers=[address])`")
