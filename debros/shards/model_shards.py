"""`db.shards[Post]`: how one model's records are spread, and changing it while everybody goes on working.

A resize announces a new layout in the scope's unsharded log. New records follow it; old ones stay in the logs where they
were signed, and are found through both. Nothing moves, so nothing can be lost or doubled on the way.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from debros.errors import FieldError, ModelError, PermissionDeniedError, ValidationError
from debros.log.layout import MAX_LAYOUTS, MAX_SHARDS, Layout, declared, sort_key, wire_bounds
from debros.replica.acting import grant, revoke
from debros.replica.commit import Commit
from debros.replica.draft import Draft
from debros.replica.layouts import FIELD, LAYOUTS, announcement_of
from debros.replica.tables import SHADOWED, WRONG_SHARD, quoted
from debros.shards.moving import Progress, move

if TYPE_CHECKING:
    from debros.node import Debros
    from debros.replica.replica import Replica
    from debros.shards.collection import Collection
    from debros.shards.shards import Shards


@dataclass(frozen=True, slots=True)
class ShardStats:
    """One shard on this node."""

    number: int
    name: str  # in the manifest of its log
    address: str
    held: bool  # whether this node holds it; if not, the counts are 0
    records: int  # that show
    left_out: int  # documents that belong into another shard, or whose id another shard had earlier
    entries: int
    bytes: int  # of the entries' bodies in the log file
    path: str = ""  # directory of its own store; empty: it lies in the home


class Stats(list[ShardStats]):
    """The shards of one model on this node, by number."""

    @property
    def records(self) -> int:
        """Records in all shards."""
        return sum(shard.records for shard in self)

    @property
    def skew(self) -> float:
        """Records of the fullest shard, relative to the mean of those that are held; 1.0 is even."""
        held = [shard.records for shard in self if shard.held]
        return max(held) * len(held) / sum(held) if sum(held) else 1.0


class ModelShards:
    """The shards of one model."""

    def __init__(self, node: Debros, home: Collection, shards: Shards) -> None:
        self._node, self._home, self._shards = node, home, shards
        self._name = home.schema.name

    def __repr__(self) -> str:
        return f"<shards of {self._name}: {', '.join(self._shards.parts)}>"

    @property
    def name(self) -> str:
        """The model's name."""
        return self._name

    @property
    def count(self) -> int:
        """How many shards there are, in all layouts."""
        return self._shards.count

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The layouts, oldest first; shards are numbered on over them."""
        return self._shards.layouts

    @property
    def newest(self) -> Layout:
        """The layout that new records follow."""
        return self._node.store.layouts.newest(self._name)

    @property
    def held(self) -> tuple[int, ...]:
        """Numbers of the shards that this node holds."""
        return tuple(n for n in range(self.count) if self._shards.is_held(n))

    def for_key(self, value: Any) -> int:
        """Return the number of the shard that a new record with this key goes to; of `user_shards`, by a DID.

        Raises:
            ValidationError: no record has such a key.
        """
        number = None
        if self._shards.spec.kind == "user":
            if isinstance(value, str) and (owner := self._home.tag_of(value)) is not None:
                number = self._shards.number(f"~{owner}", None)
        elif value is not None and self._shards.codec.is_operand(value):
            to_wire = self._shards.codec.to_wire
            wire = value if to_wire is None else to_wire(value)
            number = self._shards.number(wire if self._shards.spec.key == "id" else "", wire)
        if number is None:
            key = self._shards.spec.key or "owner"
            flaw = FieldError(key, value, "shard", f"no record of {self._name} has such a key")
            raise ValidationError(self._name, (flaw,))
        return number

    async def stats(self) -> Stats:
        """Return how many records, entries and bytes the shards have on this node."""
        table = self._home.table
        counted = (
            f'SELECT "_log", sum("_hidden" = 0), sum("_hidden" & {WRONG_SHARD | SHADOWED} != 0)'
            f' FROM {quoted(table.name)} GROUP BY "_log"'
        )
        records = {log: (shown, out) for log, shown, out in self._home.read(counted, ())}
        logs = {n: self._shards.replica(n).n for n in self.held}
        marks = ",".join("?" * len(logs))
        counted = f"SELECT log, count(*), sum(header - body) FROM entries WHERE log IN ({marks}) GROUP BY log"
        entries = {log: (count, size) for log, count, size in self._home.read(counted, tuple(logs.values()))}
        found = []
        for number, name in enumerate(self._shards.parts):
            log = logs.get(number, 0)
            shown, out = records.get(log, (0, 0))
            count, size = entries.get(log, (0, 0))
            address = self._shards.address(number)
            place = self._node.places.of(self._node.manifest_of(self._home.schema, name).log_id)
            path = "" if place is None else place.path
            found.append(ShardStats(number, name, address, number in logs, shown, out, count, size, path))
        return Stats(found)

    # -- places ------------------------------------------------------------------------------------------------

    async def move(self, number: int, *, to: str | os.PathLike[str], progress: Progress = lambda how_far: None) -> None:
        """Move a shard into a store of its own in a new directory, on another disk for instance, while all goes on.

        After a kill, or an error, the shard is whole in one place; called again, the move goes on where it was. A shard
        that has a store of its own already leaves nothing behind, one that lay in the home leaves dead bytes in its log.

        Args:
            number: of the shard.
            to: the directory; new or empty, or the one of a move that ended early.
            progress: called with a `Moving` after each step.

        Raises:
            ConfigError: the directory is not empty, or the home is in memory.
            ModelError: there is no such shard.
            ShardNotHeldError: this node does not hold it.
            StorageError: the disk refused.
            TransactionError: inside a transaction.
        """
        await move(self._node, self._shards, number, to, progress)

    # -- growing -----------------------------------------------------------------------------------------------

    async def resize(self, to: int | Iterable[Any]) -> Layout:
        """Let new records follow a layout of so many shards, of a range strategy with these bounds; return it.

        Old records stay where they are, and are found as before. Repeating it is harmless.

        Raises:
            ModelError: no such layout, or the model has had its 16 layouts.
            PermissionDeniedError: the log is not open, or has admins, and the acting identity is none of them.
            TransactionError: inside a transaction.
        """
        layout = self.layout(to)
        self._node.refuse_inside("a resize")
        store = self._node.store
        store.check_open()
        shared, device = self._node.shared, self._node.device()
        if shared.manifest.admins and not shared.manifest.is_admin(device.user):
            raise PermissionDeniedError(f"only an admin of the log changes the layout of {self._name}")
        if layout != self.newest:
            await self._announce(shared, layout)
        await self._carry_rights(shared, layout)
        return layout

    async def split(self, at: Any) -> Layout:
        """Let a range strategy have one bound more, from now on; return the new layout.

        Raises:
            ModelError: the strategy has no ranges, or there is such a bound.
        """
        [bound] = self._bounds([at])
        bounds = self.newest.bounds
        if bound in bounds:
            self._refuse(f"{at!r} is a bound already")
        return await self._with_bounds((*bounds, bound))

    async def merge(self, at: Any) -> Layout:
        """Let a range strategy have one bound less, from now on; return the new layout.

        Raises:
            ModelError: the strategy has no ranges, or there is no such bound.
        """
        [bound] = self._bounds([at])
        bounds = self.newest.bounds
        if bound not in bounds:
            self._refuse(f"{at!r} is no bound")
        return await self._with_bounds(tuple(one for one in bounds if one != bound))

    async def _with_bounds(self, bounds: tuple[Any, ...]) -> Layout:
        codec = self._shards.codec
        decode = codec.from_wire or (lambda value: value)
        return await self.resize([decode(bound) for bound in sorted(bounds, key=sort_key(codec))])

    def layout(self, to: int | Iterable[Any]) -> Layout:
        """Return the layout of so many shards, or of a range strategy with these bounds.

        Raises:
            ModelError: there is no such layout.
        """
        spec = self._shards.spec
        if spec.kind == "range":
            if isinstance(to, str | bytes) or not isinstance(to, Iterable):
                self._refuse(f"a range strategy is resized by its bounds, not by {to!r}")
            bounds = self._bounds(to)
            return Layout("range", len(bounds) + 1, bounds)
        if type(to) is not int or not 1 <= to <= MAX_SHARDS:
            self._refuse(f"a layout has 1 to {MAX_SHARDS} shards, not {to!r}")
        return Layout(spec.kind, to, name=spec.name)

    def _bounds(self, bounds: Iterable[Any]) -> tuple[Any, ...]:
        try:
            return wire_bounds(bounds, self._shards.codec)
        except ValueError as error:
            self._refuse(str(error))

    def _refuse(self, flaw: str) -> NoReturn:
        raise ModelError(f"{self._name}: {flaw}")

    async def _announce(self, shared: Replica, layout: Layout) -> None:
        """Write the new layout, and with the first one what the model declares."""
        store, layouts = self._node.store, self._node.store.layouts
        model, id = store.models[LAYOUTS], announcement_of(self._name, bool(shared.manifest.admins))
        row = store.view.row(model.rows, shared.n, id)
        exists = row is not None and not row[model.table.hidden_at]
        if layouts.announced(self._name) >= MAX_LAYOUTS:
            self._refuse(f"it has had its {MAX_LAYOUTS} layouts; copy the records to a new model to begin anew")
        values = [layout.announced(layouts.next_seq(self._name))]
        if not layouts.announced(self._name):
            values.insert(0, declared(self._shards.spec).announced(0))
        draft = Draft("update" if exists else "create", id, add={FIELD: values}, base=row if exists else None)
        await store.commit(Commit(store, self._node.device(), model, [(shared, draft)], parts=False))

    async def _carry_rights(self, shared: Replica, layout: Layout) -> None:
        """Let those write to the layout's logs who may write to the unsharded log, and keep out who was revoked there."""
        node, revoked = self._node, shared.rights.revoked()
        granted = [] if shared.manifest.open else [user for user in shared.rights.granted() if user not in revoked]
        is_admin = shared.manifest.is_admin(node.device().user)
        for part in layout.parts:
            replica = node.shard_of(self._home.schema, part)
            for key in revoked if is_admin else ():
                if not replica.rights.would_be_void(key, key, 0):
                    await revoke(node.store, [replica], node.device(), node.root(), key, keep=False)
            for user in granted:
                if replica.rights.grant(user) is None:
                    await grant(node.store, [replica], node.device(), node.root(), user)
