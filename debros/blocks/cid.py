"""Content identifiers: CIDv1 over sha2-256, the only ones debros makes.

Inside the process a CID of our own is its raw digest (32 bytes); codec and hash are constants of the place
it stands in. The 36-byte and the text form exist at the edges only, and a link inside a value is a `Link`, a
type of its own that is never equal to bytes.

CID specification: https://github.com/multiformats/cid; base32 is RFC 4648, lower case, without padding.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, NamedTuple

import libipld

DAG_CBOR: Final = 0x71
RAW: Final = 0x55
DAG_PB: Final = 0x70
CODECS: Final = frozenset({DAG_CBOR, RAW, DAG_PB})

# version 1, codec, sha2-256 (0x12), 32 bytes of digest (0x20)
PREFIX: Final = {codec: bytes((1, codec, 0x12, 0x20)) for codec in sorted(CODECS)}
SIZE: Final = 36
DIGEST_SIZE: Final = 32


class Link(NamedTuple):
    """A reference to a block: its codec (`DAG_CBOR`, `RAW` or `DAG_PB`) and its 32-byte sha2-256 digest."""

    codec: int
    digest: bytes

    def __str__(self) -> str:
        return to_text(self.digest, self.codec)


def digest_of(block: bytes) -> bytes:
    """Return the sha2-256 digest of a block, 32 bytes."""
    return sha256(block).digest()


def to_bytes(digest: bytes, codec: int = DAG_CBOR) -> bytes:
    """Return the binary CID, 36 bytes.

    Raises:
        ValueError: the codec is none of ours, or the digest has not 32 bytes.
    """
    if codec not in PREFIX or len(digest) != DIGEST_SIZE:
        raise ValueError(f"no CID of ours has codec {codec:#x} and a digest of {len(digest)} bytes")
    return PREFIX[codec] + digest


def from_bytes(cid: bytes) -> Link:
    """Parse a binary CID of one of our codecs.

    Raises:
        ValueError: it is not a CIDv1 of sha2-256 with codec dag-cbor, raw or dag-pb.
    """
    if len(cid) != SIZE or cid[0] != 1 or cid[1] not in CODECS or cid[2:4] != b"\x12\x20":
        raise ValueError(f"not a CIDv1 of sha2-256 with a codec of ours: {cid[:40].hex()}")
    return Link(cid[1], cid[4:])


def to_text(digest: bytes, codec: int = DAG_CBOR) -> str:
    """Return the text form, base32 lower case, e.g. `bafyrei...` for dag-cbor; errors as for `to_bytes`."""
    text: str = libipld.encode_multibase("b", to_bytes(digest, codec))
    return text


def from_text(text: str) -> Link:
    """Parse the text form that `to_text` writes.

    Raises:
        ValueError: it is not the lower-case base32 of a CID of ours.
    """
    try:
        link = from_bytes(libipld.decode_multibase(text)[1])
    except ValueError as error:
        raise ValueError(f"not a CID: {text[:80]!r}") from error
    if to_text(link.digest, link.codec) != text:  # one text for one CID: no other base, no upper case, no stray bits
        raise ValueError(f"not a CID in its one text form: {text[:80]!r}")
    return link


def parse(text: str) -> Link:
    """Parse a CID in any text form: version 1 in any base, or version 0 (`Qm...`), which is dag-pb.

    Raises:
        ValueError: it is no CID, or not one of sha2-256 with codec dag-cbor, raw or dag-pb.
    """
    try:
        if len(text) == 46 and text.startswith("Qm"):
            raw = libipld.decode_multibase(f"z{text}")[1]
            if len(raw) != 34 or raw[:2] != b"\x12\x20":
                raise ValueError("no multihash of sha2-256")
            return Link(DAG_PB, raw[2:])
        return from_bytes(libipld.decode_multibase(text)[1])
    except ValueError as error:
        raise ValueError(f"not a CID that is known here: {text[:80]!r}: {error}") from error


def to_text_v0(digest: bytes) -> str:
    """Return the text of a CID of version 0, `Qm...`."""
    text: str = libipld.encode_multibase("z", b"\x12\x20" + digest)
    return text[1:]
