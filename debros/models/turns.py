"""One save of a record object at a time: its tasks take turns between working out what to write and taking the result.

Else two saves that overlap would both write the same difference of a counter.
"""

from __future__ import annotations

from typing import Any

import trio

from debros.errors import TransactionError


class Turn:
    """A save in flight. It lies in the record as `_turn`, and is over even where a failed save gave the record back."""

    __slots__ = ("_event", "is_over", "sent")

    def __init__(self, own: dict[str, Any]) -> None:
        self._event: trio.Event | None = None
        self.is_over = False
        self.sent = dict(own)  # the values that are written; what differs afterwards was edited meanwhile
        own["_turn"] = self

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
