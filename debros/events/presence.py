"""Presence: who is in a room now. Whoever is says so again and again, and is gone when it is not heard any more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import trio

from debros.events.message import Message

Say = Callable[[str, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Present:
    """Somebody who is here."""

    did: str
    data: Any
    since: datetime  # when this node heard first, by the sender's clock


@dataclass(slots=True)
class _Heard:
    present: Present
    until: float  # by trio's clock


class Presence:
    """The rooms of one node."""

    def __init__(self, say: Say, tasks: trio.Nursery, random_bytes: Callable[[int], bytes]) -> None:
        self._say = say
        self._tasks = tasks
        self._random_bytes = random_bytes
        self._rooms: dict[str, dict[str, _Heard]] = {}
        self._own: dict[str, tuple[str, Any, float]] = {}  # by number: room, data, seconds
        self._again = trio.Event()

    def say_again(self) -> None:
        """Tell at once who is here: somebody came who may not have heard it."""
        self._again.set()

    def here(self, room: str) -> list[Present]:
        """Return who is in a room."""
        heard = self._rooms.get(room, {})
        for number, one in list(heard.items()):
            if one.until <= trio.current_time():
                del heard[number]
        if not heard:
            self._rooms.pop(room, None)
        return sorted((one.present for one in heard.values()), key=lambda one: (one.since, one.did))

    def hear(self, message: Message) -> None:
        """Take a message of a room in; those of another form say nothing."""
        room = message.topic.partition(".")[2]
        match message.data:
            case {"state": "here", "number": str(number), "seconds": int() | float() as seconds, "data": data} if (
                0 < seconds <= 3600
            ):
                heard = self._rooms.setdefault(room, {})
                known = heard.get(number)
                if known is not None and known.present.did != message.sender:
                    return
                if known is None and number not in self._own:
                    self._again.set()  # a newcomer hears of us at once
                since = message.at if known is None else known.present.since
                heard[number] = _Heard(Present(message.sender, data, since), trio.current_time() + float(seconds))
            case {"state": "gone", "number": str(number)}:
                known = self._rooms.get(room, {}).get(number)
                if known is not None and known.present.did == message.sender:
                    del self._rooms[room][number]

    @asynccontextmanager
    async def present(self, room: str, data: Any, ttl_s: float) -> AsyncIterator[None]:
        """Be in a room for the block."""
        number = self._random_bytes(8).hex()
        self._own[number] = (room, data, ttl_s)
        scope = trio.CancelScope()
        try:
            await self._announce(number)
            self._tasks.start_soon(self._keep, number, scope)
            yield
        finally:
            scope.cancel()
            del self._own[number]
            with trio.move_on_after(1, shield=True):
                await self._say(f"presence.{room}", {"state": "gone", "number": number})

    async def _announce(self, number: str) -> None:
        room, data, ttl_s = self._own[number]
        said = {"state": "here", "number": number, "seconds": ttl_s, "data": data}
        await self._say(f"presence.{room}", said)

    async def _keep(self, number: str, scope: trio.CancelScope) -> None:
        with scope:
            while True:
                with trio.move_on_after(self._own[number][2] / 3):
                    await self._again.wait()
                self._again = trio.Event()
                await self._announce(number)
