"""Subscriptions as every transport keeps them: bounded, never blocking who delivers, counting what is dropped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import trio

from debros.net.transport import Message

WAITING: Final = 256  # messages that a subscriber may be behind


class Mailbox:
    """The messages of one topic for one subscriber."""

    def __init__(self, boxes: dict[str, list[Mailbox]], topic: str) -> None:
        self.dropped = 0
        self._boxes = boxes
        self._topic = topic
        self._send, self._receive = trio.open_memory_channel[Message](WAITING)
        boxes.setdefault(topic, []).append(self)

    def deliver(self, message: Message) -> None:
        """Put a message in, or count it as dropped."""
        try:
            self._send.send_nowait(message)
        except trio.WouldBlock:
            self.dropped += 1
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # nobody listens any more

    def __aiter__(self) -> AsyncIterator[Message]:
        """Iterate until it is closed."""
        return self._receive

    async def aclose(self) -> None:
        """Stop listening."""
        await trio.lowlevel.checkpoint()
        self.close()

    def close(self) -> None:
        """Stop listening."""
        boxes = self._boxes.get(self._topic, [])
        if self in boxes:
            boxes.remove(self)
            if not boxes:
                del self._boxes[self._topic]
        self._send.close()
