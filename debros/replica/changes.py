"""What an entry says, as the fold takes it: its changes of good form, one by one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from debros.log.body import Body
from debros.log.changes import good_changes, only_change
from debros.log.forms import is_change, is_id, is_name
from debros.log.packed import PackedOps
from debros.replica.tables import Row


@dataclass(slots=True)
class Change:
    """A change of good form. `makes` says that a local one may make its row alone; `row` is that row once it does.

    `columns` are those of its fields, where a local one is a new document and they are sure. `before` is the document's
    present row, where whoever looked it up keeps others from writing.
    """

    model: str
    version: int
    id: str
    value: dict[str, Any]
    makes: bool = False
    row: Row | None = None
    columns: tuple[Any, ...] | None = None
    before: Row | None = None


class Packed:
    """The changes of a large body, decoded anew whenever they are gone through."""

    __slots__ = ("_good", "_ops")

    def __init__(self, ops: PackedOps) -> None:
        self._ops = ops
        self._good: int | None = None  # how many there are, once somebody went through

    def __iter__(self) -> Iterator[Change]:
        good = 0
        for _, model, version, id, value in good_changes(self._ops):
            good += 1
            yield Change(model, version, id, value)
        self._good = good

    def unformed(self, together: int) -> Iterator[list[Change]]:
        """Yield the changes, some together, before anybody asked `is_change` of their values; who did says `count` then."""
        model = self._ops.model
        if model is None or not is_name(model):
            found = good_changes(self._ops, unformed=True)
            while some := [
                Change(model, version, id, value) for _, model, version, id, value in islice(found, together)
            ]:
                yield some
            return
        seen: set[str] = set()
        items = iter(self._ops)  # lists of four, of one model: what is left to ask is as in `good_changes`
        while whole := list(islice(items, together)):
            some = []
            for _, version, id, value in whole:
                if type(id) is str and id not in seen and type(version) is int and version >= 0 and is_id(id):
                    seen.add(id)
                    some.append(Change(model, version, id, value))
            yield some

    def count(self, good: int) -> None:
        """Take notice of how many are of good form."""
        self._good = good

    def __len__(self) -> int:
        if self._good is None:
            self._good = sum(1 for _ in good_changes(self._ops))
        return self._good

    def naming(self, id: str) -> Iterator[Change]:
        """Yield at least the changes of documents with this id; most others are not decoded for it."""
        for _, model, version, its, value in good_changes(self._ops.naming(id)):
            yield Change(model, version, its, value)

    def __contains__(self, change: object) -> bool:
        return any(change == one for one in self)

    @property
    def models(self) -> set[str]:
        """The models that they are of."""
        return {change.model for change in self} if self._ops.model is None else {self._ops.model}


class Unformed(list[Change]):
    """The changes of a body before anybody asked `is_change` of their values: the fold does, and drops those of bad form."""

    def drop_bad(self) -> None:
        """Keep those of good form."""
        self[:] = [change for change in self if is_change(change.value)]


def changes_in(body: Body | None) -> Collection[Change]:
    """Return the changes of good form in a body, none if it is encrypted."""
    if body is None:
        return []
    if type(body.ops) is PackedOps:
        return Packed(body.ops)
    return [Change(model, version, id, value) for _, model, version, id, value in good_changes(body.ops)]


def changes_to_fold(body: Body | None) -> Collection[Change]:
    """Return the changes of a body for `Replica._admit`, behind which they are those of good form."""
    if body is None or type(body.ops) is PackedOps:
        return changes_in(body)
    if len(ops := body.ops) == 1 and type(ops) is list:
        only = only_change(ops[0])
        return Unformed() if only is None else Unformed((Change(*only[1:]),))
    found = good_changes(body.ops, unformed=True)
    return Unformed([Change(model, version, id, value) for _, model, version, id, value in found])


def change_of(changes: Collection[Change], model: str, id: str) -> Change | None:
    """Return the change of one document, `None` if it is not among them."""
    found = changes.naming(id) if type(changes) is Packed else changes
    return next((change for change in found if change.model == model and change.id == id), None)


def note_models(changes: Collection[Change], models: set[str]) -> None:
    """Add the models that changes are of, without decoding what is packed."""
    if type(changes) is Packed:
        models |= changes.models
    else:
        for change in changes:
            models.add(change.model)


def models_of(changes: Collection[Change]) -> set[str]:
    """Return the models that changes are of, without decoding what is packed."""
    found: set[str] = set()
    note_models(changes, found)
    return found
