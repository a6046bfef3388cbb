"""Rows of models made beside the old ones while the program goes on, and kept in step with it until they are swapped in.

The first pass goes over all rows, a batch at a time. What is written meanwhile is noted, and made once more at the end,
while nobody writes: as many rows as were touched, not all of them. So writers wait for little, and readers for nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio

from debros.migrations import counting
from debros.replica.effects import Place
from debros.replica.lifting import SHORT, Lift
from debros.replica.relifting import BATCH, Take, aside, drop_aside, project_again, renew
from debros.replica.store import Admitted, Model, Store
from debros.replica.swapping import goes_beside, swap

Tell = Callable[[str, int, int], None]  # the model's name, rows done, rows in all


@dataclass(frozen=True)
class Aim:
    """The rows of a model in some logs, and what they shall be lifted by."""

    model: Model
    logs: Sequence[int]
    lifts: Mapping[int, Lift]
    refuses: bool  # whether a function that fails on a row is an error; else the row shows as it is stored, flagged

    def is_as(self, other: Aim) -> bool:
        """Whether rows made for one are those for the other."""
        prints, others = ({n: lift.fingerprint for n, lift in aim.lifts.items()} for aim in (self, other))
        return self.model is other.model and list(self.logs) == list(other.logs) and prints == others


@asynccontextmanager
async def turned(store: Store, aims: Callable[[], list[Aim]], tell: Tell) -> AsyncIterator[None]:
    """Make rows; in the block nobody writes, and a flush that finds them wanted swaps them in, or behind it a thread.

    Args:
        store: the store.
        aims: what is wanted; it may change while the rows are made, by entries that arrive.
        tell: called behind each batch.

    Raises:
        MigrationError: a function fails on a row, and that is an error.
    """
    wanted = aims()
    touched = _Touched(aim.model for aim in wanted)
    store.on_admitted.append(touched.on_admitted)
    store.on_moved.append(touched.on_moved)
    try:
        for aim in wanted:
            await _make(store, aim, tell)
        async with store.writer.exclusive():
            _flush(store)
            present = aims()
            if len(present) != len(wanted) or not all(a.is_as(b) for a, b in zip(present, wanted, strict=True)):
                for aim in present:  # rare: another migration came
                    await _make(store, aim, tell)
                wanted += present
            else:
                for aim in wanted:
                    await _make_touched(store, aim, touched, tell)
            with trio.CancelScope(shield=True):
                many = [aim.model for aim in present if goes_beside(store, aim.model, SHORT)]
                for aim in present:
                    if aim.model not in many:
                        store.lifts.made[aim.model.table.schema.name] = aim.logs
                yield
                for model in many:
                    await swap(store, model)
    finally:
        store.on_admitted.remove(touched.on_admitted)
        store.on_moved.remove(touched.on_moved)
        for aim in wanted:
            store.lifts.made.pop(aim.model.table.schema.name, None)
        with trio.CancelScope(shield=True):
            await store.until_free()
        for aim in wanted:
            if not store.closed:
                drop_aside(store, aim.model)


class _Touched:
    """Notes which rows may have changed."""

    def __init__(self, models: Any) -> None:
        self.places: dict[str, set[tuple[int, str]]] = {model.table.schema.name: set() for model in models}
        self.whole: set[str] = set()  # models all of whose rows may have

    def on_admitted(self, admitted: Sequence[Admitted]) -> None:
        for one in admitted:
            for change in one.changes:
                if (noted := self.places.get(change.model)) is not None:
                    noted.add((one.replica.n, change.id))

    def on_moved(self, places: Sequence[Place], models: Sequence[str]) -> None:
        for model, log, id in places:
            if (noted := self.places.get(model)) is not None:
                noted.add((log, id))
        self.whole |= self.places.keys() & set(models)


def _flush(store: Store) -> None:
    store.view.hide_provisional()
    store.flush()


async def _make(store: Store, aim: Aim, tell: Tell) -> None:
    await store.until_free()
    _flush(store)
    name, done = aim.model.table.schema.name, 0
    total = sum(counting.count_rows(store, aim.model, log) for log in aim.logs)
    batches = project_again(store, aim.model, aim.logs, _checked(aim, aside(store, aim.model)))
    while True:
        await store.until_free()
        store.view.hide_provisional()
        with counting.projecting(aim.model, aim.lifts):
            looked_at = next(batches, None)
        if looked_at is None:
            return
        done += looked_at
        tell(name, done, total)
        await trio.lowlevel.checkpoint()


async def _make_touched(store: Store, aim: Aim, touched: _Touched, tell: Tell) -> None:
    """Make those rows once more that changed since."""
    name = aim.model.table.schema.name
    if name in touched.whole:
        await _make(store, aim, tell)
        return
    places = sorted((log, id) for log, id in touched.places[name] if log in aim.logs)
    for start in range(0, len(places), BATCH):
        with counting.projecting(aim.model, aim.lifts):
            rows = renew(store, aim.model, places[start : start + BATCH])
        _check(aim, rows)
        tell(name, min(start + BATCH, len(places)), len(places))
        await trio.lowlevel.checkpoint()


def _checked(aim: Aim, take: Take) -> Take:
    def checked(changed: Sequence[tuple[Any, Any]]) -> None:
        _check(aim, [row for row, _ in changed])
        take(changed)

    return checked


def _check(aim: Aim, rows: Sequence[Any]) -> None:
    if aim.refuses:
        for row in rows:
            counting.refuse_failed(aim.model, row, aim.lifts)
