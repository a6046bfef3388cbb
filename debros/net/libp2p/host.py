"""One py-libp2p host with its fences: what it may do to itself, it may not do to the node.

The numbers are those of docs/transports.md.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import libp2p.network.swarm
from libp2p import new_host
from libp2p.abc import IHost, INetStream, IRawConnection
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_ID
from libp2p.security.noise.transport import Transport as Noise
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_ID
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.transport.tcp.tcp import TCP
from multiaddr import Multiaddr

GOSSIPSUB: Final = TProtocol("/meshsub/1.2.0")
HEARTBEAT_S: Final = 10

log = logging.getLogger("debros.net")


class Dialler(TCP):
    """TCP that remembers its sockets: the host leaves them open when a connection ends, or when it is closed itself."""

    def __init__(self) -> None:
        super().__init__()
        self._open: list[Any] = []

    async def dial(self, maddr: Multiaddr) -> IRawConnection:
        """Dial, and remember."""
        connection = await super().dial(maddr)
        self._open.append(connection)
        return connection

    def take(self) -> list[Any]:
        """Return the sockets dialled since the last call."""
        found, self._open = self._open, []
        return found


def close_sockets(connections: list[Any]) -> None:
    """13: close what is left of connections that were dialled."""
    for connection in connections:
        connection.stream.stream.socket.close()


def make_host(seed: bytes, dialler: Dialler) -> IHost:
    """Make a host that speaks noise over TCP, with yamux, and nothing else."""
    libp2p.network.swarm._HAPPY_EYEBALLS_DELAY = 0  # 8: or every dial waits 250 ms
    key_pair = create_new_key_pair(seed)
    noise = Noise(libp2p_keypair=key_pair, noise_privkey=create_noise_key_pair().private_key)
    host: Any = new_host(  # 4: the default accepts plaintext
        key_pair=key_pair,
        sec_opt={NOISE_ID: noise},
        muxer_opt={TProtocol(YAMUX_ID): Yamux},
        transports=[dialler],
        enable_mDNS=False,
    )
    unfenced = host._swarm_stream_handler

    async def fenced(stream: INetStream) -> None:  # 1, 2: what a stream raises would end the whole host
        try:
            await unfenced(stream)
        except Exception as error:
            log.debug("a stream of %s ended: %r", stream.muxed_conn.peer_id, error)
            await reset(stream)

    host.get_network().set_stream_handler(fenced)
    host.get_network().auto_connector.maybe_connect = _nobody  # 14: it would dial known peers by itself
    found: IHost = host
    return found


def make_pubsub(host: IHost) -> tuple[Pubsub, GossipSub]:
    """Make the gossip of a host. 7: its protection against spam would drop honest messages in silence."""
    router = GossipSub(
        protocols=[GOSSIPSUB], degree=6, degree_low=4, degree_high=12, heartbeat_interval=HEARTBEAT_S,
        spam_protection_enabled=False,
    )  # fmt: skip
    return Pubsub(host, router), router


async def _nobody(*_: object) -> None:
    """Dial nobody."""


async def reset(stream: INetStream) -> None:
    """End a stream at once, whatever state it is in."""
    try:
        await stream.reset()
    except Exception as error:
        log.debug("a stream could not be reset: %r", error)


def forget_failures(host: Any, peer: Any) -> None:
    """6: after one failed dial a peer is refused for a minute, and a stale address shadows the new one."""
    host.get_network()._negative_peer_cache.evict(str(peer))
    host.get_peerstore().clear_addrs(peer)
