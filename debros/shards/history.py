"""What became of one record, straight from the log: every entry's effect, who wrote what shows, what lost.

Nothing of this is stored: the entries that a document names are folded again, in the order of their stamps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from debros.blocks import cid
from debros.identity.did import did_of
from debros.log import clock
from debros.replica.cells import Document
from debros.replica.changes import Change
from debros.replica.entries import EntryRow
from debros.replica.pacing import Pacing, in_turns
from debros.replica.refold import change_in, entries_of
from debros.replica.replica import Replica
from debros.replica.seen import Seen
from debros.replica.store import Model, Store
from debros.replica.tables import Row
from debros.schema import FieldSpec


@dataclass(frozen=True, slots=True)
class Step:
    """One entry's effect on one record."""

    kind: Literal["create", "update", "delete", "restore"]
    row: Row  # as the entry left it
    changed: tuple[str, ...]  # attributes
    user: str  # DID
    at_ms: int  # since 1970, by the writer's clock
    cid: str  # of the entry, as text


class _Touch(NamedTuple):
    entry: EntryRow
    change: Change
    step: Step


class History:
    """The entries of one document, folded one by one; void ones are left out. Others have their turns meanwhile."""

    def __init__(self, store: Store, replica: Replica, model: Model) -> None:
        self._store = store
        self._replica = replica
        self._model = model
        self._document = Document(store.entries.digest_of)
        self._touches: list[_Touch] = []
        self._seen = Seen(store)

    async def read(self, row: Row) -> None:
        """Read what touched the document that a row is of."""
        store, model = self._store, self._model
        before: Row | None = None
        by: int | None = None  # who created it
        pacing = Pacing()
        for entry in entries_of(store, model, row):
            await pacing.did(2)  # to read one and to fold it
            change = None if entry.void else change_in(store, self._replica, model, row[0], entry)
            if change is None:
                continue
            was_live, existed = self._document.is_live, self._document.born is not None
            self._document.merge(change.value, entry.clock, entry.e, change.version)
            if by is None or (self._document.born is not None and self._document.born[1] == entry.e):
                by = store.keys.number(entry.user)
            after = model.projection.project(row[0], self._document, row[model.table.doc_at], self._replica.n, by)
            kind = _kind(was_live, existed, self._document.is_live)
            step = Step(
                kind, after, self._changed(before, after), did_of(entry.user), clock.ms(entry.clock),
                cid.to_text(entry.digest),
            )  # fmt: skip
            self._touches.append(_Touch(entry, change, step))
            before = after

    def _changed(self, before: Row | None, after: Row) -> tuple[str, ...]:
        names = self._model.table.names
        if before is None:
            return names[1:]
        return tuple(name for at, name in enumerate(names) if at and before[at] != after[at])

    def steps(self) -> list[Step]:
        """Return every entry's effect, oldest first."""
        return [touch.step for touch in self._touches]

    def blame(self) -> dict[str, Step]:
        """Return, by attribute, the step whose value shows; a counter's or set's is the last that touched it."""
        found: dict[str, Step] = {}
        for spec in self._model.table.schema.fields:
            writers = self._writers(spec)
            if spec.merge == "lww" and (register := self._document.registers.get(spec.wire)) is not None:
                writers = [touch for touch in writers if touch.entry.e == register[1]]
            elif spec.merge == "keep" and (kept := self._document.kept.get(spec.wire)) and (values := kept.values()):
                writers = [touch for touch in writers if touch.entry.digest == values[0][0]]
            if writers:
                found[spec.name] = writers[-1].step
        return found

    async def conflicts(self) -> dict[str, list[Step]]:
        """Return, by attribute, the steps whose concurrent values lost (`keep`: all values still held, shown first)."""
        found: dict[str, list[Step]] = {}
        for spec in self._model.table.schema.fields:
            if spec.merge == "keep":
                kept = self._document.kept.get(spec.wire)
                dots = [dot for dot, _ in kept.values()] if kept else []
                by_digest = {touch.entry.digest: touch.step for touch in self._touches}
                steps = [by_digest[dot] for dot in dots] if len(dots) > 1 else []
            elif spec.merge == "lww":
                steps = await self._lost(spec)
            else:
                steps = []
            if steps:
                found[spec.name] = steps
        return found

    def _writers(self, spec: FieldSpec) -> list[_Touch]:
        kinds = {"lww": ("put",), "counter": ("inc",), "set": ("add", "rem"), "keep": ("keep",)}[spec.merge]
        return [t for t in self._touches if any(spec.wire in t.change.value.get(kind, ()) for kind in kinds)]

    async def _lost(self, spec: FieldSpec) -> list[Step]:
        """Return the writes that no other write of the field saw, but for the one that shows.

        What a key once had seen it has seen ever after, so the last write of each key is looked at, by those of the others.
        """
        last = {touch.entry.author: touch for touch in self._writers(spec)}
        if len(last) < 2:
            return []
        shown = self._document.registers[spec.wire][1]
        return [
            touch.step
            for touch in last.values()
            if touch.entry.e != shown and not await self._was_seen(touch, last.values())
        ]

    async def _was_seen(self, touch: _Touch, others: Iterable[_Touch]) -> bool:
        for other in others:
            if await in_turns(self._seen.steps(other.entry, touch.entry)):
                return True
        return False


def _kind(was_live: bool, existed: bool, is_live: bool) -> Literal["create", "update", "delete", "restore"]:
    if was_live == is_live:
        return "update"
    if not is_live:
        return "delete"
    return "restore" if existed else "create"
