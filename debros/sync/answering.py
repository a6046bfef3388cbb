"""Answering what peers ask, under budgets: who asks too much, or nonsense, pays for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING, Final

import trio

from debros.errors import ProtocolError, TransportError
from debros.replica.receive import Batch
from debros.replica.replica import Replica
from debros.sync import serving
from debros.sync.budget import BURST_S, FLOOD_POINTS, MOST_WAITING, PROTOCOL_POINTS
from debros.sync.links import Account
from debros.sync.membership import is_member, mark, proven_user
from debros.sync.receipts import sign_receipt
from debros.sync.wire import (
    MAX_HEADS,
    MAX_OFFERED_HEADS,
    NONCE,
    NOT_SHARED,
    PRINT,
    Attest,
    Compare,
    Fetch,
    Hello,
    Offer,
    Ranges,
    Request,
    State,
    Verdict,
    Welcome,
    encode_differences,
    encode_receipt,
    encode_state,
    encode_verdict,
    encode_welcome,
    parse_request,
)

AHEAD_S: Final = BURST_S / 10  # of its requests that a peer may ask before their time and be answered at once

if TYPE_CHECKING:
    from debros.sync.sync import Sync


async def serve(sync: Sync, peer: str, body: bytes) -> AsyncGenerator[bytes, None]:
    """Answer one request of a peer.

    Raises:
        TransportError: the peer is banned, or asks too much at once.
        ProtocolError: it is no request.
    """
    account, now_s = sync.account(peer), sync.now_s()
    if account.conduct.is_banned(now_s):
        raise TransportError(peer, "banned")
    is_crowd = account.turn.statistics().tasks_waiting >= MOST_WAITING
    if is_crowd or not account.conduct.requests.take(1, now_s):
        sync.fault(peer, FLOOD_POINTS)
        raise TransportError(peer, "asks too much at once")
    try:
        request = parse_request(body)
    except ProtocolError:
        sync.fault(peer, PROTOCOL_POINTS)
        raise
    sync.store.check_open()
    await serving.make_durable(sync.store)
    if isinstance(request, Fetch) and (replica := served(sync, peer, request.log)) is not None:
        async with aclosing(serving.entries(sync.store, replica, request.digests)) as frames:
            async for frame in frames:
                account.conduct.served.take(len(frame), sync.now_s())
                await trio.sleep(account.conduct.served.debt_s())
                yield frame
        return
    async with account.turn:
        begun_s = sync.now_s()
        yield await _answer(sync, peer, account, request)
        if account.conduct.requests.spent_s() > AHEAD_S:
            await sync.stand_back(begun_s)


async def _answer(sync: Sync, peer: str, account: Account, request: Request) -> bytes:
    """Answer what takes one frame."""
    if isinstance(request, Hello):
        return encode_welcome(_welcome(sync, peer, request))
    if isinstance(request, Compare):
        return encode_verdict(_verdict(sync, peer, request))
    replica = served(sync, peer, request.log)
    match request:
        case Offer() if replica is not None:
            link = sync.links.get(peer)
            with nullcontext() if link is None else link.hearing(replica.log_id):
                return encode_state(await _answer_offer(sync, peer, account, replica, request))
        case Ranges(_, ranges) if replica is not None:
            await sync.prints.catch_up()
            return encode_differences(serving.differences(sync.prints, replica, ranges))
        case Attest(log, digest) if replica is not None:
            held = replica.entry(digest) is not None
            if held:  # it may have come while this request waited for its turn
                await serving.make_durable(sync.store)
            now_ms = sync.store.env.now_us() // 1000
            return encode_receipt(sign_receipt(sync.device(), log, digest, now_ms) if held else None)
    return NOT_SHARED


def _welcome(sync: Sync, peer: str, hello: Hello) -> Welcome:
    link = sync.links.get(peer)
    if link is not None and hello.proof is not None:
        link.user = proven_user(hello.proof, peer, sync.transport.peer_id, link.nonce)
        link.key = hello.proof.key
        link.nonce = sync.store.env.random_bytes(NONCE)
    asked = {name: index for index, name in enumerate(hello.marks)}
    shared: list[int] = []
    refused: list[int] = []
    for replica in sync.kept_replicas():
        index = asked.get(mark(hello.nonce, replica.log_id))
        if index is None:
            continue
        if served(sync, peer, replica.log_id) is None:
            refused.append(index)
        else:
            shared.append(index)
            if link is not None:
                link.lot(replica.log_id)  # the peer holds it: compare it from here too
    return Welcome(link.nonce if link is not None else bytes(NONCE), sorted(shared), sorted(refused))


def _verdict(sync: Sync, peer: str, compare: Compare) -> Verdict:
    verdict = Verdict([], [])
    for n, (log_id, theirs) in enumerate(zip(compare.logs, compare.prints, strict=True)):
        replica = served(sync, peer, log_id)
        if replica is None:
            verdict.absent.append(n)
        elif serving.print_of(replica.heads)[:PRINT] != theirs:
            verdict.different.append(n)
        else:
            _note_equal(sync, peer, replica)
    sync.note_change()
    return verdict


def _note_equal(sync: Sync, peer: str, replica: Replica) -> None:
    """Take note that a peer has said that its log is in the state of ours."""
    link = sync.links.get(peer)
    if link is None or (lot := link.lots.get(replica.log_id)) is None:
        return
    lot.spoken_s = sync.now_s()
    lot.fresh = []
    lot.heads = frozenset(replica.heads)
    if lot.settled >= sync.awaited:  # else what it said may be older than what somebody waits for
        sync.serial += 1
        link.due.pop(replica.log_id, None)
        sync.settle(link, replica, lot, sync.serial)


def is_served(sync: Sync, peer: str) -> bool:
    """Whether this node serves any log to a connected peer, or to everybody."""
    link = sync.links.get(peer)
    if not sync.members_only or link is None or link.user is None:
        return not sync.members_only
    return any(served(sync, peer, log_id) is not None for log_id in link.lots)


def served(sync: Sync, peer: str, log_id: bytes) -> Replica | None:
    """Return a log if this node keeps it and serves it to the peer."""
    replica = sync.kept(log_id)
    if replica is None or not sync.members_only:
        return replica
    link, rights = sync.links.get(peer), replica.rights
    if link is None or link.user is None or rights.would_be_void(link.key, link.user, 0):  # unknown, or revoked
        return None
    return replica if is_member(link.user, replica.manifest, lambda user: rights.grant(user) is not None) else None


async def _answer_offer(sync: Sync, peer: str, account: Account, replica: Replica, offer: Offer) -> State:
    size = sum(len(entry.header) + len(entry.body or b"") for entry in offer.entries)
    if offer.entries and sync._keeps(replica) and account.conduct.pushed.take(size, sync.now_s()):
        await sync.take(peer, account, replica, Batch.of(offer.entries))
        await serving.make_durable(sync.store)
    equal = offer.print == serving.print_of(replica.heads)
    known = equal or (len(offer.heads) < MAX_OFFERED_HEADS and sync.all_judged(replica, offer.heads))
    if equal:
        _note_equal(sync, peer, replica)
    elif (link := sync.links.get(peer)) is not None and (lot := link.lots.get(replica.log_id)) is not None:
        lot.spoken_s = sync.now_s()
        if not known:
            link.compare(replica.log_id)
    sync.note_change()
    heads = [] if equal else serving.newest(sync.store, replica.heads, MAX_HEADS + 1)
    if not equal:
        await sync.prints.catch_up()
    return State(equal, known, sync.prints.count(replica.n), heads)
