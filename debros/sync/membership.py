r"""Who a peer is in the logs it asks for, where a node serves them to members only.

The manifest restricts writing, not reading, and version 1 encrypts no log; `serve="members"` is this node's own choice. A
peer proves a key that may write by signing `debros/peer/1\0` + both peer ids (each behind its length, two bytes) + the
nonce of this node: nobody can pass the signature on, for it names who it is shown to.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final

from debros.identity.keys import Device
from debros.identity.signing import verify
from debros.log.manifest import Manifest
from debros.sync.wire import MARK, Proof

_PEER: Final = b"debros/peer/1\0"
_HELLO: Final = b"debros/hello/1\0"


def mark(nonce: bytes, log_id: bytes) -> bytes:
    """Return the name of a log in one hello: it tells nothing to whoever does not hold the log too."""
    return sha256(_HELLO + nonce + log_id).digest()[:MARK]


def prove(device: Device, asker: str, answerer: str, nonce: bytes) -> Proof:
    """Sign, as the peer `asker`, for the peer `answerer` who gave the nonce."""
    return Proof(device.public, device.certificate, device.sign(_message(asker, answerer, nonce)))


def proven_user(proof: Proof, asker: str, answerer: str, nonce: bytes) -> bytes | None:
    """Return the root key of the user that a proof is good for, `None` if it is good for nobody."""
    if not verify(proof.key, _message(asker, answerer, nonce), proof.sig):
        return None
    certificate = proof.certificate
    if certificate is None:
        return proof.key
    if certificate.may != "device" or certificate.to != proof.key or certificate.log is not None:
        return None
    return certificate.by if certificate.is_signed() else None


def is_member(user: bytes, manifest: Manifest, is_granted: Callable[[bytes], bool]) -> bool:
    """Whether a proven user may write to a log; an open log has everybody who proves a key as a member."""
    return manifest.open or manifest.is_admin(user) or is_granted(user)


def _message(asker: str, answerer: str, nonce: bytes) -> bytes:
    names = [name.encode() for name in (asker, answerer)]
    return _PEER + b"".join(len(name).to_bytes(2, "big") + name for name in names) + nonce
