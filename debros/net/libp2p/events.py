"""Connections that come and go, as libp2p tells of them."""

from __future__ import annotations

from collections.abc import Callable

from libp2p.abc import INetConn, INetStream, INetwork, INotifee
from multiaddr import Multiaddr


class Notifee(INotifee):
    """Tells (peer, address, whether it came). A peer is gone when its last connection is."""

    def __init__(self, tell: Callable[[str, str, bool], None]) -> None:
        self._tell = tell

    async def connected(self, network: INetwork, conn: INetConn) -> None:
        """A connection is there."""
        self._tell(str(conn.muxed_conn.peer_id), _address(conn), True)

    async def disconnected(self, network: INetwork, conn: INetConn) -> None:
        """A connection is gone."""
        peer = conn.muxed_conn.peer_id
        if not any(other is not conn and not other.is_closed for other in network.connections.get(peer, [])):
            self._tell(str(peer), "", False)

    async def opened_stream(self, network: INetwork, stream: INetStream) -> None:
        """Nothing to do."""

    async def closed_stream(self, network: INetwork, stream: INetStream) -> None:
        """Nothing to do."""

    async def listen(self, network: INetwork, multiaddr: Multiaddr) -> None:
        """Nothing to do."""

    async def listen_close(self, network: INetwork, multiaddr: Multiaddr) -> None:
        """Nothing to do."""


def _address(conn: INetConn) -> str:
    """Return where a peer that dialled us comes from: not an address to dial."""
    return ""
