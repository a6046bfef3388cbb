"""Entries that are written together: with one write, one sync, and visible at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from debros.blocks import cid
from debros.log.clock import NONE
from debros.replica import writer
from debros.replica.replica import Replica, Staged, Tip

if TYPE_CHECKING:
    from debros.replica.store import Store


class Request(writer.Request, Protocol):
    """Something to be written as a whole or not at all."""

    def stage(self, group: Group) -> bool:
        """Check, and add entries to the group; `False`: not beside what is in the group already."""
        ...

    def finish(self) -> None:
        """Take the result, now that it is visible."""


class Group:
    """Entries that are written together, and what later ones must know of the earlier ones."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.staged: list[Staged] = []
        self.blocks: list[tuple[int, bytes, bytes]] = []
        self.slots: list[int] = []  # where in `blocks` the body of each staged entry is; its header follows
        self.documents: set[tuple[str, int, str]] = set()  # (model, log, id) touched
        self.claims: set[tuple[str, Any]] = set()  # (model, unique key) claimed
        self.is_closed = False  # whether nobody may join any more
        self.volumes: set[int] = set()  # that it is written into, where some logs do not lie in the home's own
        self._clocks: dict[int, int] = {}  # by log: the greatest one staged
        self._newest: dict[int, Staged] = {}  # by log: the last one signed
        self._newest_of: dict[tuple[int, bytes], Staged] = {}  # by log and key

    def clock(self, replica: Replica) -> int:
        """Return the greatest clock of a log, with those staged."""
        return self._clocks.get(replica.n, replica.clock)

    def may_take(self, logs: Iterable[int]) -> bool:
        """Whether a request for these logs may join: a group is written into one volume, or is one request."""
        volumes = {self.store.placed.get(n, 0) for n in logs}
        if self.staged and self.volumes != volumes:
            return False
        self.volumes = volumes
        self.is_closed = len(volumes) > 1
        return True

    def add(self, staged: Staged) -> None:
        """Take an entry into the group."""
        self.staged.append(staged)
        self._clocks[staged.replica.n] = staged.clock

    def seal(self) -> None:
        """Sign the entries in their order, each of which names the one of its key before it, and list what is to be written.

        All of them behind all that is checked: the tables of a signature are as large as a processor's first cache, and
        whatever follows one finds it empty.
        """
        blocks = self.blocks
        for staged in self.staged:
            replica, author = staged.replica, staged.device.public
            replica.seal(staged, self._tip(replica, author))
            if (
                replica.clock == NONE and replica.n not in self._newest
            ):  # the log's first entry: its manifest goes before
                blocks.append((cid.DAG_CBOR, replica.log_id, replica.manifest.block))
            self.slots.append(len(blocks))
            blocks += (
                (cid.DAG_CBOR, staged.body_digest, staged.body),
                (cid.DAG_CBOR, staged.digest, staged.header),
            )
            self._newest[replica.n] = self._newest_of[replica.n, author] = staged

    def _tip(self, replica: Replica, author: bytes) -> Tip:
        """Return where the next entry of a key goes, behind those signed."""
        newest = self._newest.get(replica.n)
        if newest is None:
            return replica.tip(author)
        own = self._newest_of.get((replica.n, author))
        tip = replica.tip(author) if own is None else Tip(own.digest, own.seq + 1, set(), 0)
        tip.heads, tip.clock = {newest.digest}, newest.clock
        return tip
