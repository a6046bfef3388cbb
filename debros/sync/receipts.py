r"""Receipts: a peer signs that it holds an entry and its ancestors, synced to disk.

`{"at": ms, "by": key, "cid": link, "log": link, "sig": bytes 64}`, signed like every block of ours over
`debros/receipt/1\0` + the bytes up to the key `sig` (docs/format.md, Sync).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from debros.blocks import cid, dagcbor
from debros.errors import ProtocolError
from debros.identity.did import did_of
from debros.identity.signing import Signer, verify

_DOMAIN: Final = b"debros/receipt/1\0"
_SIG: Final = b"\x63sig\x58\x40"
_SIG_SIZE: Final = len(_SIG) + 64
_KEYS: Final = {"at", "by", "cid", "log", "sig"}


@dataclass(frozen=True, slots=True)
class Receipt:
    """A peer's word that it holds an entry durably; `raw` can be shown to anybody, who can verify it."""

    by: str  # `did:key` of the device key that signed
    cid: str  # of the entry
    log: str  # address of the log
    at: datetime  # by the peer's clock
    raw: bytes


def sign_receipt(signer: Signer, log_id: bytes, digest: bytes, now_ms: int) -> bytes:
    """Return the bytes of a receipt for an entry, or for its ancestors through it."""
    value = {
        "at": now_ms,
        "by": signer.public,
        "cid": cid.Link(cid.DAG_CBOR, digest),
        "log": cid.Link(cid.DAG_CBOR, log_id),
        "sig": bytes(64),
    }
    unsigned = dagcbor.encode(value)[:-_SIG_SIZE]
    return unsigned + _SIG + signer.sign(_DOMAIN + unsigned)


def parse_receipt(raw: bytes, log_id: bytes, digest: bytes) -> Receipt:
    """Read a receipt that should be for this entry.

    Raises:
        ProtocolError: it has not the form, is for something else, or is not signed by its `by`.
    """
    try:
        value = dagcbor.decode(raw)
    except ValueError as error:
        raise ProtocolError(f"a receipt that is not strict DAG-CBOR: {error}") from error
    if type(value) is not dict or value.keys() != _KEYS:
        raise ProtocolError("a receipt has exactly the keys at, by, cid, log, sig")
    at, by, entry, log, sig = (value[key] for key in ("at", "by", "cid", "log", "sig"))
    if type(at) is not int or not 0 <= at < 1 << 47 or type(by) is not bytes or type(sig) is not bytes:
        raise ProtocolError("a receipt with a value of another type")
    if entry != cid.Link(cid.DAG_CBOR, digest) or log != cid.Link(cid.DAG_CBOR, log_id):
        raise ProtocolError("a receipt for something else than was asked for")
    if not verify(by, _DOMAIN + raw[:-_SIG_SIZE], sig):
        raise ProtocolError("a receipt that is not signed by its `by`")
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)
    return Receipt(did_of(by), cid.to_text(digest), "/debros/" + cid.to_text(log_id), when, raw)
