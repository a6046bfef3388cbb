"""Application topics between nodes: signed, batched, compressed, sealed; bounded for whoever is slow."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
import trio

import debros
from debros.blocks import dagcbor
from debros.events import message as messages
from debros.events.exchange import BATCH
from debros.identity.did import did_of
from debros.identity.signing import SigningKey
from debros.net.memory import MemoryNetwork
from tests.support.events import told
from tests.support.nodes import a_node
from tests.support.peers import in_virtual_time, peer


def topics_of(found: list[Any]) -> list[str]:
    return [message.topic for message in found]


@in_virtual_time
async def test_a_message_reaches_subscribers_of_other_nodes_signed_by_its_sender() -> None:
    network = MemoryNetwork()
    async with peer(network, "a") as a, peer(network, "b", peers=["a"]) as b:
        await trio.sleep(1)
        async with b.events.subscribe("chat.*") as inbox, a.events.subscribe("chat.*") as own:
            await a.events.publish("chat.room1.typing", {"who": "ana", "n": [1, 2.5, None, b"x"]}, metadata={"k": 1})
            message = await anext(inbox)
            assert (message.topic, message.sender) == ("chat.room1.typing", a.identity.did)
            assert message.data == {"who": "ana", "n": [1, 2.5, None, b"x"]}
            assert message.metadata == {"k": 1}
            assert await told(own) == []  # own messages are skipped
            assert inbox.stats.delivered == 1


@in_virtual_time
async def test_patterns_choose_topics_and_functions_choose_messages() -> None:
    async with a_node() as node:
        async with (
            node.events.subscribe("a.*.c", own=True) as middle, node.events.subscribe("a.*", own=True) as below,
            node.events.subscribe("*", own=True, where=lambda m: m.data > 1) as every, node.events.subscribe("a.b", own=True) as one,
        ):  # fmt: skip
            for n, topic in enumerate(["a.b", "a.b.c", "a.x.c", "a.b.c.d", "b"]):
                await node.events.publish(topic, n)
            assert topics_of(await told(middle)) == ["a.b.c", "a.x.c"]
            assert topics_of(await told(below)) == ["a.b", "a.b.c", "a.x.c", "a.b.c.d"]
            assert topics_of(await told(every)) == ["a.x.c", "a.b.c.d", "b"]
            assert topics_of(await told(one)) == ["a.b"]
            assert node.events.topics() == ["*", "a.*", "a.*.c", "a.b"]
            assert node.events.subscribers("a.b") == 3
        assert node.events.topics() == []


@in_virtual_time
async def test_high_priority_goes_at_once_and_others_wait_for_company() -> None:
    network = MemoryNetwork()
    async with peer(network, "a") as a, peer(network, "b", peers=["a"]) as b:
        await trio.sleep(1)
        async with b.events.subscribe("t.*") as inbox:
            began = trio.current_time()
            await a.events.publish("t.low", 1, priority="low")
            await a.events.publish("t.high", 2, priority="high")
            assert (await anext(inbox)).topic == "t.high"
            assert trio.current_time() - began < 1
            assert (await anext(inbox)).topic == "t.low"
            assert 5 <= trio.current_time() - began < 6
            began = trio.current_time()
            for n in range(BATCH):  # a full batch waits no longer
                await a.events.publish("t.low", n, priority="low")
            assert [(await anext(inbox)).data for _ in range(BATCH)] == list(range(BATCH))
            assert trio.current_time() - began < 1
            await a.events.publish("t.normal", 3)
            assert (await anext(inbox)).topic == "t.normal"


@in_virtual_time
async def test_what_waits_is_sent_when_the_node_closes() -> None:
    network = MemoryNetwork()
    async with peer(network, "b") as b, b.events.subscribe("t") as inbox:
        async with peer(network, "a", peers=["b"]) as a:
            await trio.sleep(1)
            await a.events.publish("t", "last words", priority="low")
        assert (await anext(inbox)).data == "last words"


@in_virtual_time
async def test_sealed_messages_are_read_by_their_recipients_alone() -> None:
    network = MemoryNetwork()
    async with peer(network, "a") as a, peer(network, "b", peers=["a"]) as b, peer(network, "c", peers=["a", "b"]) as c:
        await trio.sleep(1)
        async with b.events.subscribe("t") as theirs, c.events.subscribe("t") as others:
            await a.events.publish("t", {"secret": "x" * 3000}, to=b.identity.did, priority="high")
            message = await anext(theirs)
            assert message.data == {"secret": "x" * 3000}
            assert message.is_sealed
            await trio.sleep(1)
            assert await told(others) == []
            assert c.events.stats()["t"].received == 1


@in_virtual_time
async def test_history_gives_the_last_messages_first() -> None:
    async with a_node() as node:
        for n in range(5):
            await node.events.publish("t", n)
        assert [message.data for message in node.events.history("t", 2)] == [3, 4]
        async with node.events.subscribe("t", history=3) as inbox:
            node.events.emit("t", "now")
            assert [message.data for message in await told(inbox)] == [2, 3, 4, "now"]
        for n in range(200):
            node.events.emit("t", n)
        assert len(node.events.history("t", 1000)) == 100


@in_virtual_time
async def test_a_slow_subscriber_loses_messages_as_it_chose_and_nobody_waits_for_it() -> None:
    async with (
        a_node() as node, node.events.subscribe("t") as oldest, node.events.subscribe("t", overflow="latest") as latest,
        node.events.subscribe("t", overflow="error") as error,
    ):  # fmt: skip
        for n in range(300):
            node.events.emit("t", n)
        assert [message.data for message in await told(oldest)] == list(range(44, 300))
        assert oldest.stats.dropped == 44
        assert [message.data for message in await told(latest)] == [299]
        assert [(await anext(error)).data for _ in range(256)] == list(range(256))
        with pytest.raises(debros.LaggedError, match="44"):
            await anext(error)
        node.events.emit("t", "on")
        assert (await anext(error)).data == "on"


@in_virtual_time
async def test_bad_messages_are_counted_and_stop_nothing() -> None:
    network = MemoryNetwork()
    async with peer(network, "a") as a, peer(network, "b", peers=["a"]) as b:
        await trio.sleep(1)
        async with b.events.subscribe("*") as inbox:
            good = signed(a, "t", "good")
            body, signature = dagcbor.decode(good)  # type: ignore[misc]  # a list of two
            forged = dagcbor.encode([body[:-1] + b"\0", signature])
            bad: list[Any] = [
                forged,
                good[:-1],
                b"",
                3,
                dagcbor.encode([body]),
                signed(a, "node.synced", 1),
                signed(a, "t", 1, at_us=0),
            ]
            for raw in bad:
                b.events._exchange.take(raw)
            b.events._exchange.take(good)
            b.events._exchange.take(good)  # heard twice, told once
            assert [message.data for message in await told(inbox)] == ["good"]
            stats = b.events.stats()
            assert sum(one.errors for one in stats.values()) == len(bad)
            transport = a.met.transport
            assert transport is not None
            for frame in (b"\xff", dagcbor.encode([b"x"] * 101), dagcbor.encode({})):
                await transport.publish(a.events._exchange._name, frame)
            await a.events.publish("t", "after", priority="high")
            assert (await anext(inbox)).data == "after"


async def test_a_device_speaks_only_for_the_user_who_certified_it() -> None:
    attacker = SigningKey(bytes(32))
    async with a_node() as node:
        body, _ = dagcbor.decode(signed(node, "t", "good"))  # type: ignore[misc]  # a list of two
        parts: Any = dagcbor.decode(body)
        assert parts[4] is not None  # the certificate of the home's device
        for key, certificate in ((attacker.public, parts[4]), (attacker.public, {**parts[4], "to": attacker.public})):
            forged = dagcbor.encode([*parts[:3], key, certificate, *parts[5:]])
            raw = dagcbor.encode([forged, attacker.sign(b"debros/message/1\0" + forged)])
            with pytest.raises(ValueError, match="device"):
                messages.read(raw)
        alone = dagcbor.encode([*parts[:3], attacker.public, None, *parts[5:]])
        said = messages.read(dagcbor.encode([alone, attacker.sign(b"debros/message/1\0" + alone)]))
        assert said.sender == did_of(attacker.public) != node.identity.did


def signed(node: debros.Debros, topic: str, data: Any, at_us: int | None = None) -> bytes:
    return messages.write(
        node.device(), topic, data, {}, to=(), compress=True, at_us=node.env.now_us() if at_us is None else at_us,
        random_bytes=node.env.random_bytes,
    )  # fmt: skip


async def test_large_data_is_compressed_and_what_claims_too_much_is_not_believed() -> None:
    async with a_node() as node:
        text = "".join(chr(97 + n * 7 % 26) * 20 for n in range(200))
        assert len(signed(node, "t", text)) < 1200
        plain = messages.write(
            node.device(), "t", text, {}, to=(), compress=False, at_us=1, random_bytes=node.env.random_bytes
        )
        assert len(plain) > 4000
        assert messages.read(plain).opened(()) is not None
        for claim in (
            zlib.compress(bytes(65 << 10)),
            zlib.compress(bytes(60_000)),
            b"junk",
            zlib.compress(b"x") + b"more",
        ):
            envelope = messages.Envelope("t", bytes(16), 0, "", True, (), claim)
            with pytest.raises(ValueError, match="compressed"):
                envelope.opened(())


async def test_wrong_topics_and_data_are_refused_where_they_are_written() -> None:
    async with a_node() as node:
        for topic in (
            "",
            ".",
            "a..b",
            "a b",
            "a.*",
            "é",
            "x" * 256,
            3,
            "node.synced",
            "model.Post.create",
            "presence.x",
        ):
            with pytest.raises(debros.TopicError):
                await node.events.publish(topic, 1)  # type: ignore[arg-type]  # that is the point
        for pattern in ("", "a*", "node.peer_jioned", "a..b", "**"):
            with pytest.raises(debros.TopicError):
                async with node.events.subscribe(pattern):
                    pass
        with pytest.raises(debros.TopicError, match="peer_joined"):
            async with node.events.subscribe("node.peer_jioned"):
                pass
        with pytest.raises(debros.TooLargeError, match="65536"):
            await node.events.publish("t", "x" * (64 << 10))
        with pytest.raises(debros.TooLargeError, match="64"):
            await node.events.publish("t", 1, to=[node.identity.did] * 65)
        for wrong in ({"data": object()}, {"data": 1, "to": "ana"}, {"data": 1, "priority": "urgent"}):
            with pytest.raises(debros.TopicError):
                await node.events.publish("t", wrong.pop("data"), **wrong)  # type: ignore[arg-type]  # that is the point
        with pytest.raises(debros.TopicError, match="drop_oldest"):
            async with node.events.subscribe("t", overflow="block"):  # type: ignore[call-overload]  # that is the point
                pass
        with pytest.raises(debros.TopicError, match="pattern"):
            node.events.history("a.*")
