"""The network in memory: hosts of one process that lose, double, delay, cut and garble what they say, from one seed.

Time passes by `trio.sleep` only, so a test that runs on trio's mock clock holds a whole network in virtual time. Faults
are those that were seen on real networks: a request that is lost takes its connection with it, an answer may end in its
middle, a frame may come as garbage, a request that was given up may have been carried out all the same, or twice.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Final, Self

import trio

from debros.errors import DebrosError, TransportError
from debros.net.mailbox import Mailbox
from debros.net.transport import MAX_FRAME, MAX_MESSAGE, Message, OnPeer, Serve

PREFIX: Final = "/memory/"
SILENCE_S: Final = 5.0  # after which a peer that does not answer counts as gone


@dataclass
class Faults:
    """How bad the network is: probabilities for each message, and the range of delays in seconds."""

    loss: float = 0.0
    duplicate: float = 0.0
    cut: float = 0.0  # an answer ends in its middle
    garble: float = 0.0  # a frame of an answer is other bytes
    delay_s: tuple[float, float] = (0.0, 0.0)


class MemoryNetwork:
    """Hosts that can reach each other, unless a partition lies between them."""

    def __init__(self, random: Random | None = None, faults: Faults | None = None) -> None:
        self.random = random or Random(0)  # noqa: S311 - faults, not secrets
        self.faults = faults or Faults()
        self.hosts: dict[str, MemoryTransport] = {}
        self.sent_bytes = 0  # requests and frames of answers
        self.requests = 0
        self._groups: list[frozenset[str]] = []

    def host(self, name: str) -> MemoryTransport:
        """Return the transport of one host; entering it puts it on the network."""
        return MemoryTransport(self, name)

    def partition(self, *groups: Iterable[str]) -> None:
        """Let hosts reach only those of their own group; a host in none reaches nobody."""
        self._groups = [frozenset(group) for group in groups]

    def heal(self) -> None:
        """Let everybody reach everybody again."""
        self._groups = []

    def reaches(self, one: str, other: str) -> bool:
        """Whether messages get from one host to the other."""
        return not self._groups or any(one in group and other in group for group in self._groups)

    def happens(self, probability: float) -> bool:
        """Roll the dice."""
        return probability > 0 and self.random.random() < probability

    async def delay(self) -> None:
        """Let the time of one message pass."""
        low, high = self.faults.delay_s
        await trio.sleep(self.random.uniform(low, high) if high else 0)


class MemoryTransport:
    """One host; a `debros.net.transport.Transport`."""

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self.on_peer: list[OnPeer] = []
        self._network = network
        self._name = name
        self._serving: dict[str, Serve] = {}
        self._connected: dict[str, str] = {}
        self._boxes: dict[str, list[Mailbox]] = {}
        self._nursery_manager = trio.open_nursery()
        self._nursery: trio.Nursery | None = None

    @property
    def peer_id(self) -> str:
        """The host's name."""
        return self._name

    @property
    def addresses(self) -> list[str]:
        """Where others dial it."""
        return [PREFIX + self._name] if self._nursery is not None else []

    @property
    def connected(self) -> dict[str, str]:
        """Connected peers, and their addresses."""
        return dict(self._connected)

    async def __aenter__(self) -> Self:
        """Put the host on the network."""
        if self._name in self._network.hosts:
            raise TransportError(PREFIX + self._name, "another host has this name; choose another")
        self._nursery = await self._nursery_manager.__aenter__()
        self._network.hosts[self._name] = self
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Take the host off the network; what it was answering ends in the middle."""
        assert self._nursery is not None
        del self._network.hosts[self._name]
        for peer in list(self._connected):
            self._drop(peer)
        for boxes in list(self._boxes.values()):
            for box in list(boxes):
                box.close()
        self._nursery.cancel_scope.cancel()
        self._nursery = None
        await self._nursery_manager.__aexit__(None, None, None)

    def handle(self, protocol: str, serve: Serve) -> None:
        """Answer requests of this protocol from now on."""
        self._serving[protocol] = serve

    # -- connections -----------------------------------------------------------------------------------------

    async def connect(self, address: str) -> str:
        """Dial another host."""
        if not address.startswith(PREFIX):
            raise TransportError(address, f"not an address of the network in memory; those begin with {PREFIX}")
        peer = address.removeprefix(PREFIX)
        await self._network.delay()
        other = self._network.hosts.get(peer)
        if other is None or peer == self._name:
            raise TransportError(address, "nobody listens there")
        if not self._network.reaches(self._name, peer) or self._network.happens(self._network.faults.loss):
            await trio.sleep(SILENCE_S)
            raise TransportError(address, "no answer")
        self._meet(peer)
        other._meet(self._name)
        return peer

    async def disconnect(self, peer: str) -> None:
        """Close the connection to a peer, on both sides."""
        await trio.lowlevel.checkpoint()
        self._drop(peer)

    def _meet(self, peer: str) -> None:
        if peer not in self._connected:
            self._connected[peer] = PREFIX + peer
            for tell in self.on_peer:
                tell(peer, True)

    def _drop(self, peer: str) -> None:
        other = self._network.hosts.get(peer)
        for host, gone in ((self, peer), (other, self._name)):
            if host is not None and host._connected.pop(gone, None) is not None:
                for tell in host.on_peer:
                    tell(gone, False)

    # -- requests ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def request(
        self, peer: str, protocol: str, body: bytes, *, max_bytes: int
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Ask a connected peer."""
        network = self._network
        if peer not in self._connected:
            raise TransportError(peer, "not connected")
        if len(body) > MAX_FRAME:
            raise TransportError(peer, f"a request of {len(body)} bytes; {MAX_FRAME} are allowed")
        network.requests += 1
        network.sent_bytes += len(body)
        await network.delay()
        other = network.hosts.get(peer)
        if other is None or not network.reaches(self._name, peer) or network.happens(network.faults.loss):
            await trio.sleep(SILENCE_S)
            self._drop(peer)
            raise TransportError(peer, "no answer; the connection is closed")
        if protocol not in other._serving:
            raise TransportError(peer, f"does not speak {protocol}")
        send, receive = trio.open_memory_channel[bytes | None](0)
        other._start(self._name, protocol, body, send)
        if network.happens(network.faults.duplicate):
            lost, nobody = trio.open_memory_channel[bytes | None](0)
            other._start(self._name, protocol, body, lost)
            nobody.close()
        with receive:
            async with aclosing(self._frames(peer, receive, max_bytes)) as frames:
                yield frames

    async def _frames(
        self, peer: str, receive: trio.MemoryReceiveChannel[bytes | None], max_bytes: int
    ) -> AsyncGenerator[bytes, None]:
        network, taken = self._network, 0
        while True:
            try:
                frame = await receive.receive()
            except trio.EndOfChannel:
                raise TransportError(peer, "broke off inside an answer") from None
            if frame is None:
                return
            await network.delay()
            lost = not network.reaches(self._name, peer)
            if lost or network.happens(network.faults.cut):
                if lost:
                    await trio.sleep(SILENCE_S)
                self._drop(peer)
                raise TransportError(peer, "broke off inside an answer")
            taken += len(frame)
            network.sent_bytes += len(frame)
            if taken > max_bytes or len(frame) > MAX_FRAME:
                raise TransportError(peer, f"answered more than the {max_bytes} bytes that were asked for")
            yield garbled(network.random, frame) if network.happens(network.faults.garble) else frame

    def _start(self, peer: str, protocol: str, body: bytes, send: trio.MemorySendChannel[bytes | None]) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(self._answer, peer, protocol, body, send)

    async def _answer(self, peer: str, protocol: str, body: bytes, send: trio.MemorySendChannel[bytes | None]) -> None:
        """Answer one request. Whatever goes wrong ends this answer, and nothing else."""
        with send:
            try:
                async with aclosing(self._serving[protocol](peer, body)) as frames:
                    async for frame in frames:
                        await send.send(frame)
                await send.send(None)
            except (DebrosError, trio.BrokenResourceError):
                return  # the asker sees an answer that is not whole, or has gone

    # -- messages ----------------------------------------------------------------------------------------------

    async def publish(self, topic: str, data: bytes) -> None:
        """Tell every host that is subscribed, and can be reached through others that are."""
        if len(data) > MAX_MESSAGE:
            raise TransportError("", f"a message of {len(data)} bytes; {MAX_MESSAGE} are allowed")
        await trio.lowlevel.checkpoint()
        network = self._network
        for name in sorted(self._within_reach(topic)):
            other = network.hosts[name]
            for _ in range(2 if network.happens(network.faults.duplicate) else 1):
                if not network.happens(network.faults.loss) and other._nursery is not None:
                    other._nursery.start_soon(other._deliver, Message(topic, self._name, data))

    async def _deliver(self, message: Message) -> None:
        await self._network.delay()
        for box in list(self._boxes.get(message.topic, ())):
            box.deliver(message)

    def _within_reach(self, topic: str) -> set[str]:
        """Hosts that are subscribed, and connected to this one directly or through others of them."""
        network, found, next = self._network, set[str](), [self._name]
        while next:
            name = next.pop()
            for peer in network.hosts[name]._connected:
                host = network.hosts.get(peer)
                if host is not None and peer not in found and topic in host._boxes and network.reaches(name, peer):
                    found.add(peer)
                    next.append(peer)
        return found - {self._name}

    def subscribe(self, topic: str) -> Mailbox:
        """Listen to a topic."""
        return Mailbox(self._boxes, topic)


def garbled(random: Random, frame: bytes) -> bytes:
    """Return other bytes: some flipped, some missing, or anything at all."""
    if not frame or random.random() < 0.3:
        return random.randbytes(random.randint(0, 64))
    changed = bytearray(frame)
    for _ in range(random.randint(1, 4)):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed[: random.randint(1, len(changed))] if random.random() < 0.3 else changed)
