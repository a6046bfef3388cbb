"""Asking a peer: one request, its answer under a deadline."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, nullcontext
from typing import Final

import trio

from debros.errors import TransportError
from debros.net.transport import MAX_FRAME, Transport
from debros.sync.wire import MAX_ANSWER, PROTOCOL, Request, encode_request

Pace = Callable[[], Awaitable[None]]
ANSWER_S: Final = 20.0  # how long a peer may think before the next frame


class Asker:
    """A peer, as requests see it."""

    def __init__(
        self, transport: Transport, peer: str, pace: Pace | None = None, most: trio.Semaphore | None = None
    ) -> None:
        self._transport = transport
        self.peer = peer
        self._pace = pace
        self._most = most  # requests at once

    async def may_ask(self) -> None:
        """Wait until the peer would bear one more request. To be called before it is made up: it says how things are now."""
        if self._pace is not None:
            await self._pace()

    async def one(self, request: Request) -> bytes:
        """Return the one frame of an answer.

        Raises:
            TransportError: the peer broke off, or was too slow.
        """
        async with self.frames(request) as frames:
            found = [frame async for frame in frames]
        if len(found) != 1:
            raise TransportError(self.peer, f"answered {len(found)} frames where one belongs")
        return found[0]

    @asynccontextmanager
    async def frames(self, request: Request) -> AsyncIterator[AsyncIterator[bytes]]:
        """Iterate over the frames of an answer.

        Raises:
            TransportError: the peer broke off, or was too slow.
        """
        body = encode_request(request)
        asked = self._transport.request(self.peer, PROTOCOL, body, max_bytes=MAX_ANSWER + MAX_FRAME)
        async with self._most or nullcontext(), asked as frames, aclosing(self._timely(frames)) as timely:
            yield timely

    async def _timely(self, frames: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        iterator = aiter(frames)
        while True:
            frame: bytes | None = None
            with trio.move_on_after(ANSWER_S) as scope:
                try:
                    frame = await anext(iterator)
                except StopAsyncIteration:
                    return
            if scope.cancelled_caught or frame is None:
                raise TransportError(self.peer, f"said nothing for {ANSWER_S:.0f} s")
            yield frame
