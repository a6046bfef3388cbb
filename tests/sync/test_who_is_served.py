"""`serve="members"`: logs go to peers that prove a key which may write there."""

from __future__ import annotations

from debros.identity.keys import Identity
from debros.net.memory import MemoryNetwork
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
