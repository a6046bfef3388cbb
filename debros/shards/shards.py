"""The shards of one model on one node: their numbers, their logs, and which of them this node holds.

Numbers run on over the model's layouts: with layouts of 4 and of 8 shards, 0..3 are those of the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from debros.errors import FieldError, PartialResultError, ShardNotHeldError, StorageError, ValidationError
from debros.log.layout import Layout, Place, place
from debros.replica.layouts import key_codec
from debros.schema import ShardSpec
from debros.shards.spans import Keys, Reach, shards_of

if TYPE_CHECKING:
    from debros.node import Debros
    from debros.replica.replica import Replica
    from debros.replica.store import Model


class Shards:
    """The shards of one sharded model."""

    def __init__(self, node: Debros, model: Model, spec: ShardSpec) -> None:
        self._node = node
        self._store = node.store
        self.spec = spec
        self.schema = model.table.schema
        self.codec = key_codec(self.schema)
        key = self.schema.by_name.get(spec.key)
        self.key_wire = None if key is None else key.wire
        self.key_at = None if key is None else model.table.names.index(spec.key)
        self.held: frozenset[int] | None = None  # numbers; `None`: all
        self._layouts: tuple[Layout, ...] = ()
        self._parts: tuple[str, ...] = ()
        self._replicas: dict[int, Replica] = {}
        self._place: tuple[int, Place] = (0, lambda id, value: None)
        self._reach: dict[Keys, Reach] = {}
        self.refresh()

    # -- numbers -----------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Take up the layouts as they are now."""
        present = self._layouts = self._store.layouts.of(self.schema.name)
        newest = self._store.layouts.newest(self.schema.name)
        self._parts = tuple(part for layout in present for part in layout.parts)
        at = present.index(newest)
        self._place = (sum(layout.n for layout in present[:at]), place(newest, self.spec, self.codec))
        self._replicas = {}
        self._reach = {}

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The model's layouts, in the order of their numbers."""
        return self._layouts

    @property
    def count(self) -> int:
        """How many shards there are, in all layouts."""
        return len(self.parts)

    @property
    def parts(self) -> tuple[str, ...]:
        """The shards' names, by number."""
        return self._parts

    def number(self, id: str, value: Any) -> int | None:
        """Return the shard that a new record goes to, by its key's wire value; `None` for one that fits nowhere."""
        start, find = self._place
        found = find(id, value)
        return None if found is None else start + found

    def choose(self) -> None:
        """Settle which shards this node holds, by its settings and by what it follows, and have their logs."""
        self.refresh()
        chosen = self._node.config.held(self.schema.name)
        follows = self._node.met.following.keeps_part
        parts = self.parts
        held = {
            n
            for n, part in enumerate(parts)
            if (chosen is None or n in chosen)
            and follows(manifest := self._node.manifest_of(self.schema, part))
            and manifest.log_id not in self._store.away
        }
        self.held = None if len(held) == len(parts) else frozenset(held)
        self.replicas()

    def is_held(self, number: int) -> bool:
        """Whether this node holds a shard."""
        return self.held is None or number in self.held

    # -- logs --------------------------------------------------------------------------------------------------

    def replica(self, number: int) -> Replica:
        """Return the local copy of a shard's log.

        Raises:
            ShardNotHeldError: this node does not hold it.
        """
        found = self._replicas.get(number)
        if found is None:
            if not self.is_held(number):
                why = self._store.away.get(self._node.manifest_of(self.schema, self._parts[number]).log_id, "")
                raise ShardNotHeldError(self.schema.name, number, why)
            found = self._replicas[number] = self._node.shard_of(self.schema, self._parts[number])
        return found

    def held_log(self, replica: Replica) -> Replica:
        """Return the log of a record that is here, to write to.

        Raises:
            ShardNotHeldError: this node does not hold its shard any more: what is written there would reach no peer.
        """
        part = replica.manifest.part
        if self.held is not None and part is not None and part[1] in self._parts:
            return self.replica(self._parts.index(part[1]))
        return replica

    def address(self, number: int) -> str:
        """Return the address of a shard's log."""
        return self._node.manifest_of(self.schema, self.parts[number]).address

    def replicas(self) -> list[Replica]:
        """Return the local copies of all shards that are held here."""
        return [self.replica(n) for n in range(self.count) if self.is_held(n)]

    def replica_for(self, id: str, value: Any) -> Replica:
        """Return the log that a new record goes to.

        Raises:
            ValidationError: the key's value fits into no shard.
            ShardNotHeldError: this node does not hold the shard.
        """
        number = self.number(id, value)
        if number is None:
            key = self.spec.key or "id"
            flaw = FieldError(key, value, "shard", f"fits into no shard of {self.schema.name} ({self.spec.kind})")
            raise ValidationError(self.schema.name, (flaw,))
        return self.replica(number)

    def refuse_gone(self, error: StorageError) -> None:
        """Raise `PartialResultError` if a store of a shard has gone while the node was open: that is why reading failed."""
        held = {replica.log_id: replica.manifest.address for replica in self.replicas()}
        gone = {
            held[place.log_id]: why
            for place in self._node.places.placed()
            if place.log_id in held and (why := place.away())
        }
        if gone:
            raise PartialResultError(self.schema.name, tuple(gone), next(iter(gone.values()))) from error

    # -- reading -----------------------------------------------------------------------------------------------

    def reach(self, keys: Keys) -> Reach:
        """Return what a query reads that asks for these keys; `None`: for any."""
        found = self._reach.get(keys)
        if found is None:
            if len(self._reach) > 1000:
                self._reach = {}
            found = self._reach[keys] = self._reached(list(self._numbers(keys)))
        return found

    def _numbers(self, keys: Keys) -> Iterable[int]:
        start = 0
        for layout in self._layouts:
            for shard in shards_of(layout, self.spec, self.codec, keys):
                yield start + shard
            start += layout.n

    def _reached(self, numbers: list[int]) -> Reach:
        missing = tuple(self.address(n) for n in numbers if not self.is_held(n))
        here = [n for n in numbers if self.is_held(n)]
        if len(here) == self.count:
            return Reach(tuple(here), None)
        away = self._store.away
        gone = (
            (away.get(self._node.manifest_of(self.schema, self.parts[n]).log_id, "") for n in numbers) if away else ()
        )
        return Reach(tuple(here), tuple(self.replica(n).n for n in here), missing, next(filter(None, gone), ""))
