"""The logs of one store, taken up when somebody asks for them: a home may hold those of thousands of users.

A log's state (heads, clock) is a row of the view. As long as anybody holds its `Replica`, that is the only one; those used
last are kept, others are let go of once their state is in the view, and come back from there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from debros.blocks import cid
from debros.log.clock import NONE
from debros.log.manifest import Manifest, parse
from debros.replica.replica import Replica

if TYPE_CHECKING:
    from debros.replica.store import Store

KEPT: Final = 1024  # replicas kept though nobody holds them
_COLUMNS: Final = "n, manifest, heads, clock"


class Logs:
    """The logs by their numbers on this node, which count from 1."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._view = store.view
        self._live: WeakValueDictionary[int, Replica] = WeakValueDictionary()
        self._numbers: WeakValueDictionary[bytes, Replica] = WeakValueDictionary()  # by log id
        self._recent: OrderedDict[int, Replica] = OrderedDict()
        self._changed: dict[int, Replica] = {}  # what the view has not yet
        self._next: int = 1 + (self._view.db.execute("SELECT max(n) FROM logs").get or 0)
        self._told = [b""]  # by number, as far as somebody asked: what tells the logs up to it

    def __getitem__(self, n: int) -> Replica:
        """Return the log with this number."""
        found = self._live.get(n)
        if found is not None:
            if n in self._recent:
                self._recent.move_to_end(n)
            return found
        for row in self._view.read(f"SELECT {_COLUMNS} FROM logs WHERE n = ?", (n,)):
            return self._take(*row)
        raise KeyError(n)

    def __iter__(self) -> Iterator[int]:
        """Yield all numbers, ascending."""
        return iter(range(1, self._next))

    def __len__(self) -> int:
        return self._next - 1

    def find(self, log_id: bytes) -> Replica | None:
        """Return the local copy of a log, `None` if there is none."""
        found = self._numbers.get(log_id)
        if found is None:
            for row in self._view.read(f"SELECT {_COLUMNS} FROM logs WHERE id = ?", (log_id,)):
                return self._live.get(row[0]) or self._take(*row)
        return found

    def make(self, manifest: Manifest) -> Replica:
        """Return the local copy of a log, an empty one if there is none."""
        return self.find(manifest.log_id) or self.adopt(self._next, manifest)

    def adopt(self, n: int, manifest: Manifest) -> Replica:
        """Take up an empty log under a number, none of which is greater."""
        made = self._keep(Replica(self._store, n, manifest, set(), NONE))
        self._next = n + 1
        self._changed[n] = made
        self._store.lifts.take(made)
        return made

    def _take(self, n: int, manifest: bytes, heads: bytes, clock: int) -> Replica:
        digests = {heads[at : at + 32] for at in range(0, len(heads), 32)}
        return self._keep(Replica(self._store, n, parse(manifest), digests, clock))

    def _keep(self, replica: Replica) -> Replica:
        self._live[replica.n] = replica
        self._numbers[replica.log_id] = replica
        self._recent[replica.n] = replica
        if len(self._recent) > KEPT:
            self._recent.popitem(last=False)
        return replica

    # -- several -------------------------------------------------------------------------------------------------

    def values(self) -> Iterator[Replica]:
        """Yield all logs, one after the other."""
        for n in self:
            yield self[n]

    def of_shards(self) -> list[Replica]:
        """Return the logs of shards."""
        held = [n for (n,) in self._view.read("SELECT n FROM logs WHERE model IS NOT NULL", ())]
        new = [n for n, replica in self._changed.items() if replica.manifest.part is not None]
        return [self[n] for n in sorted({*held, *new})]

    def samples(self) -> list[Manifest]:
        """Return what the logs with entries are: of users' one, for they differ by their owners only."""
        found = self._view.read(
            "SELECT n FROM logs WHERE heads != x'' AND owner IS NULL"
            " UNION SELECT min(n) FROM logs WHERE heads != x'' AND owner IS NOT NULL", ()
        )  # fmt: skip
        return [self[n].manifest for (n,) in found if n is not None]

    def owners(self) -> list[bytes]:
        """Return the root keys of the users whose logs have entries."""
        held = {
            key for (key,) in self._view.read("SELECT owner FROM logs WHERE owner IS NOT NULL AND heads != x''", ())
        }
        new = (replica for replica in self._changed.values() if replica.manifest.scope == "user" and replica.heads)
        return sorted(held | {replica.manifest.admins[0] for replica in new})

    def heads_of_users(self) -> dict[str, tuple[str, ...]]:
        """Return the heads of all users' logs as CIDs in text, by address. What is pending must be in the view."""
        found = {}
        for log_id, heads in self._view.read("SELECT id, heads FROM logs WHERE owner IS NOT NULL AND heads != x''", ()):
            digests = sorted(heads[at : at + 32] for at in range(0, len(heads), 32))
            found[f"/debros/{cid.to_text(log_id)}"] = tuple(map(cid.to_text, digests))
        return found

    def told_up_to(self, n: int) -> bytes:
        """Return 8 bytes that tell which logs have the numbers up to `n`: a view that is made anew may number them otherwise."""
        told = self._told
        if len(told) <= n < self._next:
            ids: dict[int, bytes] = dict(
                self._view.read("SELECT n, id FROM logs WHERE n BETWEEN ? AND ?", (len(told), n))
            )
            for number in range(len(told), n + 1):
                id = ids[number] if number in ids else self._changed[number].log_id
                told.append(sha256(told[-1] + id).digest()[:8])
        return told[n] if 0 < n < len(told) else b""

    def count(self) -> int:
        """Return how many logs have entries."""
        held: set[int] = {n for (n,) in self._view.read("SELECT n FROM logs WHERE heads != x''", ())}
        return len(held | {n for n, replica in self._changed.items() if replica.heads})

    # -- in the flush ----------------------------------------------------------------------------------------------

    def changed(self, replica: Replica) -> None:
        """Note that a log's heads or clock differ from what the view has."""
        self._changed[replica.n] = replica

    def drain(self) -> None:
        """Write the logs that changed, within the view's running transaction."""
        self._view.db.executemany("REPLACE INTO logs VALUES (?, ?, ?, ?, ?, ?, ?)", map(_row, self._changed.values()))

    def settle(self) -> None:
        """Forget what changed: it is committed."""
        self._changed = {}


def _row(replica: Replica) -> tuple[Any, ...]:
    manifest = replica.manifest
    owner = manifest.admins[0] if manifest.scope == "user" else None
    model = None if manifest.part is None else manifest.part[0]
    return (
        replica.n, replica.log_id, manifest.block, b"".join(sorted(replica.heads)), replica.clock, owner, model
    )  # fmt: skip
