"""Entries that are written together: with one write, one sync, and visible at once."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

from debros.blocks import cid
from debros.log.body import encode_body
from debros.log.clock import NONE, tick
from debros.replica import writer
from debros.replica.replica import Staged

if TYPE_CHECKING:
    from debros.blocks.tail import Block
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
        self.requests: list[Request] = []  # that are in it
        self.staged: list[Staged] = []
        self.blocks: list[Block] = []  # once it is sealed: what is to be written
        # (model, log, id) that are touched, (model, unique key) that are claimed; by whom
        self.taken: dict[Any, Request] = {}
        self.is_closed = False  # whether nobody may join any more
        self.volumes: set[int] = set()  # that it is written into, where some logs do not lie in the home's own
        self._newest: dict[int, Staged] = {}  # by log

    def may_take(self, logs: Iterable[int]) -> bool:
        """Whether a request for these logs may join: a group is written into one volume, or is one request."""
        volumes = {self.store.placed.get(n, 0) for n in logs}
        if self.staged and self.volumes != volumes:
            return False
        self.volumes = volumes
        self.is_closed = len(volumes) > 1
        return True

    def add(self, staged: Staged) -> None:
        """Take an entry, whose changes are told, into the group: build its body, give it its clock, make the rows of new documents."""
        store, replica, log = self.store, staged.replica, staged.replica.n
        before = self._newest.get(log)
        e, by = store.entries.next_e + len(self.staged), store.keys.number(staged.device.user)
        clock = tick(replica.clock if before is None else before.clock, store.env.now_us() // 1000)
        body = encode_body(staged.encoded, salt=store.salt(), tx=staged.tx, acts=staged.acts)
        staged.clock, staged.body, staged.body_digest = clock, body, sha256(body).digest()
        for change in staged.changes:
            if change.makes:
                model, row = store.models[change.model], None
                rows, projection, id, version = model.rows, model.projection, change.id, change.version
                if change.columns is not None:
                    row = projection.fresh(id, change.columns, rows.next_doc, log, clock, e, by, version)
                if row is None:
                    row = projection.created(id, change.value, rows.next_doc, log, clock, e, by, version)
                if row is not None:
                    change.row = row
                    rows.next_doc += 1
        self.staged.append(staged)
        self._newest[log] = staged

    def seal(self) -> None:
        """Sign the entries in their order, each of which names the one of its key before it, and list what is to be written.

        All of them behind all that is checked: the tables of a signature are as large as a processor's first cache, and
        whatever follows one finds it empty.
        """
        blocks = self.blocks
        signed: dict[int | tuple[int, bytes], Staged] = {}  # the last one by log, and by log and key
        for staged in self.staged:
            replica = staged.replica
            place = (replica.n, staged.device.public)
            before = signed.get(replica.n)
            replica.seal(staged, before, signed.get(place))
            if before is None and replica.clock == NONE:  # the log's first entry: its manifest goes before
                blocks.append((cid.DAG_CBOR, replica.log_id, replica.manifest.block))
            staged.at = len(blocks)
            blocks.append((cid.DAG_CBOR, staged.body_digest, staged.body))
            blocks.append((cid.DAG_CBOR, staged.digest, staged.header))
            signed[replica.n] = signed[place] = staged
