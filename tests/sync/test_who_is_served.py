"""`serve="members"`: logs go to peers that prove a key which may write there."""

from __future__ import annotations

import pytest
import trio

from debros import ContentMissingError, Field, File, Model, PermissionDeniedError, model
from debros.blocks import dagcbor
from debros.errors import TransportError
from debros.identity.keys import Identity
from debros.net.memory import MemoryNetwork
from debros.node import Debros
from debros.pinning.exchange import PROTOCOL
from debros.sync.membership import mark, prove, proven_user
from tests.support.peers import in_virtual_time, peer
from tests.sync.test_two_nodes import models

ADMIN, MEMBER, STRANGER = (Identity.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
NONCE = bytes(16)


@in_virtual_time
async def test_a_member_is_served_and_a_stranger_is_not() -> None:
    network, both = MemoryNetwork(), models()
    thing = both[0]
    closed = {"models": both, "admins": [ADMIN.did], "anybody": False}
    members = {"serve": "members"}
    async with peer(network, "left", identity=ADMIN, settings=members, **closed) as left:
        with left.current():
            await left.grant(MEMBER.did)
            made = await thing.create(title="for members")
        async with peer(network, "right", identity=MEMBER, peers=["left"], **closed) as right:
            await right.synced(timeout_s=60)
            with right.current():
                assert (await thing.get(made.id)).title == "for members"
        async with peer(network, "other", identity=STRANGER, peers=["left"], **closed) as other:
            await other.synced(timeout_s=60)
            with other.current():
                assert await thing.count() == 0


@in_virtual_time
async def test_what_is_written_while_a_stranger_is_connected_is_not_sent_to_it() -> None:
    network, both = MemoryNetwork(), models()
    thing = both[0]
    closed = {"models": both, "admins": [ADMIN.did], "anybody": False}
    async with peer(network, "left", identity=ADMIN, settings={"serve": "members"}, **closed) as left:
        await left.grant(MEMBER.did)
        async with (
            peer(network, "right", identity=MEMBER, peers=["left"], **closed) as right,
            peer(network, "other", identity=STRANGER, peers=["left"], **closed) as other,
        ):
            await right.synced(timeout_s=60)
            await other.synced(timeout_s=60)
            with left.current():
                await thing.create(title="for members")
            await right.synced(timeout_s=60)
            await trio.sleep(60)
            for node, count in ((right, 1), (other, 0)):
                with node.current():
                    assert await thing.count() == count
            assert other.store.entries.next_e == 1


@in_virtual_time
async def test_content_goes_to_members_only_too() -> None:
    network = MemoryNetwork()

    @model(scope="global", name="Scan")
    class Scan(Model):
        page: Field[File]

    closed = {"models": [Scan], "admins": [ADMIN.did], "anybody": False}
    async with peer(network, "left", identity=ADMIN, settings={"serve": "members"}, **closed) as left:
        with left.current():
            await left.grant(MEMBER.did)
            secret = (await Scan.create(page=await File.add(b"for members" * 1000))).page
        async with (
            peer(network, "right", identity=MEMBER, peers=["left"], **closed) as right,
            peer(network, "other", identity=STRANGER, peers=["left"], **closed) as other,
        ):
            await right.synced(timeout_s=60)
            await other.synced(timeout_s=60)
            with other.current(), pytest.raises(ContentMissingError):
                await secret.read()
            with right.current():
                assert (await secret.read())[:11] == b"for members"
            for what in ("get", "have", "hold", "keep"):
                with pytest.raises(TransportError):
                    await ask(other, what, secret)
            assert await ask(right, "get", secret)
            await left.revoke(MEMBER.did)
            with pytest.raises(TransportError):
                await ask(right, "get", secret)


@in_virtual_time
async def test_a_revoked_user_or_device_is_a_member_no_more() -> None:
    network, both = MemoryNetwork(), models()
    thing = both[0]
    phone = MEMBER.new_device(lambda n: b"p" * n)
    closed = {"models": both, "admins": [ADMIN.did], "anybody": False}
    async with peer(network, "left", identity=ADMIN, settings={"serve": "members"}, **closed) as left:

        async def sees(name: str, who: Identity) -> int:
            """Return how many records of `left` a new node of this identity gets."""
            async with peer(network, name, identity=who, peers=["left"], **closed) as node:
                await node.synced(timeout_s=60)
                with node.current():
                    return await thing.count()

        await left.grant(MEMBER.did)
        with left.current():
            await thing.create(title="for members")
        assert await sees("root", MEMBER) == 1
        assert await sees("phone", phone) == 1
        async with peer(network, "writer", identity=phone, peers=["left"], **closed) as writer:
            await writer.synced(timeout_s=60)
            with writer.current():
                await thing.create(title="by phone")
            await writer.synced(timeout_s=60)
            async with left.acting_as(MEMBER):
                await left.revoke(phone.key_did)
            with left.current():
                await thing.create(title="unseen by the phone")
            assert await sees("again", phone) == 0
            assert await sees("still", MEMBER) == 3
        await left.revoke(MEMBER.did)
        assert await sees("gone", MEMBER) == 0


async def ask(node: Debros, what: str, file: File) -> list[bytes]:
    """Ask `left` about content, whatever this node itself would ask."""
    assert node.met.transport is not None
    request = dagcbor.encode([what, [file.link]])
    async with node.met.transport.request("left", PROTOCOL, request, max_bytes=1 << 20) as frames:
        return [frame async for frame in frames]


def test_a_proof_is_good_for_whom_it_was_made_and_for_nobody_else() -> None:
    device = MEMBER.device(bytes(16))
    proof = prove(device, "asker", "answerer", NONCE)
    assert proven_user(proof, "asker", "answerer", NONCE) == MEMBER.user
    assert proven_user(proof, "other", "answerer", NONCE) is None
    assert proven_user(proof, "asker", "other", NONCE) is None
    assert proven_user(proof, "asker", "answerer", bytes(15) + b"\1") is None
    assert proven_user(proof._replace(certificate=None), "asker", "answerer", NONCE) == device.public
    stolen = prove(STRANGER.device(bytes(16)), "asker", "answerer", NONCE)
    assert proven_user(stolen._replace(certificate=device.certificate), "asker", "answerer", NONCE) is None


def test_a_mark_tells_nothing_without_the_log() -> None:
    log = bytes(32)
    assert mark(NONCE, log) != mark(bytes(15) + b"\1", log)
    assert len(mark(NONCE, log)) == 16


@in_virtual_time
async def test_whoever_is_not_served_is_told_so_until_it_is_granted() -> None:
    network, both = MemoryNetwork(), models()
    closed = {"models": both, "admins": [ADMIN.did], "anybody": False}
    async with peer(network, "left", identity=ADMIN, settings={"serve": "members"}, **closed) as left:
        with left.current():
            await both[0].create(title="for members")
        async with peer(network, "other", identity=STRANGER, peers=["left"], **closed) as other:
            await other.synced(timeout_s=60)
            [host] = other.peers
            assert (host.logs, host.withheld) == (0, 1)
            withheld = [one for one in other.sync_status() if one.withheld_by]
            assert [(one.withheld_by, one.have, one.synced) for one in withheld] == [((host.id,), 0, False)]
            health = await other.health()
            assert health["peers"].state == "degraded"
            assert "an admin can `grant` it" in health["peers"].reason
            assert STRANGER.did in health["peers"].reason
            assert (await left.health())["peers"].state == "good"

            await left.grant(STRANGER.did)
            await other.synced(timeout_s=5)  # it asks again
            assert [one.withheld_by for one in other.sync_status()] == [()] * len(other.sync_status())
            assert (await other.health())["peers"].state == "good"
            with other.current():
                assert await both[0].count() == 1

            await left.revoke(STRANGER.did)
            await trio.sleep(60)
            with other.current():
                await both[0].create(title="nobody takes it")
            with pytest.raises(PermissionDeniedError, match="was revoked; an admin can `grant` it"):
                await other.synced(timeout_s=60)
            assert [one.synced for one in other.sync_status() if one.withheld_by] == [False]
            assert (await other.health())["peers"].state == "degraded"


@in_virtual_time
async def test_a_configured_peer_of_another_application_or_with_other_admins_is_told_of() -> None:
    network, both = MemoryNetwork(), models()
    async with peer(network, "left", models=both, admins=[ADMIN.did]) as left:
        for different in ({"admins": [MEMBER.did]}, {"app": "another", "admins": [ADMIN.did]}):
            async with peer(network, "right", models=both, peers=["left"], **different) as right:
                await right.synced(timeout_s=5)
                health = (await right.health())["peers"]
                assert health.state == "degraded"
                assert "shares no log with this node" in health.reason
                assert repr(right.app) in health.reason
                assert (await left.health())["peers"].state == "good"  # whoever comes to it may be anybody
        async with peer(network, "right", models=both, peers=["left"], admins=[ADMIN.did]) as right:
            await right.synced(timeout_s=5)
            assert (await right.health())["peers"].state == "good"


@in_virtual_time
async def test_a_peer_that_is_served_nothing_is_not_waited_for() -> None:
    network, both = MemoryNetwork(), models()
    thing = both[0]
    closed = {"models": both, "admins": [ADMIN.did], "anybody": False}
    async with (
        peer(network, "left", identity=ADMIN, settings={"serve": "members"}, **closed) as left,
        peer(network, "other", identity=STRANGER, peers=["left"], **closed) as other,
    ):
        with left.current():
            await thing.create(title="for members")
        await other.synced(timeout_s=60)
        await left.synced(timeout_s=60)
        with other.current():
            assert await thing.count() == 0
