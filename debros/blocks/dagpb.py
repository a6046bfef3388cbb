"""DAG-PB: the protobuf form of the nodes that IPFS builds files and directories of, written and read by hand.

A node is links, then data: `message PBLink {bytes Hash = 1; string Name = 2; uint64 Tsize = 3}`,
`message PBNode {repeated PBLink Links = 2; bytes Data = 1}`. Only what the specification allows is read: known fields,
in order, once, with minimal lengths; data may come before the links, as old writers had it.

DAG-PB specification: https://ipld.io/specs/codecs/dag-pb/spec/; varints: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from debros.blocks import cid
from debros.blocks.cid import Link
from debros.errors import ContentError

MAX_VARINT: Final = (1 << 64) - 1


class PBLink(NamedTuple):
    """A link: the binary CID as it is written (34 bytes for version 0, 36 for version 1), name, and Tsize.

    `total` is what the links below it, and itself, take in encoded blocks, in bytes; nothing rests on it.
    """

    cid: bytes
    name: bytes
    total: int

    @property
    def link(self) -> Link:
        """What is linked to; a CID of version 0 is dag-pb.

        Raises:
            ContentError: it is of a codec or a hash that is not known here.
        """
        return link_of(self.cid)


def link_of(raw: bytes) -> Link:
    """Return what a binary CID of either version names; errors as for `PBLink.link`."""
    if len(raw) == 34 and raw[:2] == b"\x12\x20":
        return Link(cid.DAG_PB, raw[2:])
    try:
        return cid.from_bytes(raw)
    except ValueError as error:
        raise ContentError(
            f"{error}; content is read in the codecs raw, dag-pb and dag-cbor, hashed with sha2-256"
        ) from error


def varint(value: int) -> bytes:
    """Return the LEB128 of a number of at most 64 bits."""
    if value < 0x80:
        return bytes((value,))
    groups = [value >> shift & 127 for shift in range(0, value.bit_length(), 7)]
    return bytes([group | 128 for group in groups[:-1]] + groups[-1:])


def encode_link(link: PBLink) -> bytes:
    """Return a link as it stands in a node, with its field's key and length."""
    name = b"\x12" + varint(len(link.name)) + link.name
    inside = b"\x0a" + varint(len(link.cid)) + link.cid + name + b"\x18" + varint(link.total)
    return b"\x12" + varint(len(inside)) + inside


def encode(links: Sequence[PBLink], data: bytes) -> bytes:
    """Return the bytes of a node. Links of directories must come sorted by name, as bytes; they are not sorted here."""
    return b"".join(map(encode_link, links)) + b"\x0a" + varint(len(data)) + data


def decode(block: bytes) -> tuple[list[PBLink], bytes]:
    """Return links and data of a node; no data reads as empty.

    Raises:
        ContentError: it is not dag-pb, or not in the form that the specification allows.
    """
    links: list[PBLink] = []
    data: bytes | None = None
    done = False  # a run of links has ended
    for number, value in fields(block):
        if number == 2 and isinstance(value, bytes):
            if done:
                raise ContentError("not dag-pb: links in two places")
            links.append(_link(value))
        elif number == 1 and isinstance(value, bytes):
            if data is not None:
                raise ContentError("not dag-pb: data twice")
            data, done = value, bool(links)
        else:
            raise ContentError(f"not dag-pb: a node has no field {number} of this kind")
    return links, data or b""


def _link(raw: bytes) -> PBLink:
    found: dict[int, bytes | int] = {}
    last = 0
    for number, value in fields(raw):
        if number <= last or number > 3 or isinstance(value, int) != (number == 3):
            raise ContentError("not dag-pb: the fields of a link are hash, name and size, in this order")
        found[number] = value
        last = number
    if not found.get(1):
        raise ContentError("not dag-pb: a link without a hash")
    hashed, name, total = found[1], found.get(2, b""), found.get(3, 0)
    assert isinstance(hashed, bytes)
    assert isinstance(name, bytes)
    assert isinstance(total, int)
    return PBLink(hashed, name, total)


def fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Read the fields of a protobuf message: number, and bytes or an unsigned integer.

    Raises:
        ContentError: it is cut off, a varint is not minimal or beyond 64 bits, or a field is of another wire type.
    """
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
        elif wire == 2:
            length, at = _varint(message, at)
            if length > end - at:
                raise ContentError("not protobuf: a field that the end cuts off")
            yield number, message[at : at + length]
            at += length
        else:
            raise ContentError(f"not protobuf as IPFS writes it: wire type {wire}")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for width, byte in enumerate(message[at : at + 10]):
        value |= (byte & 127) << 7 * width
        if byte < 128:
            if value > MAX_VARINT or (width and byte == 0):
                break
            return value, at + width + 1
    raise ContentError("not protobuf: a number that is cut off, not minimal, or beyond 64 bits")
