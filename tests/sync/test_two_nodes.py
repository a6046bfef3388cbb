"""Two nodes that meet hold the same records, live and after any absence."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import debros
from debros import DeadlineError, Field, Model, field, model
from debros.net.memory import Faults, MemoryNetwork
from debros.sync.budget import MOST_ASKED
from debros.sync.sync import LAG
from tests.support.peers import in_virtual_time, peer


def models() -> tuple[Any, Any]:
    @model(scope="global")
    class Thing(Model):
        title: Field[str]
        count_: Field[int] = field(default=0, merge="counter")

    @model(scope="user")
    class Note(Model):
        text: Field[str]

    return Thing, Note


@in_virtual_time
async def test_what_was_written_before_they_met_is_on_both() -> None:
    network, both = MemoryNetwork(), models()
    thing = both[0]
    async with peer(network, "left", models=both) as left:
        with left.current():
            await thing.create_many([{"title": f"{n}"} for n in range(2500)])
            for n in range(300):
                await thing.create(title=f"one {n}")
        async with peer(network, "right", models=both, peers=["left"]) as right:
            with right.current():
                mine = await thing.create(title="mine")
            await right.synced(timeout_s=60)
            assert await left.fingerprint() == await right.fingerprint()
            with left.current():
                assert (await thing.get(mine.id)).title == "mine"
                assert await thing.count() == 2801


@in_virtual_time
async def test_a_write_is_on_the_other_node_without_anybody_asking() -> None:
    network, both = MemoryNetwork(), models()
    thing = both[0]
    async with peer(network, "left", models=both) as left, peer(network, "right", models=both, peers=["left"]) as right:
        await right.synced(timeout_s=60)
        with left.current():
            made = await thing.create(title="new")
        await trio.sleep(0.1)
        with right.current():
            assert (await thing.get(made.id)).title == "new"


@in_virtual_time
async def test_edits_of_both_sides_of_a_partition_merge_when_it_heals() -> None:
    network, both = MemoryNetwork(), models()
    thing = both[0]
    async with peer(network, "left", models=both) as left, peer(network, "right", models=both, peers=["left"]) as right:
        with left.current():
            made = await thing.create(title="new")
        await right.synced(timeout_s=60)
        network.partition(["left"], ["right"])
        with left.current():
            await thing.increment(made.id, count_=2)
        with right.current():
            await thing.increment(made.id, count_=3)
        with pytest.raises(DeadlineError, match="no peer is connected"):
            await right.synced(timeout_s=30)
        network.heal()
        await right.synced(timeout_s=200)
        await left.synced(timeout_s=60)
        for node in (left, right):
            with node.current():
                assert (await thing.get(made.id)).count_ == 5


@in_virtual_time
async def test_a_receipt_is_signed_by_the_peer_that_holds_the_entry() -> None:
    network, both = MemoryNetwork(), models()
    thing = both[0]
    async with peer(network, "left", models=both) as left, peer(network, "right", models=both, peers=["left"]):
        with left.current():
            made = await thing.create(title="new")
            [receipt] = await made.settled(1, timeout_s=60)
            assert receipt.cid == made.meta.cid
            assert receipt.log == made.meta.address
            with pytest.raises(DeadlineError, match="1 of 2 receipts"):
                await made.settled(2, timeout_s=5)


@in_virtual_time
async def test_a_node_that_is_alone_is_synced_at_once_and_gets_no_receipt() -> None:
    thing, _ = models()
    async with debros.open(":memory:", models=[thing]) as node:
        await node.synced(timeout_s=0.1)
        assert node.peers == []
        assert node.addresses == []
        assert node.sync_status() == []
        made = await thing.create(title="new")
        with pytest.raises(DeadlineError, match="this node has no peers"):
            await made.settled(timeout_s=1)


@in_virtual_time
async def test_a_users_log_goes_to_those_who_follow_the_user() -> None:
    network, both = MemoryNetwork(), models()
    _, note = both
    async with peer(network, "left", models=both) as left, peer(network, "right", models=both, peers=["left"]) as right:
        with left.current():
            await note.create(text="private")
        await right.synced(timeout_s=60)
        assert await right.owners() == []
        await right.follow(left.identity.did)
        await right.synced(timeout_s=60)
        with right.current():
            assert [found.text for found in await note.query().all_users().all()] == ["private"]
        await right.unfollow(left.identity.did)
        with left.current():
            await note.create(text="later")
        await right.synced(timeout_s=60)
        with right.current():
            assert await note.query().all_users().count() == 1


@in_virtual_time
async def test_what_equal_replicas_say_to_each_other_is_less_than_a_kibibyte() -> None:
    network, both = MemoryNetwork(), models()
    thing = both[0]
    async with peer(network, "left", models=both) as left, peer(network, "right", models=both, peers=["left"]) as right:
        with left.current():
            await thing.create_many([{"title": f"{n}"} for n in range(1000)])
        await right.synced(timeout_s=60)
        await left.synced(timeout_s=60)
        before = network.sent_bytes
        await right.synced(timeout_s=60)
        assert network.sent_bytes - before < 1024


@in_virtual_time
async def test_the_status_says_where_every_log_stands() -> None:
    network, both = MemoryNetwork(), models()
    thing = both[0]
    notices: list[str] = []
    async with peer(network, "left", models=both) as left, peer(network, "right", models=both, peers=["left"]) as right:
        right.on_notice.append(lambda kind, data: notices.append(kind))
        with left.current():
            for n in range(5):
                await thing.create(title=f"{n}")
        await right.synced(timeout_s=60)
        [status] = [status for status in right.sync_status() if status.have]
        assert (status.have, status.want, status.pending, status.progress) == (5, 5, 0, 1.0)
        assert status.heads == status.remote_heads
        assert (status.peers, status.synced) == (("left",), True)
        [known] = right.peers
        assert (known.id, known.address, known.connected) == ("left", "/memory/left", True)
    assert notices[0] == "peer_joined"
    assert "synced" in notices


@in_virtual_time
async def test_a_node_that_lags_far_behind_says_so_once_and_says_when_it_has_caught_up() -> None:
    network, both = MemoryNetwork(), models()
    thing = both[0]
    notices: list[tuple[str, dict[str, Any]]] = []
    async with peer(network, "left", models=both) as left:
        with left.current():
            for n in range(LAG):
                await thing.create(title=f"{n}")
        async with peer(network, "right", models=both, peers=["left"]) as right:
            right.on_notice.append(lambda kind, data: notices.append((kind, data)))
            await right.synced(timeout_s=60)
        kinds = [kind for kind, _ in notices]
        assert kinds.count("lag") == 1
        [lag] = [data for kind, data in notices if kind == "lag"]
        assert (lag["peer"], lag["missing"]) == ("left", LAG)
        assert "synced" in kinds[kinds.index("lag") :]


@in_virtual_time
async def test_an_offer_that_was_on_its_way_before_somebody_waits_does_not_count_for_him() -> None:
    network, both = MemoryNetwork(faults=Faults(delay_s=(1.0, 1.0))), models()
    async with peer(network, "left", models=both) as left, peer(network, "right", models=both, peers=["left"]) as right:
        await right.synced(timeout_s=60)
        await left.synced(timeout_s=60)
        await trio.sleep(5)
        for link in left.met.sync.links.values():  # type: ignore[union-attr]
            link.compare_all()
        await trio.sleep(0.5)
        with left.current():
            made = await both[0].create(title="after the offer was sent")
        await right.synced(timeout_s=60)
        with right.current():
            assert (await both[0].get(made.id)).title == made.title


@in_virtual_time
async def test_what_is_written_while_a_peer_answers_is_not_said_to_be_there() -> None:
    network, both = MemoryNetwork(faults=Faults(delay_s=(1.0, 1.0))), models()
    async with peer(network, "left", models=both) as left, peer(network, "right", models=both, peers=["left"]) as right:
        with left.current():
            await both[0].create(title="before")
        await left.synced(timeout_s=60)
        await right.synced(timeout_s=60)
        await trio.sleep(5)
        for link in left.met.sync.links.values():  # type: ignore[union-attr]
            link.compare(left.shared.log_id)
        await trio.sleep(0.5)
        with left.current():
            await both[0].create(title="behind the offer")
        await trio.sleep(1.7)
        [status] = [status for status in left.sync_status() if status.have]
        assert not set(status.remote_heads) & set(status.heads)
        assert not status.synced


@in_virtual_time
async def test_a_log_that_a_peer_takes_up_while_it_is_greeted_counts_for_who_waits_behind_that() -> None:
    network, both = MemoryNetwork(faults=Faults(delay_s=(1.0, 1.0))), models()
    async with peer(network, "left", models=both) as left, peer(network, "right", models=both, peers=["left"]) as right:
        with left.current():
            await both[1].create(text="mine")
        await right.follow(left.identity.did)
        await right.synced(timeout_s=60)
        await right.unfollow(left.identity.did)
        await trio.sleep(60)
        for link in left.met.sync.links.values():  # type: ignore[union-attr]
            link.greet_again()
        await trio.sleep(1.3)  # it is answered, and the answer is on its way
        [link] = right.met.sync.links.values()  # type: ignore[union-attr]
        for _ in range(MOST_ASKED):
            await link.account.asking.acquire()  # this node has much else to ask
        await right.follow(left.identity.did)
        await left.synced(timeout_s=60)
        assert [status.peers for status in left.sync_status() if status.have] == [("right",)]


@in_virtual_time
async def test_a_log_that_a_peer_gives_up_time_and_again_is_not_said_to_be_withheld() -> None:
    network, both = MemoryNetwork(), models()
    async with peer(network, "left", models=both) as left, peer(network, "right", models=both, peers=["left"]) as right:
        with left.current():
            await both[1].create(text="mine")
        await right.follow(left.identity.did)
        await right.synced(timeout_s=60)
        [link] = left.met.sync.links.values()  # type: ignore[union-attr]
        await right.unfollow(left.identity.did)
        link.compare_all()
        await trio.sleep(1)
        for _ in range(MOST_ASKED):
            await link.account.asking.acquire()  # this node has much else to ask: the peer compares first
        await right.follow(left.identity.did)
        await trio.sleep(1)
        for _ in range(MOST_ASKED):
            link.account.asking.release()
        await right.unfollow(left.identity.did)
        await left.synced(timeout_s=60)
        assert [status.withheld_by for status in left.sync_status() if status.have] == [()]
