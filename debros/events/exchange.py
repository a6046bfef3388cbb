"""Topics between nodes: what is published goes out in batches, what comes in is checked and handed to subscribers.

One gossip topic serves an application (the same name, `admins` and `open`), so patterns need no agreement. A message of high priority
goes at once; others wait a moment for company: 100 of them, 50 ms, or 5 s where none is in a hurry.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import trio
from cachetools import LRUCache

from debros.blocks import dagcbor
from debros.errors import IdentityError, TopicError, TransportError
from debros.events import message as messages
from debros.events.message import Message
from debros.events.messages import Messages
from debros.events.stats import Counts, Stats
from debros.identity.did import key_of

if TYPE_CHECKING:
    from debros.env import Env
    from debros.identity.keys import Device, Identity
    from debros.net.transport import Transport

Priority: TypeAlias = Literal["low", "normal", "high"]
BATCH: Final = 100  # messages of one frame
WAIT_S: Final[Mapping[str, float]] = {"low": 5.0, "normal": 0.05}  # for others to join
MAX_FRAME: Final = 72 << 10  # bytes of one frame
HISTORY: Final = 100  # messages kept of each topic
TOPICS: Final = 1000  # topics whose last messages and counts are kept
UNREADABLE: Final = "unreadable"  # the topic under which messages that cannot be read are counted
KNOWN: Final = 8192  # ids of messages, so that none is taken twice


class Exchange:
    """The topics of one node. Without a transport, messages stay in it."""

    def __init__(self, env: Env, name: str, tasks: trio.Nursery, transport: Callable[[], Transport | None]) -> None:
        self._env = env
        self._name = name
        self._tasks = tasks
        self._transport = transport
        self._listening = False
        self._subscribers: list[Messages] = []
        self._history: LRUCache[str, deque[Message]] = LRUCache(TOPICS)
        self._counts: LRUCache[str, Counts] = LRUCache(TOPICS)
        self._known: LRUCache[bytes, bool] = LRUCache(KNOWN)
        self._outbox: list[bytes] = []
        self._due = math.inf  # when what waits has waited long enough, by trio's clock
        self._hurry = trio.Event()  # set when `_due` is earlier, or the outbox full
        self.identities: Callable[[], Sequence[Identity]] = lambda: ()

    # -- subscribers -----------------------------------------------------------------------------------------------

    def subscribe(self, messages: Messages, history: int) -> None:
        """Begin to deliver to a subscriber, the last `history` messages of each topic first."""
        self.listen()
        past = [
            one for topic in sorted(self._history) if messages.takes(topic, False) for one in self.last(topic, history)
        ]
        for one in sorted(past, key=lambda message: message.at):
            messages.deliver(one)
        self._subscribers.append(messages)

    def unsubscribe(self, messages: Messages) -> None:
        """Deliver to a subscriber no longer."""
        if messages in self._subscribers:
            self._subscribers.remove(messages)
        messages.close()

    @property
    def subscribers(self) -> Sequence[Messages]:
        """Who listens."""
        return tuple(self._subscribers)

    def last(self, topic: str, n: int) -> list[Message]:
        """Return the last messages of a topic that this node has seen, oldest first."""
        kept = self._history.get(topic)
        return [] if kept is None or n < 1 else list(kept)[-n:]

    def stats(self) -> dict[str, Stats]:
        """Return counts by topic."""
        return {topic: counts.stats() for topic, counts in sorted(self._counts.items())}

    def counts(self, topic: str) -> Counts:
        """Return a topic's counts, to be counted up."""
        found = self._counts.get(topic)
        if found is None:
            found = self._counts[topic] = Counts(self._env.now_us)
        return found

    def hand_out(self, message: Message, own: bool) -> None:
        """Give a message to whom it concerns."""
        history = self._history.get(message.topic)
        if history is None:
            history = self._history[message.topic] = deque(maxlen=HISTORY)
        history.append(message)
        for subscriber in list(self._subscribers):
            if subscriber.takes(message.topic, own):
                subscriber.deliver(message)

    # -- out -----------------------------------------------------------------------------------------------------------

    async def publish(
        self, device: Device, topic: str, data: object, *, priority: Priority, to: Sequence[str],
        metadata: Mapping[str, Any], compress: bool, own: bool,
    ) -> None:  # fmt: skip
        """Publish to a topic. See `Events.publish`."""
        if priority not in ("low", "normal", "high"):
            raise TopicError(f"priority={priority!r} is not one of 'low', 'normal', 'high'")
        try:
            users = [key_of(did) for did in to]
        except ValueError as error:
            raise TopicError(f"to= takes DIDs of users: {error}") from error
        raw = messages.write(
            device, topic, data, metadata, to=users, compress=compress, at_us=self._env.now_us(),
            random_bytes=self._env.random_bytes,
        )  # fmt: skip
        self.counts(topic).published += 1
        envelope = messages.read(raw)
        self._known[envelope.id] = True
        mine = envelope.opened(self.identities()) if to else self._as_sent(envelope)
        if mine is not None:
            self.hand_out(mine, own)
        self.listen()
        await trio.lowlevel.checkpoint()
        if priority == "high":
            await self._send([raw])
        elif self._transport() is not None:
            self._outbox.append(raw)
            self._due = min(self._due, trio.current_time() + WAIT_S[priority])
            self._hurry.set()

    @staticmethod
    def _as_sent(envelope: messages.Envelope) -> Message | None:
        return envelope.opened(())

    async def flush(self) -> None:
        """Send what waits."""
        waiting, self._outbox, self._due = self._outbox, [], math.inf
        frame: list[bytes] = []
        for raw in waiting:
            if frame and (len(frame) == BATCH or sum(map(len, frame)) + len(raw) > MAX_FRAME):
                await self._send(frame)
                frame = []
            frame.append(raw)
        if frame:
            await self._send(frame)

    async def _send(self, frame: list[bytes]) -> None:
        transport = self._transport()
        if transport is not None:
            try:
                await transport.publish(self._name, dagcbor.encode(frame))
            except TransportError:  # a hint that is lost, as any may be
                self.counts(UNREADABLE).errors += len(frame)

    async def _ship(self) -> None:
        while True:
            with trio.move_on_at(self._due) as scope:
                await self._hurry.wait()
            self._hurry = trio.Event()
            if scope.cancelled_caught or len(self._outbox) >= BATCH:
                await self.flush()

    # -- in ------------------------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Begin to hear other nodes, and to send, if there is a way to them."""
        if not self._listening and (transport := self._transport()) is not None:
            self._listening = True
            self._tasks.start_soon(self._hear, transport)
            self._tasks.start_soon(self._ship)

    async def _hear(self, transport: Transport) -> None:
        async for frame in transport.subscribe(self._name):
            try:
                raws: Any = dagcbor.decode(frame.data)
            except ValueError:
                raws = None
            if type(raws) is not list or len(raws) > BATCH:
                self.counts(UNREADABLE).errors += 1
                continue
            for raw in raws:
                self.take(raw)

    def take(self, raw: object) -> None:
        """Take a message from another node; one that is not good is counted, and nothing else."""
        topic = UNREADABLE
        try:
            if type(raw) is not bytes:
                raise ValueError("a message of another form")
            envelope = messages.read(raw)
            topic = envelope.topic
            age = abs(self._env.now_us() - envelope.at_us)
            if envelope.id in self._known:
                return
            if topic.partition(".")[0] == "node" or age > messages.MAX_AGE_S * 1_000_000:
                raise ValueError("a notice of another node, or a message of another time")
            self._known[envelope.id] = True
            found = envelope.opened(self.identities())
        except (ValueError, OverflowError, IdentityError):
            self.counts(topic).errors += 1
            return
        self.counts(topic).received += 1
        if found is not None:
            self.hand_out(found, own=False)

    async def aclose(self) -> None:
        """Send what waits, for a second at most, and end all subscriptions."""
        with trio.move_on_after(1, shield=True):
            await self.flush()
        for subscriber in self._subscribers:
            subscriber.close("the node is closed")
