"""Topics over gossipsub: one task drains each at once into bounded mailboxes, which count what is dropped."""

from __future__ import annotations

from collections import deque
from typing import Final

import trio
from libp2p.peer.id import ID
from libp2p.pubsub.pubsub import Pubsub

from debros.net.libp2p.host import log
from debros.net.mailbox import Mailbox
from debros.net.transport import Message

OUTGOING: Final = 1024  # messages that wait to be published; more are lost, as a hint may be


class Gossip:
    """What a host publishes and is subscribed to."""

    def __init__(self) -> None:
        self.dropped = 0
        self._boxes: dict[str, list[Mailbox]] = {}
        self._outgoing: deque[tuple[str, bytes]] = deque()
        self._wake = trio.Event()
        self._pubsub: Pubsub | None = None
        self._nursery: trio.Nursery | None = None
        self._own = ""
        self._drained: set[str] = set()

    async def use(self, pubsub: Pubsub, nursery: trio.Nursery, own: str) -> None:
        """Speak through a host's pubsub from now on."""
        await trio.lowlevel.checkpoint()
        is_first = self._nursery is None
        self._pubsub, self._nursery, self._own = pubsub, nursery, own
        self._drained = set()
        if is_first:
            nursery.start_soon(self._publish_all)
        for topic in self._boxes:
            self._drain(topic)

    def publish(self, topic: str, data: bytes) -> None:
        """Publish soon."""
        if len(self._outgoing) >= OUTGOING:
            self.dropped += 1
            return
        self._outgoing.append((topic, data))
        self._wake.set()

    def subscribe(self, topic: str) -> Mailbox:
        """Listen to a topic."""
        box = Mailbox(self._boxes, topic)
        self._drain(topic)
        return box

    def close(self) -> None:
        """End all subscriptions."""
        for boxes in list(self._boxes.values()):
            for box in list(boxes):
                box.close()

    def _drain(self, topic: str) -> None:
        if self._nursery is not None and self._pubsub is not None and topic not in self._drained:
            self._drained.add(topic)
            self._nursery.start_soon(self._deliver_all, self._pubsub, topic)

    async def _deliver_all(self, pubsub: Pubsub, topic: str) -> None:
        try:
            subscription = await pubsub.subscribe(topic)
            while topic in self._boxes:
                message = await subscription.get()
                sender = str(ID(message.from_id))
                if sender != self._own:
                    for box in list(self._boxes.get(topic, ())):
                        box.deliver(Message(topic, sender, message.data))
            await pubsub.unsubscribe(topic)
        except Exception as error:  # a topic that fails is silent; nothing rests on it
            log.debug("the topic %s ended: %r", topic, error)
        self._drained.discard(topic)

    async def _publish_all(self) -> None:
        while True:
            while self._outgoing and self._pubsub is not None:
                topic, data = self._outgoing.popleft()
                try:
                    await self._pubsub.publish(topic, data)
                except Exception as error:  # as above
                    log.debug("a message for %s was not published: %r", topic, error)
            await self._wake.wait()
            self._wake = trio.Event()
