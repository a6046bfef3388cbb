"""What a node tells about its peers and about how far its logs are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer that is connected, or that was configured."""

    id: str  # empty while nobody has answered at the address
    address: str  # empty where it is not known
    connected: bool
    logs: int = 0  # that both hold
    banned: bool = False
    last_error: str = ""  # of the last attempt to dial
    withheld: int = 0  # logs that both hold, and that it does not serve to us: we are no member, or no longer


@dataclass(frozen=True, slots=True)
class LogStatus:
    """One log that this node keeps, and where it stands beside those of connected peers."""

    address: str
    have: int  # entries here
    want: int  # the most that are known of, here or at a peer
    pending: int  # found missing here and not yet come
    held: int  # entries that wait for parents, for their time, or for an upgrade
    heads: tuple[str, ...]  # CIDs
    remote_heads: tuple[str, ...]  # those of connected peers
    peers: tuple[str, ...]  # connected peers that hold it too
    progress: float  # 0 to 1
    entries_per_s: float  # admitted from peers, over the last seconds
    last_contact: datetime | None  # when a peer last said something of this log
    synced: bool  # the last comparison with each of these peers found nothing missing on either side
    withheld_by: tuple[str, ...] = ()  # connected peers that hold it too, and do not serve it to us
