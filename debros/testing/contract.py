"""What every transport keeps: a suite that authors of transports import and run against theirs.

    from debros.testing.contract import TransportContract

    class TestMine(TransportContract):
        def pair(self):                      # an async context manager: two open transports, the second knows the first
            return my_pair()

Its tests are `async def`; they are run by trio (`pytest-trio`, or a hook like that of this project's `tests/conftest.py`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import trio

from debros.errors import DebrosError, TransportError
from debros.net.transport import MAX_FRAME, MAX_MESSAGE, Transport

ECHO: Final = "/debros/contract/1"
PATIENCE_S: Final = 30.0  # for anything that must happen


class RefusalError(DebrosError):
    """What a handler of the suite raises."""


async def echo(peer: str, body: bytes) -> AsyncGenerator[bytes, None]:
    """Answer as the request says: frames of the same bytes, an error, or never."""
    await trio.lowlevel.checkpoint()
    match body[:1]:
        case b"n":
            for n in range(int.from_bytes(body[1:3], "big")):
                yield n.to_bytes(2, "big") + body[3:]
        case b"e":
            yield b"first"
            raise RefusalError
        case b"s":
            await trio.sleep_forever()
        case _:
            yield body


async def answer(transport: Transport, peer: str, body: bytes, max_bytes: int = MAX_FRAME) -> list[bytes]:
    """Return all frames of an answer."""
    async with transport.request(peer, ECHO, body, max_bytes=max_bytes) as frames:
        return [frame async for frame in frames]


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; transports tell of it in ways of their own."""
    while not holds():  # noqa: ASYNC110 - there is no event for it in the port
        await trio.sleep(0.01)


async def raises(transport: Transport, peer: str, body: bytes, *, protocol: str = ECHO, max_bytes: int = 1000) -> str:
    """Return why a request fails; an `AssertionError` if it does not, or fails in another way."""
    try:
        async with transport.request(peer, protocol, body, max_bytes=max_bytes) as frames:
            found = [frame async for frame in frames]
    except TransportError as error:
        return error.reason
    raise AssertionError(f"answered {found!r}")


class TransportContract:
    """The suite; subclass it, and say what `pair` is."""

    def pair(self) -> AbstractAsyncContextManager[tuple[Transport, Transport]]:
        """Open two transports, neither connected. The first listens."""
        raise NotImplementedError

    async def test_a_dialled_peer_is_connected_on_both_sides_and_both_are_told(self) -> None:
        """Connections are known to both ends."""
        async with self.pair() as (left, right):
            told: list[tuple[str, str, bool]] = []
            left.on_peer.append(lambda peer, is_up: told.append(("left", peer, is_up)))
            right.on_peer.append(lambda peer, is_up: told.append(("right", peer, is_up)))
            with trio.fail_after(PATIENCE_S):
                assert await right.connect(left.addresses[0]) == left.peer_id
                await until(lambda: right.peer_id in left.connected)
                assert list(right.connected) == [left.peer_id]
                assert await right.connect(left.addresses[0]) == left.peer_id
                await right.disconnect(left.peer_id)
                await until(lambda: not left.connected and not right.connected)
            for side, peer in (("left", right.peer_id), ("right", left.peer_id)):
                heard = [is_up for where, who, is_up in told if (where, who) == (side, peer)]
                assert heard[0] is True
                assert heard[-1] is False

    async def test_an_answer_comes_whole_and_in_order(self) -> None:
        """Many frames, of every size up to the limit."""
        async with self._met() as (left, right):
            frames = await answer(right, left.peer_id, b"n" + (300).to_bytes(2, "big") + b"x" * 3000, 2 << 20)
            assert [int.from_bytes(frame[:2], "big") for frame in frames] == list(range(300))
            large = bytes(MAX_FRAME - 1)
            assert await answer(right, left.peer_id, b"x" + large, MAX_FRAME) == [b"x" + large]
            assert await answer(right, left.peer_id, b"") == [b""]

    async def test_both_sides_may_ask(self) -> None:
        """Who dialled makes no difference."""
        async with self._met() as (left, right):
            assert await answer(left, right.peer_id, b"hello") == [b"hello"]
            assert await answer(right, left.peer_id, b"hello") == [b"hello"]

    async def test_many_requests_run_at_once(self) -> None:
        """Answers do not mix."""
        async with self._met() as (left, right):
            found: dict[int, list[bytes]] = {}

            async def ask(n: int) -> None:
                found[n] = await answer(right, left.peer_id, b"x" + bytes([n]) * (n + 1))

            with trio.fail_after(PATIENCE_S):
                async with trio.open_nursery() as nursery:
                    for n in range(40):
                        nursery.start_soon(ask, n)
            assert found == {n: [b"x" + bytes([n]) * (n + 1)] for n in range(40)}

    async def test_a_request_that_is_cancelled_harms_no_other(self) -> None:
        """The connection goes on, whatever was under way."""
        async with self._met() as (left, right):
            for n in range(20):
                with trio.move_on_after(0.002 * (n % 5)):
                    await answer(right, left.peer_id, b"s" if n % 2 else b"n\xff\xff" + b"x" * 60, 1 << 24)
                with trio.fail_after(PATIENCE_S):
                    assert await answer(right, left.peer_id, b"hello") == [b"hello"]

    async def test_an_answer_that_is_left_early_harms_no_other(self) -> None:
        """Who has seen enough may go."""
        async with self._met() as (left, right):
            for _ in range(5):
                body = b"n\xff\xff" + b"x" * 60
                async with right.request(left.peer_id, ECHO, body, max_bytes=1 << 24) as frames:
                    async for frame in frames:
                        assert frame[2:] == b"x" * 60
                        break
            with trio.fail_after(PATIENCE_S):
                assert await answer(right, left.peer_id, b"hello") == [b"hello"]

    async def test_a_handler_that_raises_ends_its_answer_and_nothing_else(self) -> None:
        """An answer without its end is no answer."""
        async with self._met() as (left, right):
            with trio.fail_after(PATIENCE_S):
                assert await raises(right, left.peer_id, b"e")
                if left.peer_id not in right.connected:
                    await right.connect(left.addresses[0])
                assert await answer(right, left.peer_id, b"hello") == [b"hello"]

    async def test_too_much_of_an_answer_is_an_error(self) -> None:
        """The asker's limit holds."""
        async with self._met() as (left, right):
            with trio.fail_after(PATIENCE_S):
                reason = await raises(right, left.peer_id, b"n\x00\xff" + b"x" * 100, max_bytes=1000)
            assert "1000 bytes" in reason

    async def test_a_protocol_nobody_handles_is_an_error(self) -> None:
        """Old and new nodes tell each other so."""
        async with self._met() as (left, right):
            with trio.fail_after(PATIENCE_S):
                assert await raises(right, left.peer_id, b"", protocol="/debros/contract/2")

    async def test_a_peer_that_is_not_connected_cannot_be_asked(self) -> None:
        """Nothing dials by itself."""
        async with self.pair() as (left, right):
            assert "not connected" in await raises(right, left.peer_id, b"")

    async def test_wrong_addresses_are_errors(self) -> None:
        """And harm nothing."""
        async with self.pair() as (left, right):
            for address in ("", "nonsense", "/ip4/300.1.1.1/tcp/1"):
                try:
                    await right.connect(address)
                except TransportError:
                    continue
                raise AssertionError(f"connected to {address!r}")
            assert await right.connect(left.addresses[0]) == left.peer_id

    async def test_a_message_reaches_who_is_subscribed_and_not_who_sent_it(self) -> None:
        """Publishing is a hint, so it is given again until it arrives."""
        async with self._met() as (left, right):
            box, own = left.subscribe("topic"), right.subscribe("topic")
            with trio.fail_after(PATIENCE_S):
                async with trio.open_nursery() as nursery:

                    async def publish() -> None:
                        while True:
                            await right.publish("other", b"never")
                            await right.publish("topic", b"hello")
                            await trio.sleep(0.1)

                    nursery.start_soon(publish)
                    async for message in box:
                        assert (message.topic, message.peer, message.data) == ("topic", right.peer_id, b"hello")
                        break
                    nursery.cancel_scope.cancel()
            await box.aclose()
            await own.aclose()
            assert [message async for message in own] == []
            try:
                await right.publish("topic", bytes(MAX_MESSAGE + 1))
            except TransportError:
                return
            raise AssertionError("a message over the limit was published")

    def _met(self) -> AbstractAsyncContextManager[tuple[Transport, Transport]]:
        return _Met(self.pair())


class _Met:
    """Two transports, connected, that answer `echo`."""

    def __init__(self, pair: AbstractAsyncContextManager[tuple[Transport, Transport]]) -> None:
        self._pair = pair

    async def __aenter__(self) -> tuple[Transport, Transport]:
        left, right = await self._pair.__aenter__()
        left.handle(ECHO, echo)
        right.handle(ECHO, echo)
        with trio.fail_after(PATIENCE_S):
            await right.connect(left.addresses[0])
            await until(lambda: right.peer_id in left.connected)
        return left, right

    async def __aexit__(self, *exc: object) -> None:
        await self._pair.__aexit__(None, None, None)
