"""The transport over libp2p: the only importer of py-libp2p, loaded when a node first listens or dials.

As it comes, py-libp2p 0.8.1 is not reliable; docs/transports.md lists what was measured and the fence that stands before each
trap. The rule of all of them: its failure may cost liveness, never integrity, and never the node.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from debros.env import SYSTEM
from debros.errors import StorageError, TransportError
from debros.net.transport import Transport

VERSION: Final = "0.8.1"  # the fences touch private names, so another version is another library
SEED_SIZE: Final = 32


def libp2p_transport(listen: Sequence[str], peers: Sequence[str], home: Path | None) -> Transport:
    """Return a transport that listens on these addresses; its peer id is the same whenever the home is opened.

    Args:
        listen: e.g. `/ip4/127.0.0.1/tcp/0`, where 0 takes any free port.
        peers: addresses that will be dialled; checked for their form.
        home: where the key of the peer id is kept; `None`: a new one.

    Raises:
        TransportError: libp2p is not installed, in another version, or an address is wrong.
        StorageError: the key cannot be read or kept.
    """
    try:
        found = version("libp2p")
    except PackageNotFoundError:
        raise TransportError("", "listening and dialling need libp2p; next: pip install 'debros[net]'") from None
    if found != VERSION:
        raise TransportError("", f"libp2p {found} is installed, {VERSION} is needed; next: pip install 'debros[net]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports; they are not the user's
        from debros.net.libp2p.adapter import Libp2pTransport
        from debros.net.libp2p.addresses import dialled_address, listen_address
    logging.getLogger("libp2p").addHandler(logging.NullHandler())  # it speaks where somebody listens
    for address in peers:
        dialled_address(address)
    return Libp2pTransport([listen_address(address) for address in listen], _seed(home))


def _seed(home: Path | None) -> bytes:
    """Return what the key of the peer id grows from: kept in the home, so that addresses stay good."""
    if home is None:
        return SYSTEM.random_bytes(SEED_SIZE)
    path = home / "peer"
    try:
        if path.exists():
            seed = path.read_bytes()
            if len(seed) != SEED_SIZE:
                raise StorageError(f"{path} is damaged; delete it, and the node gets a new peer id")
            return seed
        seed = SYSTEM.random_bytes(SEED_SIZE)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(seed)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StorageError(f"cannot keep the key of the peer id in {path}: {error}") from error
    return seed
