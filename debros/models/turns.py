"""One save of a record object at a time: its tasks take turns between working out what to write and taking the result.

Else two saves that overlap would both write the same difference of a counter. What tasks edit meanwhile, by assignment
or in place, is no part of what is written: `Turn.is_edited` tells it, and it stays on the record, unsaved.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import is_
from typing import Any

import trio

from debros.errors import TransactionError
from debros.models.tracking import column_of
from debros.schema import FieldSpec


class Turn:
    """A save in flight. It lies in the record as `_turn`, and is over even where a failed save gave the record back."""

    __slots__ = ("_columns", "_event", "_mutable", "_sent", "is_over")

    def __init__(self, own: dict[str, Any], mutable: Sequence[FieldSpec]) -> None:
        self._event: trio.Event | None = None
        self.is_over = False
        self._sent = dict(own)  # the values that are written
        self._mutable = mutable
        self._columns = {spec.name: column_of(spec, own[spec.name]) for spec in mutable}
        own["_turn"] = self

    def is_edited(self, spec: FieldSpec, now: Any) -> bool:
        """Whether a field's value is another one than is written, or was changed in place since."""
        if now is not self._sent[spec.name]:
            return True
        return spec.codec.mutable and column_of(spec, now) != self._columns[spec.name]

    def sent(self, spec: FieldSpec) -> Any:
        """Return the value of a field that is written, whatever was done to the object since."""
        value = self._sent[spec.name]
        if value is None or not spec.codec.mutable or column_of(spec, value) == self._columns[spec.name]:
            return value
        decode, column = spec.codec.from_column, self._columns[spec.name]
        return column if decode is None else decode(column)

    def keep_edits(self, own: dict[str, Any], fresh: dict[str, Any], fields: Iterable[FieldSpec]) -> None:
        """Change values that a record is about to take, so that what was edited since stays.

        A counter goes on by as much as it was moved, a merging set by what was added and taken out.
        """
        is_untouched = all(map(is_, map(own.get, self._sent), self._sent.values()))  # as nearly every record is
        for spec in self._mutable if is_untouched else fields:
            name = spec.name
            now = own[name]
            if now is not fresh[name] and self.is_edited(spec, now):
                fresh[name] = _joined(spec, fresh[name], self.sent(spec), now)

    def written(self, changes: dict[str, tuple[Any, Any]], fields: Iterable[FieldSpec]) -> dict[str, tuple[Any, Any]]:
        """Return changes, as `changes_of` told them before the write, with the values that were written."""
        return {spec.name: (changes[spec.name][0], self.sent(spec)) for spec in fields if spec.name in changes}

    async def wait(self) -> None:
        """Wait until it is over."""
        if self._event is None:
            self._event = trio.Event()
        await self._event.wait()

    def end(self, own: dict[str, Any]) -> None:
        """Let the next one go on."""
        self.is_over = True
        own.pop("_turn", None)
        if self._event is not None:
            self._event.set()


def _joined(spec: FieldSpec, fresh: Any, sent: Any, now: Any) -> Any:
    if spec.merge == "counter":
        return fresh + now - sent
    if spec.merge == "set" and isinstance(now, set) and isinstance(sent, set) and isinstance(fresh, set):
        joined = (fresh | (now - sent)) - (sent - now)
        now.clear()  # it stays the object that somebody is editing
        now |= joined
    return now


async def until_free(own: dict[str, Any], *, in_transaction: bool) -> None:
    """Wait until no other task is saving this record.

    Raises:
        TransactionError: inside a transaction, for which that task may be waiting in turn.
    """
    while (turn := own.get("_turn")) is not None and not turn.is_over:
        if in_transaction:
            raise TransactionError(
                "another task is saving this record outside of the transaction; get the record anew inside it"
            )
        await turn.wait()
