"""The port over a host of py-libp2p.

*Pump*: every call of libp2p runs in a task of the transport, which no user can cancel, for a cancelled call leaves the
connection broken (noise counts a message that was never written). Users wait on channels. A stream is kept for the next
request of its protocol; one on which anything went wrong is reset, and a connection with an I/O error is closed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, Self, TypeVar

import outcome
import trio
from libp2p.abc import IHost, INetStream
from libp2p.custom_types import TProtocol
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from debros.errors import DebrosError, TransportError, flattened
from debros.net.libp2p.addresses import dialled_address, peer_id
from debros.net.libp2p.events import Notifee
from debros.net.libp2p.framing import DATA, END, Reader, framed, pieces
from debros.net.libp2p.gossip import Gossip
from debros.net.libp2p.host import Dialler, close_sockets, forget_failures, log, make_host, make_pubsub, reset
from debros.net.mailbox import Mailbox
from debros.net.transport import MAX_FRAME, MAX_MESSAGE, OnPeer, Serve

T = TypeVar("T")

DIAL_S: Final = 15.0
AHEAD: Final = 8  # frames of an answer that are read before anybody takes them
STUCK_S: Final = 60.0  # how long a write, or the rest of a frame, may take
IDLE_STREAMS: Final = 4  # kept for each peer and protocol
RESTART_S: Final = 1.0


class Libp2pTransport:
    """A `debros.net.transport.Transport` over TCP, noise, yamux and gossipsub."""

    def __init__(self, listen: Sequence[Multiaddr], seed: bytes) -> None:
        self.on_peer: list[OnPeer] = []
        self._listen = list(listen)
        self._seed = seed
        self._serving: dict[str, Serve] = {}
        self._connected: dict[str, str] = {}
        self._idle: dict[tuple[str, str], list[tuple[INetStream, Reader]]] = {}
        self._busy: dict[INetStream, tuple[str, float]] = {}  # whose stream does I/O, and since when
        self._sockets: dict[str, list[Any]] = {}  # dialled, by peer
        self._gossip = Gossip()
        self._nursery_manager = trio.open_nursery()
        self._nursery: trio.Nursery
        self._host: IHost
        self._dialler: Dialler
        self._addresses: list[str] = []

    # -- opening and closing -----------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Begin to listen.

        Raises:
            TransportError: an address cannot be listened on.
        """
        self._nursery = await self._nursery_manager.__aenter__()
        try:
            await self._nursery.start(self._run_host)
        except BaseException as error:
            self._nursery.cancel_scope.cancel()
            await self._nursery_manager.__aexit__(None, None, None)
            raise flattened(error) from None
        self._nursery.start_soon(self._watch)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close everything."""
        self._gossip.close()
        for peer in list(self._connected):
            self._note(peer, is_up=False)
        self._nursery.cancel_scope.cancel()
        await self._nursery_manager.__aexit__(None, None, None)

    async def _run_host(self, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Run a host; should it ever end by itself, run another one on the same addresses."""
        is_started = False
        while True:
            try:
                async with self._opened_host():
                    if not is_started:
                        is_started = True
                        task_status.started()
                    await trio.sleep_forever()
            except Exception as error:  # trap 1, behind its fence
                if not is_started:
                    raise
                log.error("the libp2p host ended and is started again: %r", error)
                for peer in list(self._connected):
                    self._note(peer, is_up=False)
                await trio.sleep(RESTART_S)

    @asynccontextmanager
    async def _opened_host(self) -> AsyncIterator[None]:
        dialler = self._dialler = Dialler()
        host = self._host = make_host(self._seed, dialler)
        pubsub, router = make_pubsub(host)
        host.get_network().register_notifee(Notifee(self._note_connection))
        for protocol in self._serving:
            self._set_handler(protocol)
        try:
            async with host.run(self._listen):
                bound = host.get_network().listeners if self._listen else {}
                if len(bound) < len(self._listen):
                    missing = next(address for address in self._listen if str(address) not in bound)
                    raise TransportError(
                        str(missing), "cannot be listened on: the port is in use, or the address is not this machine's;"
                        " /tcp/0 takes any free port"
                    )  # fmt: skip
                self._addresses = [str(address) for address in host.get_addrs()] if self._listen else []
                self._listen = [address.decapsulate("/p2p/" + self.peer_id) for address in host.get_addrs()][
                    : len(bound)
                ]
                async with background_trio_service(pubsub), background_trio_service(router):
                    await pubsub.wait_until_ready()
                    await self._gossip.use(pubsub, self._nursery, self.peer_id)
                    yield
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(5):
                await host.close()  # 5: or the port still accepts
            for sockets in (*self._sockets.values(), dialler.take()):
                close_sockets(sockets)
            self._sockets = {}
            pubsub.seen_messages.stop()  # whose thread else sweeps as long as the process runs

    @property
    def peer_id(self) -> str:
        """The base58 text of the host's key."""
        return str(self._host.get_id())

    @property
    def addresses(self) -> list[str]:
        """Where others dial it."""
        return list(self._addresses)

    @property
    def connected(self) -> dict[str, str]:
        """Connected peers, and their addresses."""
        return dict(self._connected)

    def handle(self, protocol: str, serve: Serve) -> None:
        """Answer requests of this protocol from now on."""
        self._serving[protocol] = serve
        self._set_handler(protocol)

    # -- connections -----------------------------------------------------------------------------------------

    async def connect(self, address: str) -> str:
        """Dial."""
        info = dialled_address(address)
        peer = str(info.peer_id)
        if peer == self.peer_id:
            raise TransportError(address, "is this node's own address")
        if peer in self._connected:
            await trio.lowlevel.checkpoint()
            return peer

        async def dial() -> None:
            forget_failures(self._host, info.peer_id)
            await self._host.connect(info)
            self._sockets.setdefault(peer, []).extend(self._dialler.take())

        try:
            with trio.fail_after(DIAL_S):
                await self._pumped(dial)
        except trio.TooSlowError:
            raise TransportError(address, f"no answer within {DIAL_S:.0f} s") from None
        except TransportError:
            raise
        except Exception as error:  # its dials fail in groups of many kinds
            raise TransportError(address, f"cannot be reached: {_reason(error)}; is the node running there?") from error
        self._connected[peer] = address
        self._note(peer, is_up=True)
        return peer

    async def disconnect(self, peer: str) -> None:
        """Close the connection to a peer."""
        await trio.lowlevel.checkpoint()
        self._part(peer)

    def _part(self, peer: str) -> None:
        """Close what there is of a connection, in a task, and forget it now."""
        self._note(peer, is_up=False)

        async def close() -> None:
            await self._host.disconnect(peer_id(peer))

        self._nursery.start_soon(self._attempt, close)

    def _note_connection(self, peer: str, address: str, is_up: bool) -> None:
        if is_up and self._connected.get(peer, "") == "":
            self._connected[peer] = address
        self._note(peer, is_up=is_up)

    def _note(self, peer: str, *, is_up: bool) -> None:
        if is_up:
            self._connected.setdefault(peer, "")
        else:
            for key in [key for key in self._idle if key[0] == peer]:
                del self._idle[key]
            close_sockets(self._sockets.pop(peer, []))
            if self._connected.pop(peer, None) is None:
                return
        for tell in self.on_peer:
            tell(peer, is_up)

    # -- the pump ------------------------------------------------------------------------------------------------

    async def _pumped(self, call: Callable[[], Awaitable[T]]) -> T:
        """Run a call of libp2p where the caller cannot cancel it; 3: it goes on if the caller does not wait."""
        send, receive = trio.open_memory_channel[outcome.Outcome[T]](1)

        async def run() -> None:
            send.send_nowait(await outcome.acapture(call))

        self._nursery.start_soon(run)
        return (await receive.receive()).unwrap()

    async def _attempt(self, call: Callable[[], Awaitable[object]]) -> None:
        try:
            await call()
        except Exception as error:  # it is what is left of something that went wrong already
            log.debug("%r", error)

    async def _watch(self) -> None:
        """Reset streams whose I/O is stuck: a peer that does not read, or sends a frame byte by byte."""
        while True:
            await trio.sleep(STUCK_S / 6)
            now_s = trio.current_time()
            for stream, (peer, since_s) in list(self._busy.items()):
                if now_s - since_s > STUCK_S:
                    self._busy.pop(stream)
                    log.warning("%s is stuck, its connection is closed", peer)
                    self._part(peer)

    # -- requests ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def request(
        self, peer: str, protocol: str, body: bytes, *, max_bytes: int
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Ask a connected peer."""
        if peer not in self._connected:
            raise TransportError(peer, "not connected")
        if len(body) > MAX_FRAME:
            raise TransportError(peer, f"a request of {len(body)} bytes; {MAX_FRAME} are allowed")
        send, receive = trio.open_memory_channel[bytes | None | TransportError](AHEAD)
        asking = _Asking(peer, protocol, body, max_bytes)
        self._nursery.start_soon(self._ask, asking, send)
        try:
            async with aclosing(_frames(receive)) as frames:
                yield frames
        finally:
            receive.close()
            if not asking.is_done:
                asking.is_given_up = True
                if asking.stream is not None:
                    self._nursery.start_soon(reset, asking.stream)

    async def _ask(self, asking: _Asking, send: trio.MemorySendChannel[bytes | TransportError | None]) -> None:
        peer = asking.peer
        with send:
            try:
                await self._answered(asking, send)
            except trio.BrokenResourceError:
                asking.is_given_up = True  # nobody waits any more
            except Exception as error:  # 11: one error of ours for all of its
                asking.is_done = True
                told = error if isinstance(error, TransportError) else TransportError(peer, _reason(error))
                try:
                    await send.send(told)
                except trio.BrokenResourceError:
                    return
            finally:
                if asking.stream is not None:
                    self._busy.pop(asking.stream, None)
            if asking.is_given_up and asking.stream is not None:
                await reset(asking.stream)

    async def _answered(self, asking: _Asking, send: trio.MemorySendChannel[bytes | TransportError | None]) -> None:
        peer, protocol = asking.peer, asking.protocol
        idle = self._idle.setdefault((peer, protocol), [])
        if idle:
            stream, reader = idle.pop()
        else:
            stream = await self._host.new_stream(peer_id(peer), [TProtocol(protocol)])
            reader = Reader(stream, peer)
        asking.stream = stream
        taken = 0
        try:
            self._busy[stream] = peer, trio.current_time()
            for piece in pieces(framed(DATA, asking.body)):
                await stream.write(piece)
            while True:
                self._busy.pop(stream, None)  # how long a peer may think is the asker's to say
                frame = await reader.frame()
                if frame is None:
                    raise TransportError(peer, "broke off inside an answer")
                kind, content = frame
                if kind == END:
                    break
                taken += len(content)
                if taken > asking.max_bytes:
                    raise TransportError(peer, f"answered more than the {asking.max_bytes} bytes that were asked for")
                await send.send(content)
        except Exception:
            asking.is_given_up = True
            raise
        asking.is_done = True
        if peer in self._connected and len(idle) < IDLE_STREAMS:
            idle.append((stream, reader))
        else:
            await stream.close()
        await send.send(None)

    def _set_handler(self, protocol: str) -> None:
        if not hasattr(self, "_host"):
            return
        serve = self._serving[protocol]

        async def answer(stream: INetStream) -> None:
            peer = str(stream.muxed_conn.peer_id)
            reader = Reader(stream, peer)
            try:
                while (frame := await reader.frame()) is not None:
                    async with aclosing(serve(peer, frame[1])) as contents:
                        async for content in contents:
                            await self._write(stream, peer, framed(DATA, content))
                    await self._write(stream, peer, framed(END))
                await stream.close()
            except DebrosError as error:
                log.debug("a request of %s was not answered: %s", peer, error)
                await reset(stream)

        self._host.set_stream_handler(TProtocol(protocol), answer)

    async def _write(self, stream: INetStream, peer: str, data: bytes) -> None:
        self._busy[stream] = peer, trio.current_time()
        try:
            for piece in pieces(data):
                await stream.write(piece)
        finally:
            self._busy.pop(stream, None)

    # -- messages ------------------------------------------------------------------------------------------------

    async def publish(self, topic: str, data: bytes) -> None:
        """Tell everybody who is subscribed."""
        if len(data) > MAX_MESSAGE:
            raise TransportError("", f"a message of {len(data)} bytes; {MAX_MESSAGE} are allowed")
        await trio.lowlevel.checkpoint()
        self._gossip.publish(topic, data)

    def subscribe(self, topic: str) -> Mailbox:
        """Listen to a topic."""
        return self._gossip.subscribe(topic)


class _Asking:
    """One request on its way."""

    def __init__(self, peer: str, protocol: str, body: bytes, max_bytes: int) -> None:
        self.peer, self.protocol, self.body, self.max_bytes = peer, protocol, body, max_bytes
        self.stream: Any = None
        self.is_done = False  # the stream is whole, or gone
        self.is_given_up = False


async def _frames(receive: trio.MemoryReceiveChannel[bytes | TransportError | None]) -> AsyncGenerator[bytes, None]:
    while True:
        try:
            found = await receive.receive()
        except trio.EndOfChannel:
            raise TransportError("", "the transport is closed") from None
        if found is None:
            return
        if isinstance(found, TransportError):
            raise found
        yield found


def _reason(error: BaseException) -> str:
    """Say in one line why, whatever group of whatever errors it is."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    while error.__cause__ is not None and not str(error):
        error = error.__cause__
    return (str(error) or type(error).__name__).splitlines()[0][:200]
