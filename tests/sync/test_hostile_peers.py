"""What lying peers send costs them their connection, and the node nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from hashlib import sha256
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.blocks import dagcbor
from debros.errors import ProtocolError, TransportError
from debros.identity.signing import SigningKey
from debros.log.entry import sign_header
from debros.net.memory import MemoryNetwork, MemoryTransport
from debros.net.transport import Serve
from debros.replica.receive import Delivery
from debros.sync import wire
from debros.sync.asking import Asker
from debros.sync.held import MAX_BYTES, MAX_ENTRIES, Held, Pool
from tests.support.peers import in_virtual_time, peer
from tests.sync.test_two_nodes import models

KEY = SigningKey(bytes(31) + b"\7")


def entry(
    log: bytes, seq: int = 0, prev: bytes | None = None, clock: int = 1, text: str = "x", **other: Any
) -> Delivery:
    change = ["Thing", 1_000_000, f"d{text}", {"put": {"title": text}, "live": True}]
    body = dagcbor.encode({"ops": [change], "salt": bytes(16)})
    given: dict[str, Any] = {"next": [], "prev": prev, "seq": seq, "clock": clock, "log": log}
    header, _ = sign_header(KEY, body_digest=sha256(body).digest(), length=len(body), **given | other)
    return Delivery(header, body)


async def silent(peer: str, body: bytes) -> AsyncGenerator[bytes, None]:
    """A peer that speaks the protocol, but not now."""
    await trio.sleep_forever()
    yield b""


async def garbage(liar: MemoryTransport) -> None:
    async with liar.request("left", wire.PROTOCOL, b"\xff\xff", max_bytes=1000) as frames:
        async for _ in frames:
            continue


@in_virtual_time
async def test_two_entries_with_one_number_both_stay_and_the_proof_is_kept_and_told() -> None:
    network, both = MemoryNetwork(), models()
    notices: list[Any] = []
    async with peer(network, "left", models=both) as left, network.host("liar") as liar:
        left.on_notice.append(lambda kind, data: notices.append((kind, data)))
        log = left.shared.log_id
        one, other = entry(log, text="one"), entry(log, text="other")
        liar.handle(wire.PROTOCOL, silent)
        await liar.connect("/memory/left")
        asker = Asker(liar, "left")
        for delivery in (one, other):
            heads = [sha256(delivery.header).digest()]
            wire.parse_state(await asker.one(wire.Offer(log, bytes(32), heads, [delivery])))
        await trio.sleep(1)
        [fork] = left.forks
        assert set(fork.headers) == {one.header, other.header}
        assert fork.seq == 0
        assert ("fork_detected", {"fork": fork}) in notices
        assert left.met.remembered.forks == [fork.headers]
        async with peer(network, "right", models=both, peers=["left"]) as right:
            await right.synced(timeout_s=60)
            assert await right.fingerprint() == await left.fingerprint()
            await trio.sleep(1)
            assert [found.headers for found in right.forks] == [fork.headers]


@in_virtual_time
async def test_who_sends_garbage_is_banned_for_a_while_and_others_are_served() -> None:
    network, both = MemoryNetwork(), models()
    async with peer(network, "left", models=both) as left, network.host("liar") as liar:
        liar.handle(wire.PROTOCOL, silent)
        await liar.connect("/memory/left")
        for _ in range(3):
            with pytest.raises(TransportError):
                await garbage(liar)
            await trio.sleep(0.1)
        assert "liar" not in [known.id for known in left.peers if known.connected]
        liar.handle(wire.PROTOCOL, silent)
        await liar.connect("/memory/left")
        await trio.sleep(0.1)
        assert "liar" not in left.met.transport.connected  # type: ignore[union-attr]
        async with peer(network, "right", models=both, peers=["left"]) as right:
            await right.synced(timeout_s=60)
            await trio.sleep(61)
            await liar.connect("/memory/left")
            await trio.sleep(0.1)
            assert "liar" in left.met.transport.connected  # type: ignore[union-attr]


@in_virtual_time
async def test_a_good_entry_that_is_offered_to_another_log_is_still_good_in_its_own() -> None:
    network, both = MemoryNetwork(), models()
    async with peer(network, "left", models=both) as left, network.host("liar") as liar:
        good = entry(left.shared.log_id)
        digest = sha256(good.header).digest()
        own = next(replica for replica in left.store.by_number.values() if replica.manifest.scope == "user")
        liar.handle(wire.PROTOCOL, silent)
        await liar.connect("/memory/left")
        asker = Asker(liar, "left")
        await asker.one(wire.Offer(own.log_id, bytes(32), [digest], [good]))
        assert left.store.entries.find(digest) is None
        await asker.one(wire.Offer(left.shared.log_id, bytes(32), [digest], [good]))
        assert left.store.entries.find(digest) is not None


@in_virtual_time
async def test_what_was_refused_or_is_held_is_not_asked_for_again() -> None:
    network, both = MemoryNetwork(), models()
    async with peer(network, "left", models=both) as left, network.host("liar") as liar:
        log = left.shared.log_id
        orphan = entry(log, seq=1, prev=bytes(32), clock=2)
        bad = entry(log, text="bad")
        bad = Delivery(bad.header[:-1] + bytes([bad.header[-1] ^ 1]), bad.body)
        good, other = entry(log, text="good"), entry(log, text="other")
        digests = [sha256(delivery.header).digest() for delivery in (orphan, bad, good, other)]
        liar.handle(wire.PROTOCOL, silent)
        await liar.connect("/memory/left")
        asker = Asker(liar, "left")
        sync = left.met.sync
        assert sync is not None
        assert sync.lacking(left.shared, digests) == set(digests)
        for delivery, digest in zip((orphan, bad, good), digests, strict=False):
            await asker.one(wire.Offer(log, bytes(32), [digest], [delivery]))
        assert sync.lacking(left.shared, digests) == {digests[3]}


@in_virtual_time
async def test_an_orphan_waits_for_its_parent_whoever_brings_it() -> None:
    network, both = MemoryNetwork(), models()
    async with peer(network, "left", models=both) as left, network.host("liar") as liar:
        log = left.shared.log_id
        first = entry(log, text="1")
        parent = sha256(first.header).digest()
        second = entry(log, seq=1, prev=parent, clock=2, text="2")
        liar.handle(wire.PROTOCOL, silent)
        await liar.connect("/memory/left")
        asker = Asker(liar, "left")
        for delivery in (second, first):
            await asker.one(wire.Offer(log, bytes(32), [sha256(delivery.header).digest()], [delivery]))
        assert left.store.entries.find(sha256(second.header).digest()) is not None


def test_a_pool_is_bounded_by_entries_and_by_bytes() -> None:
    pool = Pool()
    for n in range(2 * MAX_ENTRIES):
        pool.add(Held(1, n.to_bytes(32, "big"), Delivery(b"h", b"b"), ()))
    assert len(pool) == MAX_ENTRIES
    assert pool.get((2 * MAX_ENTRIES - 1).to_bytes(32, "big")) is not None
    for n in range(20):
        pool.add(Held(1, bytes([n]) * 32, Delivery(b"h", bytes(MAX_BYTES // 4)), ()))
    assert len(pool) <= 4


@settings(max_examples=60)
@given(st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers(-5, 2**40) | st.text(max_size=6) | st.binary(max_size=70),
        lambda inner: st.lists(inner, max_size=5), max_leaves=12,
    ).map(dagcbor.encode),
    st.tuples(st.sampled_from(["hello", "compare", "offer", "ranges", "fetch", "attest"]),
        st.lists(st.binary(max_size=40) | st.integers(0, 9) | st.lists(st.binary(max_size=3), max_size=2), max_size=5))
    .map(lambda pair: dagcbor.encode([pair[0], *pair[1]])),
))  # fmt: skip
def test_a_frame_is_read_or_is_a_protocol_error(frame: bytes) -> None:
    readers = (
        wire.parse_request, wire.parse_state, wire.parse_entries, wire.parse_receipt,
        lambda frame: wire.parse_welcome(frame, 3), lambda frame: wire.parse_differences(frame, 2),
        lambda frame: wire.parse_verdict(frame, 3),
    )  # fmt: skip
    for reader in readers:
        try:
            reader(frame)
        except ProtocolError:
            continue


def test_every_request_reads_as_it_was_written() -> None:
    delivery = Delivery(b"h", b"b")
    for request in (
        wire.Hello(bytes(16), [bytes(16)], None),
        wire.Compare([bytes(32)], [bytes(16)]),
        wire.Offer(bytes(32), bytes(32), [bytes(32)], [delivery, Delivery(b"h", None)]),
        wire.Ranges(bytes(32), [wire.Range("a0", 3, bytes(16))]),
        wire.Fetch(bytes(32), [bytes(32)]),
        wire.Attest(bytes(32), bytes(32)),
    ):
        assert wire.parse_request(wire.encode_request(request)) == request


@in_virtual_time
async def test_an_entry_from_the_future_gets_in_when_its_time_has_come_though_peers_talk_all_the_time() -> None:
    network, both = MemoryNetwork(), models()
    async with peer(network, "left", models=both) as left, network.host("liar") as liar:
        log = left.shared.log_id
        ahead = entry(log, clock=(left.env.now_us() // 1000 + 330_000) << 16)
        digest = sha256(ahead.header).digest()
        liar.handle(wire.PROTOCOL, honest_but_chatty(left.env.random_bytes))
        await liar.connect("/memory/left")
        asker = Asker(liar, "left")
        await asker.one(wire.Offer(log, bytes(32), [digest], [ahead]))
        assert left.store.entries.find(digest) is None
        for _ in range(30):
            await trio.sleep(2)
            await asker.one(wire.Offer(log, bytes(32), [bytes(32)], []))  # it claims to have something else
        assert left.store.entries.find(digest) is not None


def honest_but_chatty(random_bytes: Callable[[int], bytes]) -> Serve:
    """A peer that shares every log and never has anything."""

    async def serve(peer: str, body: bytes) -> AsyncGenerator[bytes, None]:
        await trio.lowlevel.checkpoint()
        match wire.parse_request(body):
            case wire.Hello(_, marks, _):
                yield wire.encode_welcome(wire.Welcome(random_bytes(wire.NONCE), list(range(len(marks))), []))
            case wire.Ranges(_, ranges):
                yield wire.encode_differences([b"" for _ in ranges])
            case wire.Compare(logs, _):
                yield wire.encode_verdict(wire.Verdict(list(range(len(logs))), []))
            case _:
                yield wire.encode_state(wire.State(False, False, 0, []))

    return serve
