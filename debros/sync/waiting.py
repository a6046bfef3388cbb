"""Waiting for peers: until nothing is left to tell, and until some hold an entry durably."""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING, Final

import trio

from debros.errors import DeadlineError, PermissionDeniedError, ProtocolError, TransportError
from debros.identity.did import did_of
from debros.replica.replica import Replica
from debros.sync.budget import PROTOCOL_POINTS
from debros.sync.receipts import Receipt, parse_receipt
from debros.sync.wire import Attest, NotSharedError
from debros.sync.wire import parse_receipt as parse_receipt_frame

if TYPE_CHECKING:
    from debros.sync.sync import Sync

WITHHELD: Final = (
    'does not serve us a log that both hold: it has `serve="members"`, and this user was not granted, or was revoked; an admin '
    "can `grant` it"
)
PATIENCE_S: Final = 0.5  # after which `synced` and `settled` ask again


async def synced(sync: Sync, timeout_s: float | None) -> None:
    """Wait for a comparison of every shared log with every connected peer; see `Debros.synced`."""
    sync.gather()
    sync.serial += 1
    since = sync.awaited = sync.serial
    version = sync.version()
    kept = {replica.log_id for replica in sync.kept_replicas()}
    for link in sync.links.values():
        if link.withheld or not kept <= link.lots.keys():
            link.greet_again()  # perhaps we are a member by now, or the peer has the log by now
        link.compare_all()
    with trio.move_on_after(float("inf") if timeout_s is None else timeout_s):
        while not _is_synced(sync, since, version, kept):
            with trio.move_on_after(PATIENCE_S) as waiting:
                await sync.changed.wait()
            if waiting.cancelled_caught:
                for link in sync.links.values():
                    for log_id, lot in link.lots.items():
                        if lot.settled < since:
                            link.compare(log_id)
        await trio.lowlevel.checkpoint()
        if refusing := _keep_what_is_here_from_all(sync):
            raise PermissionDeniedError(
                f"entries of this node are with no peer that is connected: {refusing} {WITHHELD}"
            )
        return
    raise DeadlineError(f"not synced after {timeout_s} s: {_what_lacks(sync, since)}")


def _is_synced(sync: Sync, since: int, version: int, kept: Set[bytes]) -> bool:
    """Whether each peer was greeted with the logs of that version or a later one, and those kept then were compared.

    Logs that came since are not waited for: where users sign up all the time there is always one more.
    """
    if sync.dials and not sync.links:
        return False
    return all(
        link.greeted >= version and all(lot.settled >= since for log_id, lot in link.lots.items() if log_id in kept)
        for link in sync.links.values()
    )


def _keep_what_is_here_from_all(sync: Sync) -> str:
    """Return the peers that do not serve us a log which has entries here, and that no other peer shares with us."""
    for replica in sync.kept_replicas():
        refusing = [link.peer for link in sync.links.values() if replica.log_id in link.withheld]
        if refusing and replica.heads and not any(replica.log_id in link.lots for link in sync.links.values()):
            return ", ".join(refusing)
    return ""


def _what_lacks(sync: Sync, since: int) -> str:
    if sync.dials and not sync.links:
        errors = "; ".join(f"{dial.address}: {dial.last_error or 'no answer yet'}" for dial in sync.dials)
        return f"no peer is connected ({errors})"
    behind = [link.peer for link in sync.links.values() if any(lot.settled < since for lot in link.lots.values())]
    refusing = [link.peer for link in sync.links.values() if link.withheld]
    why = f"; {', '.join(refusing)} {WITHHELD}" if refusing else ""
    return f"waiting for {', '.join(behind) or 'the first word of a peer'}{why}"


async def settled(sync: Sync, replica: Replica, digest: bytes, replicas: int, timeout_s: float | None) -> list[Receipt]:
    """Collect receipts for an entry from so many peers; see `Model.settled`.

    Each is signed by a key of its own: who passes on what another one signed, or we, holds nothing.
    """
    receipts: dict[str, Receipt] = {}  # by who signed
    answered: set[str] = set()
    own = did_of(sync.device().public)
    with trio.move_on_after(float("inf") if timeout_s is None else timeout_s):
        while True:
            for peer, link in list(sync.links.items()):
                if peer not in answered and replica.log_id in link.lots and len(receipts) < replicas:
                    receipt = await _receipt(sync, peer, replica.log_id, digest)
                    if receipt is not None and receipt.by != own and receipt.by not in receipts:
                        answered.add(peer)
                        receipts[receipt.by] = receipt
            if len(receipts) >= replicas:
                await trio.lowlevel.checkpoint()
                return list(receipts.values())
            with trio.move_on_after(PATIENCE_S):
                await sync.changed.wait()
    raise DeadlineError(
        f"{len(receipts)} of {replicas} receipts after {timeout_s} s; the write is durable here, and the peers get it "
        "when they can"
    )


async def _receipt(sync: Sync, peer: str, log_id: bytes, digest: bytes) -> Receipt | None:
    try:
        asker = sync.asker(peer)
        await asker.may_ask()
        raw = parse_receipt_frame(await asker.one(Attest(log_id, digest)))
        return None if raw is None else parse_receipt(raw, log_id, digest)
    except NotSharedError:
        return None
    except ProtocolError:
        sync.fault(peer, PROTOCOL_POINTS)
        return None
    except TransportError:
        return None
