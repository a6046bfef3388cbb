"""What a node tells about its peers, and about how far its logs are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from debros.blocks import cid
from debros.errors import NewerFormatError
from debros.log import clock
from debros.log.entry import parse_header
from debros.log.gate import MOST_AHEAD_MS
from debros.sync.fingerprints import flush
from debros.sync.status import LogStatus, Peer

if TYPE_CHECKING:
    from debros.sync.sync import Sync


def peers(sync: Sync) -> list[Peer]:
    """Return connected peers, and addresses that were configured and do not answer."""
    now_s, connected = sync.now_s(), sync.transport.connected
    errors = {dial.peer: dial.last_error for dial in sync.dials}
    found = [
        Peer(
            peer,
            address,
            True,
            len(link.lots),
            link.account.conduct.is_banned(now_s),
            errors.get(peer, ""),
            len(link.withheld),
        )
        for peer, address in connected.items()
        if (link := sync.links.get(peer)) is not None
    ]
    for dial in sync.dials:
        if dial.peer not in connected:
            banned = dial.peer in sync.accounts and sync.accounts[dial.peer].conduct.is_banned(now_s)
            found.append(Peer(dial.peer, dial.address, False, 0, banned, dial.last_error))
    return found


def share_nothing(sync: Sync) -> list[str]:
    """Return the configured peers that have answered, and with whom no log is shared."""
    links = (sync.links.get(dial.peer) for dial in sync.dials)
    return [
        link.peer for link in links if link is not None and link.greeted >= 0 and not link.lots and not link.withheld
    ]


def waiting_for_time(sync: Sync) -> dict[str, int]:
    """Return, by peer, the clock in ms of the first entry that it brought and that is held until its time comes."""
    now_ms = sync.store.env.now_us() // 1000
    found: dict[str, int] = {}
    for peer, link in sync.links.items():
        clocks = [_clock_ms(held.delivery.header) for held in link.account.pool if not held.missing]
        ahead = [ms for ms in clocks if ms - now_ms > MOST_AHEAD_MS]
        if ahead:
            found[peer] = min(ahead)
    return found


def _clock_ms(header: bytes) -> int:
    try:
        return clock.ms(parse_header(header).clock)
    except NewerFormatError:  # held for an upgrade, not for time
        return 0


def status(sync: Sync) -> list[LogStatus]:
    """Return where every kept log stands."""
    store, now_s = sync.store, sync.now_s()
    flush(store)
    counts: dict[int, int] = dict(store.view.read("SELECT log, count(*) FROM entries GROUP BY log", ()))
    found: list[LogStatus] = []
    for replica in sync.kept_replicas():
        links = {peer: link.lots[replica.log_id] for peer, link in sync.links.items() if replica.log_id in link.lots}
        withheld_by = tuple(peer for peer, link in sync.links.items() if replica.log_id in link.withheld)
        lots = list(links.values())
        have = counts.get(replica.n, 0)
        pending = max((lot.pending for lot in lots), default=0)
        want = max([have + pending, *(lot.count for lot in lots)])
        spoken_s = max((lot.spoken_s for lot in lots), default=0.0)
        heads = {cid.to_text(head) for head in replica.heads}
        remote = {cid.to_text(head) for lot in lots for head in lot.heads}
        rate = sync.rates.get(replica.n)
        found.append(LogStatus(
            address=replica.manifest.address, have=have, want=want, pending=pending,
            held=sum(sum(1 for _ in link.account.pool.of_log(replica.n)) for link in sync.links.values()),
            heads=tuple(sorted(heads)), remote_heads=tuple(sorted(remote)), peers=tuple(links),
            progress=have / want if want else 1.0,
            entries_per_s=0.0 if rate is None else rate.per_s(now_s),
            last_contact=_instant(sync, spoken_s) if spoken_s else None,
            synced=bool(lots or not withheld_by)
            and all(lot.settled and not lot.pending and lot.heads == replica.heads for lot in lots),
            withheld_by=withheld_by,
        ))  # fmt: skip
    return found


def _instant(sync: Sync, monotonic_s: float) -> datetime:
    ago_s = sync.now_s() - monotonic_s
    now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=sync.store.env.now_us())
    return now - timedelta(seconds=ago_s)
