"""Handlers, announcements of models, notices and presence."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.lowlevel

import debros
from debros import Field, Model, field, model, publish
from debros.net.memory import MemoryNetwork
from tests.support.events import told
from tests.support.nodes import a_node
from tests.support.peers import in_virtual_time, peer


@model(name="HandledNote", pubsub=publish("create", "update"))
class Note(Model):
    title: Field[str]
    secret: Field[str] = field(default="", expose=False)


@in_virtual_time
async def test_a_handler_is_called_again_with_growing_delay_and_then_gives_up_into_a_topic() -> None:
    async with a_node(Note) as node, node.events.subscribe("letters.dead") as dead:
        calls: list[tuple[str, float]] = []

        async def handle(event: Any) -> None:
            calls.append((event.row.title, trio.current_time()))
            if event.row.title == "bad":
                raise ValueError("no")

        handler = node.events.on(Note, handle, retries=2, delay_s=1, dead_letter="letters.dead")
        bad = await Note.create(title="bad")
        await Note.create(title="good")
        letter = await anext(dead)
        assert letter.data["of"] == "HandledNote"
        assert letter.data["error"] == "ValueError: no"
        assert letter.data["data"]["id"] == bad.id
        await trio.sleep(1)
        times = [at for title, at in calls if title == "bad"]
        assert [round(b - a) for a, b in pairwise(times)] == [1, 2]
        assert [title for title, _ in calls] == ["bad"] * 3 + ["good"]
        assert handler.stats.errors == 3
        assert handler.cursor is not None  # where to go on, after a restart
        handler.off()
        await trio.lowlevel.checkpoint()
        await Note.create(title="unheard")
        await trio.sleep(1)
        assert len(calls) == 4


@in_virtual_time
async def test_handlers_of_topics_are_ended_one_by_one_or_all_at_once() -> None:
    async with a_node() as node:
        heard: list[Any] = []
        first = node.events.on("t", lambda message: heard.append(("first", message.data)))
        node.events.on("t", lambda message: heard.append(("second", message.data)))
        node.events.emit("t", 1)
        await trio.sleep(1)
        node.events.off(first)
        await trio.sleep(1)
        node.events.emit("t", 2)
        await trio.sleep(1)
        node.events.off()
        await trio.sleep(1)
        node.events.emit("t", 3)
        await trio.sleep(1)
        assert sorted(heard) == [("first", 1), ("second", 1), ("second", 2)]
        assert node.events.subscribers("t") == 0
        with pytest.raises(debros.TopicError):
            node.events.on("t", heard.append, retries=-1)


@in_virtual_time
async def test_a_model_announces_what_it_declares_to_peers_and_here() -> None:
    network = MemoryNetwork()
    async with peer(network, "a", models=[Note]) as a, peer(network, "b", peers=["a"], models=[Note]) as b:
        await trio.sleep(1)
        async with b.events.subscribe("model.*") as there, a.events.subscribe("model.HandledNote.*") as here:
            with a.current():
                note = await Note.create(title="a", secret="s")
                await note.update(title="b")
                await note.delete()
            await trio.sleep(5)
            for inbox in (here, there):
                found = await told(inbox)
                assert [message.topic for message in found] == ["model.HandledNote.create", "model.HandledNote.update"]
                assert found[1].data["changes"] == {"title": "b"}
                assert found[0].data["changes"] == {"title": "a"}  # what is not exposed stays here
                assert found[0].data["id"] == note.id
                assert found[0].data["user"] == a.identity.did


def test_operations_to_announce_are_checked_where_they_are_declared() -> None:
    for wrong in (lambda: publish(), lambda: publish("creat"), lambda: model(pubsub=["create"])):  # type: ignore[arg-type]
        with pytest.raises(debros.ModelError):
            declare(wrong())


def declare(decorate: Any) -> None:
    class Wrong(Model):
        title: Field[str]

    decorate(Wrong)


@in_virtual_time
async def test_the_node_tells_of_peers_logs_and_syncs_to_its_own_program() -> None:
    network = MemoryNetwork()
    async with peer(network, "a", models=[Note]) as a, a.events.subscribe("node.*") as notices:
        with a.current():
            await Note.create(title="a")
        async with peer(network, "b", peers=["a"], models=[Note]):
            await trio.sleep(5)
        await trio.sleep(5)
        kinds = [message.topic for message in await told(notices)]
        assert kinds[0] == "node.log_opened"
        assert {"node.peer_joined", "node.synced", "node.peer_left"} <= set(kinds)


@in_virtual_time
async def test_presence_is_seen_by_others_and_ends_by_word_or_by_silence() -> None:
    network = MemoryNetwork()
    async with peer(network, "a") as a, peer(network, "b", peers=["a"]) as b:
        await trio.sleep(1)
        assert b.events.here("room") == []
        async with a.events.present("room", {"name": "ana"}, ttl_s=30):
            await trio.sleep(1)
            [one] = b.events.here("room")
            assert (one.did, one.data) == (a.identity.did, {"name": "ana"})
            assert [p.did for p in a.events.here("room")] == [a.identity.did]
            await trio.sleep(100)  # said again and again
            assert len(b.events.here("room")) == 1
            async with peer(network, "c", peers=["a", "b"]) as c, c.events.present("room"):
                await trio.sleep(11)
                assert len(c.events.here("room")) == 2  # a newcomer hears of who is here at once
            await trio.sleep(1)
            assert [p.did for p in b.events.here("room")] == [a.identity.did]
            network.partition({"a"}, {"b"})
            await trio.sleep(31)
            assert b.events.here("room") == []
        with pytest.raises(debros.TopicError):
            async with a.events.present("a room"):
                pass


@pytest.mark.parametrize("error", [SystemExit(4), KeyboardInterrupt()], ids=["exit", "interrupt"])
def test_a_handler_that_ends_the_program_ends_it_as_it_says(error: BaseException) -> None:
    async def main() -> None:
        async with a_node(Note) as node:

            def handle(_: object) -> None:
                raise error

            node.events.on(Note, handle)
            await Note.create(title="last")
            await trio.sleep_forever()

    with pytest.raises(type(error)) as raised:
        trio.run(main)
    assert raised.value is error
