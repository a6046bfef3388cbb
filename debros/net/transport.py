"""How peers talk, not what they say: the port that every transport fills.

There are no streams in it, for those of libp2p cannot be cancelled safely: a request is one message, its answer some
frames, and both ends may be cancelled or die at any moment without harm to anything else. What a transport must keep is
written down in the contract suite, `debros.testing.contract`, which authors of transports import.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, NamedTuple, Protocol, Self, TypeAlias

MAX_FRAME: Final = 2 << 20  # bytes of one frame, requests included
MAX_MESSAGE: Final = 80 << 10  # bytes of one published message

Serve: TypeAlias = Callable[[str, bytes], AsyncGenerator[bytes, None]]
"""Answers a request of a peer: `serve(peer, request)` yields frames. What it raises ends the answer, and only that."""

OnPeer: TypeAlias = Callable[[str, bool], None]
"""Told when a peer has come (`True`) or gone; quick, never raising."""


class Message(NamedTuple):
    """A published message, as a subscriber gets it."""

    topic: str
    peer: str  # who published it, as far as the transport can tell
    data: bytes


class Subscription(Protocol):
    """Messages of one topic: `async for message in subscription`. Bounded: what nobody takes in time is dropped."""

    dropped: int  # messages that were not taken in time

    def __aiter__(self) -> AsyncIterator[Message]:
        """Iterate until the subscription or the transport is closed."""
        ...

    async def aclose(self) -> None:
        """Stop listening."""
        ...


class Transport(Protocol):
    """A way to reach peers; an async context manager that owns its tasks. Peers are named by opaque text."""

    on_peer: list[OnPeer]

    async def __aenter__(self) -> Self:
        """Begin to listen.

        Raises:
            TransportError: the address cannot be listened on.
        """
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Close every connection; afterwards nothing of it runs, and nobody can reach it."""
        ...

    @property
    def peer_id(self) -> str:
        """How peers name this node."""
        ...

    @property
    def addresses(self) -> list[str]:
        """Where this node listens: what others pass to `connect`. Empty if it only dials."""
        ...

    @property
    def connected(self) -> dict[str, str]:
        """Peers that are connected, and the address of each, empty where it is not known."""
        ...

    def handle(self, protocol: str, serve: Serve) -> None:
        """Answer requests of this protocol from now on."""
        ...

    def request(
        self, peer: str, protocol: str, body: bytes, *, max_bytes: int
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Ask a connected peer; the block iterates over the frames of the answer, at most `max_bytes` of them.

        It may be left, or cancelled, at any point. The iteration ends only when the peer said that the answer is
        whole; in every other case it raises. Deadlines are the caller's.

        Raises:
            TransportError: the peer is not connected, does not speak the protocol, broke off, or answered too much.
        """
        ...

    async def publish(self, topic: str, data: bytes) -> None:
        """Tell everybody who is subscribed: a hint, which may be lost, doubled, or come out of order.

        Raises:
            TransportError: it has more than `MAX_MESSAGE` bytes.
        """
        ...

    def subscribe(self, topic: str) -> Subscription:
        """Listen to a topic; own messages do not come back."""
        ...

    async def connect(self, address: str) -> str:
        """Dial, and return the peer that answered. Dialling a connected peer again is harmless.

        Raises:
            TransportError: the address is of no known form, or nobody answers there. It may be tried again at once.
        """
        ...

    async def disconnect(self, peer: str) -> None:
        """Close the connection to a peer, if there is one."""
        ...
