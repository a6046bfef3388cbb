r"""Receipts for content: a peer signs that it holds all of it, synced to disk.

As those for entries (docs/format.md, Sync), with `log` null, and `t` when it promises to keep it until then:
`{"t"?: ms, "at": ms, "by": key, "cid": link, "log": null, "sig": bytes 64}`, domain `debros/receipt/1\0`.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from debros.blocks import dagcbor
from debros.blocks.cid import Link
from debros.errors import ProtocolError
from debros.identity.signing import Signer, verify

_DOMAIN: Final = b"debros/receipt/1\0"
_SIG: Final = b"\x63sig\x58\x40"
_SIG_SIZE: Final = len(_SIG) + 64


class ContentReceipt(NamedTuple):
    """Who holds what, as of when; `until` is 0 without a promise. Milliseconds of the signer's clock."""

    by: bytes
    link: Link
    at: int
    until: int
    raw: bytes


def sign_receipt(signer: Signer, link: Link, at: int, until: int = 0) -> bytes:
    """Return the bytes of a receipt."""
    value: dict[str, Any] = {"at": at, "by": signer.public, "cid": link, "log": None, "sig": bytes(64)}
    if until:
        value["t"] = until
    unsigned = dagcbor.encode(value)[:-_SIG_SIZE]
    return unsigned + _SIG + signer.sign(_DOMAIN + unsigned)


def parse_receipt(raw: bytes, link: Link) -> ContentReceipt:
    """Read a receipt that should be for this content.

    Raises:
        ProtocolError: it has not the form, is for something else, or is not signed by its `by`.
    """
    try:
        value = dagcbor.decode(raw)
    except ValueError as error:
        raise ProtocolError(f"a receipt that is not strict DAG-CBOR: {error}") from error
    if type(value) is not dict or value.keys() - {"t"} != {"at", "by", "cid", "log", "sig"}:
        raise ProtocolError("a receipt for content has the keys at, by, cid, log, sig, and perhaps t")
    at, by, until = value["at"], value["by"], value.get("t", 0)
    if not (_is_time(at) and _is_time(until)) or type(by) is not bytes or value["log"] is not None:
        raise ProtocolError("a receipt with a value of another type")
    if value["cid"] != link:
        raise ProtocolError("a receipt for something else than was asked for")
    if not verify(by, _DOMAIN + raw[:-_SIG_SIZE], value["sig"]):
        raise ProtocolError("a receipt that is not signed by its `by`")
    return ContentReceipt(by, link, at, until, raw)


def _is_time(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 47
