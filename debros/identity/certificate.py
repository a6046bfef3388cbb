"""Certificates: one key says what another may do.

`{"by": key, "to": key, "log": link | null, "may": "device" | "write", "sig": bytes}`, exactly these keys. A
`device` certificate makes `to` a device of the user `by`, in one log or (`log` null) in all; a `write`
certificate lets the user `to` write in one log and is worth what `by` is there. Form is checked here; whether a
certificate means anything in a log is `debros.log.gate`'s.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

from debros.blocks import cid, dagcbor
from debros.identity.signing import PUBLIC_SIZE, SIGNATURE_SIZE, Signer, verify

May = Literal["device", "write"]
MAYS: Final = ("device", "write")  # in the order in which an entry lists them

_DOMAIN: Final = b"debros/cert/1\0"
_KEYS: Final = {"by", "to", "log", "may", "sig"}
_SIG: Final = b"\x63sig\x58\x40"  # the last key and the head of its value: everything before is signed


class Certificate(NamedTuple):
    """A certificate of good form. `log` is the digest of a log id, or `None` for every log (devices only)."""

    by: bytes
    to: bytes
    log: bytes | None
    may: May
    sig: bytes

    def value(self) -> dict[str, Any]:
        """The map that stands in a header's `c` or in an act."""
        link = None if self.log is None else cid.Link(cid.DAG_CBOR, self.log)
        return {"by": self.by, "to": self.to, "log": link, "may": self.may, "sig": self.sig}

    def is_signed(self) -> bool:
        """Did `by` sign it?"""
        return verify(self.by, _signed(self), self.sig)


def issue(signer: Signer, to: bytes, log: bytes | None, may: May) -> Certificate:
    """Sign a certificate for `to`.

    Raises:
        ValueError: a `write` certificate without a log, or a key or log id that has not 32 bytes.
    """
    if (may == "write" and log is None) or len(to) != PUBLIC_SIZE or (log is not None and len(log) != 32):
        raise ValueError("a certificate names a key, and a log by its digest; to write it must name the log")
    unsigned = Certificate(signer.public, to, log, may, bytes(SIGNATURE_SIZE))
    return unsigned._replace(sig=signer.sign(_signed(unsigned)))


def parse_certificate(value: object) -> Certificate:
    """Read a decoded certificate: form only.

    Raises:
        ValueError: it has not exactly the five keys, with values of their types.
    """
    if type(value) is not dict or value.keys() != _KEYS:
        raise ValueError("a certificate has exactly the keys by, to, log, may, sig")
    by, to, log, may, sig = value["by"], value["to"], value["log"], value["may"], value["sig"]
    for name, key in (("by", by), ("to", to)):
        if type(key) is not bytes or len(key) != PUBLIC_SIZE:
            raise ValueError(f"`{name}` of a certificate is not a key")
    if may not in MAYS:
        raise ValueError("`may` of a certificate is neither device nor write")
    if type(sig) is not bytes or len(sig) != SIGNATURE_SIZE:
        raise ValueError("`sig` of a certificate has not 64 bytes")
    if log is None:
        if may == "write":
            raise ValueError("a write certificate names no log")
        return Certificate(by, to, None, may, sig)
    if type(log) is not cid.Link or log.codec != cid.DAG_CBOR:
        raise ValueError("`log` of a certificate is not a link to a manifest")
    return Certificate(by, to, log.digest, may, sig)


def _signed(certificate: Certificate) -> bytes:
    block = dagcbor.encode(certificate.value())
    return _DOMAIN + block[: -len(_SIG) - SIGNATURE_SIZE]
