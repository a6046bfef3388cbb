"""Every row of the PubSub table of the feature list, by its name; the tests beside say more about each."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import trio
import trio.testing

import debros
from debros import Field, Model, One, StorageError, belongs_to, field, model, publish
from debros.events import exchange, message
from debros.events.happenings import Kind
from debros.events.topics import NOTICES
from debros.net.memory import MemoryNetwork
from tests.support.events import all_events, told
from tests.support.nodes import a_node
from tests.support.peers import in_virtual_time, peer


@model(name="TableNote", pubsub=publish("create", "update", "delete", "restore"))
class Note(Model):
    title: Field[str]


@model(name="TableOwner")
class Owner(Model):
    name: Field[str]


@model(name="TablePet")
class Pet(Model):
    name: Field[str]
    owner_id: Field[str | None] = field(default=None)
    owner: One[Owner | None] = belongs_to("owner_id")


@in_virtual_time
async def test_row_automatic_events() -> None:
    """Model created, updated, deleted, saved (model, id, user, changes, time); replicated, synced, conflict, error."""
    assert {"create", "update", "delete", "restore", "conflict"} == set(get_args(Kind))
    assert {
        "synced",
        "peer_joined",
        "log_opened",
        "fork_detected",
        "skipped",
        "lag",
        "migration",
        "migration_progress",
    } <= set(NOTICES)
    async with a_node(Note) as node, node.events.subscribe("model.*") as automatic:
        note = await Note.create(title="a")
        await note.update(title="b")
        await note.delete()
        await note.restore()
        found = await told(automatic)
        assert [one.topic.rpartition(".")[2] for one in found] == ["create", "update", "delete", "restore"]
        assert found[1].data.keys() == {"model", "id", "user", "changes", "at", "cid"}
        assert [event.kind for event in await all_events(node, Note)] == ["create", "update", "delete", "restore"]


async def test_a_disk_that_fails_ends_what_models_announce_and_not_the_node(caplog: pytest.LogCaptureFixture) -> None:
    async with a_node(Note) as node:
        await trio.testing.wait_all_tasks_blocked()
        note = await Note.create(title="a")
        node.store.broken = "the disk is gone"
        await trio.testing.wait_all_tasks_blocked()
        assert (await Note.get(note.id)).title == "a"
        with pytest.raises(StorageError, match="gone"):
            await note.update(title="b")
    assert [record.getMessage() for record in caplog.records if record.name == "debros.events"] == [
        "TableNote is not announced any more: the disk is gone"
    ]


@in_virtual_time
async def test_row_automatic_events_of_relations() -> None:
    """Relation attached, detached: the field that relates changed, from nothing or to nothing."""
    async with a_node(Owner, Pet) as node, node.events.subscribe(Pet, on="update", fields=["owner_id"]) as related:
        owner = await Owner.create(name="ana")
        pet = await Pet.create(name="rex")
        await pet.update(name="max")
        await pet.update(owner_id=owner.id)
        await pet.update(owner_id=None)
        attached, detached = await told(related)
        assert attached.changes == {"owner_id": (None, owner.id)}
        assert detached.changes == {"owner_id": (owner.id, None)}


@in_virtual_time
async def test_row_automatic_events_of_databases() -> None:
    """Replicated, synced, error."""
    network = MemoryNetwork()
    async with peer(network, "a", models=[Note]) as a:
        with a.current():
            await Note.create(title="from a")
        async with (
            peer(network, "b", models=[Note], peers=["a"]) as b,
            b.events.subscribe("node.synced") as synced,
            b.events.subscribe(Note, since="start") as replicated,
            b.events.subscribe("dead") as errors,
        ):

            def refuse(event: Any) -> None:
                raise ValueError(event.kind)

            b.events.on(Note, refuse, since="start", retries=0, dead_letter="dead")
            event = await anext(replicated)
            assert (event.kind, event.origin, event.row.title) == ("create", "remote", "from a")
            assert (await anext(synced)).topic == "node.synced"
            assert "ValueError" in str((await anext(errors)).data)


@in_virtual_time
async def test_row_publish() -> None:
    """Topic, data, `{priority, compress, encrypt, metadata}`; high priority is not buffered."""
    network = MemoryNetwork()
    async with peer(network, "a") as a, peer(network, "b", peers=["a"]) as b, b.events.subscribe("t") as inbox:
        await trio.sleep(1)
        await a.events.publish("t", 1, priority="high", compress=False, to=b.identity.did, metadata={"k": "v"})
        assert not a.events._exchange._outbox
        found = await anext(inbox)
        assert (found.data, found.is_sealed, found.metadata) == (1, True, {"k": "v"})


@in_virtual_time
async def test_row_subscribe() -> None:
    """Handler, `{filter, autoAck, maxRetries, deadLetterTopic}`; wildcards such as `model.*`; own messages skipped."""
    async with a_node(Note) as node, node.events.subscribe("dead") as dead, node.events.subscribe("chat.*") as not_own:
        heard: list[str] = []

        def handle(event: Any) -> None:
            heard.append(event.row.title)
            raise ValueError

        handler = node.events.on(Note, handle, where=Note.title == "a", retries=1, delay_s=1, dead_letter="dead")
        await Note.create(title="a")
        await Note.create(title="b")
        assert (await anext(dead)).data["of"] == "TableNote"
        await trio.sleep(1)
        assert heard == ["a", "a"]
        assert handler.cursor is not None  # acknowledged: where to go on
        await node.events.publish("chat.x", 1)
        assert await told(not_own) == []


@in_virtual_time
async def test_row_delivery() -> None:
    """Retry with growing delay (3, 1 s), then dead letter."""
    async with a_node(Note) as node, node.events.subscribe("dead") as dead:
        times: list[float] = []

        def handle(event: Any) -> None:
            times.append(trio.current_time())
            raise ValueError

        node.events.on(Note, handle, dead_letter="dead")  # the defaults
        await Note.create(title="a")
        await anext(dead)
        assert [round(at - times[0]) for at in times] == [0, 1, 3, 7]


@in_virtual_time
async def test_row_buffer() -> None:
    """100 events or 5 s."""
    network = MemoryNetwork()
    async with peer(network, "a") as a, peer(network, "b", peers=["a"]) as b, b.events.subscribe("t") as inbox:
        await trio.sleep(1)
        for n in range(exchange.BATCH - 1):
            await a.events.publish("t", n, priority="low")
        await trio.sleep(1)
        assert await told(inbox) == []
        await a.events.publish("t", 99, priority="low")
        await trio.sleep(1)
        assert [one.data for one in await told(inbox)] == list(range(100))
        await a.events.publish("t", "alone", priority="low")
        await trio.sleep(exchange.WAIT_S["low"] - 1)
        assert await told(inbox) == []
        await trio.sleep(2)
        assert [one.data for one in await told(inbox)] == ["alone"]
        assert (exchange.BATCH, exchange.WAIT_S["low"]) == (100, 5)


async def test_row_wire() -> None:
    """Compression from 1 KiB, encryption with a key pair, topic prefix `debros-<environment>`."""
    assert message.ZIP_FROM == 1024
    async with a_node(app="shop") as node:
        assert node.events._exchange._name.startswith("debros-shop/")


@in_virtual_time
async def test_row_methods() -> None:
    """Unsubscribe one or all, active topics, subscribers of a topic, has subscriptions, shut down with flush; on, off, emit."""
    async with a_node() as node:
        heard: list[Any] = []
        one = node.events.on("t", lambda got: heard.append(got.data))
        node.events.on("t.*", lambda got: heard.append(got.data))
        assert node.events.topics() == ["t", "t.*"]
        assert node.events.subscribers("t") == 1, "it has subscriptions"
        node.events.emit("t", 1)
        await trio.sleep(1)
        node.events.off(one)
        await trio.sleep(1)
        assert node.events.topics() == ["t.*"]
        node.events.off()
        await trio.sleep(1)
        assert node.events.topics() == []
        await node.events.flush()
        assert heard == [1]
    with pytest.raises(debros.ClosedError):
        node.events.emit("t", 2)


@in_virtual_time
async def test_row_stats() -> None:
    """Published, received, subscriptions, errors, average latency, per topic."""
    network = MemoryNetwork()
    async with peer(network, "a") as a, peer(network, "b", peers=["a"]) as b, b.events.subscribe("t") as inbox:
        await trio.sleep(1)
        await a.events.publish("t", 1, priority="high")
        await trio.sleep(2)
        await anext(inbox)
        assert a.events.stats()["t"].published == 1
        assert b.events.stats()["t"].received == 1
        b.events._exchange.take(b"bad")
        assert b.events.stats()["unreadable"].errors == 1
        assert inbox.stats.delivered == 1
        assert inbox.stats.latency_s > 1
        assert len(b.events.topics()) == 1
