"""Addresses of peers as libp2p writes them: multiaddr, e.g. `/ip4/192.0.2.7/tcp/4001/p2p/12D3KooW...`."""

from __future__ import annotations

from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo, info_from_p2p_addr
from multiaddr import Multiaddr

from debros.errors import TransportError


def listen_address(address: str) -> Multiaddr:
    """Read an address to listen on.

    Raises:
        TransportError: it is none, or not over TCP.
    """
    parsed = _parsed(address)
    names = [protocol.name for protocol in parsed.protocols()]
    if len(names) != 2 or names[0] not in ("ip4", "ip6") or names[1] != "tcp":
        raise TransportError(address, "not an address to listen on; one is /ip4/127.0.0.1/tcp/0")
    return parsed


def dialled_address(address: str) -> PeerInfo:
    """Read an address to dial.

    Raises:
        TransportError: it is none, or does not say whose it is.
    """
    parsed = _parsed(address)
    names = [protocol.name for protocol in parsed.protocols()]
    if "p2p" not in names:
        raise TransportError(address, "does not say whose it is: it ends in /p2p/<peer id>, as in `db.addresses`")
    if "tcp" not in names or "p2p-circuit" in names:
        raise TransportError(address, "only addresses over TCP can be dialled")
    try:
        return info_from_p2p_addr(parsed)
    except Exception as error:  # whatever its parsers raise, the address is wrong
        raise TransportError(address, f"is no address of a peer: {error}") from error


def peer_id(text: str) -> ID:
    """Read a peer id.

    Raises:
        TransportError: it is none.
    """
    try:
        return ID.from_base58(text)
    except Exception as error:  # as above
        raise TransportError(text, f"is no peer id: {error}") from error


def _parsed(address: str) -> Multiaddr:
    try:
        return Multiaddr(address)
    except Exception as error:  # as above
        raise TransportError(
            address, f"is no multiaddr, e.g. /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW...: {error}"
        ) from error
