"""The UnixFS message inside a dag-pb node: what kind of thing it is, how large, and where its parts begin.

`Type = 1, Data = 2, filesize = 3, blocksizes = 4 (repeated), hashType = 5, fanout = 6, mode = 7, mtime = 8`.

UnixFS specification: https://specs.ipfs.tech/unixfs/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from debros.blocks import dagpb
from debros.blocks.dagpb import PBLink, varint
from debros.errors import ContentError

RAW: Final = 0
DIRECTORY: Final = 1
FILE: Final = 2
SYMLINK: Final = 4
SHARD: Final = 5
_KINDS: Final = frozenset({RAW, DIRECTORY, FILE, SYMLINK, SHARD})

MURMUR3: Final = 0x22  # the hash of names in a sharded directory: murmur3-x64-64
MAX_FANOUT: Final = 1024


@dataclass(frozen=True, slots=True)
class Node:
    """A decoded node: `sizes` are the content bytes below each link, `data` those in the node, or a shard's bitmap."""

    kind: int
    data: bytes
    size: int  # of the whole content below, in bytes
    sizes: tuple[int, ...]
    fanout: int
    links: tuple[PBLink, ...]


def file_data(data: bytes, size: int, sizes: list[int]) -> bytes:
    """Return the message of a file, or of a part of one."""
    inside = b"\x12" + varint(len(data)) + data if data else b""
    return b"\x08\x02" + inside + b"\x18" + varint(size) + b"".join(b"\x20" + varint(part) for part in sizes)


DIRECTORY_DATA: Final = b"\x08\x01"


def symlink_data(target: bytes) -> bytes:
    """Return the message of a symbolic link."""
    return b"\x08\x04\x12" + varint(len(target)) + target


def shard_data(bitmap: bytes, fanout: int) -> bytes:
    """Return the message of a shard of a directory; `bitmap` says which slots are taken, big-endian, slot 0 last."""
    return b"\x08\x05\x12" + varint(len(bitmap)) + bitmap + b"\x28" + varint(MURMUR3) + b"\x30" + varint(fanout)


def decode(block: bytes) -> Node:
    """Return a node.

    Raises:
        ContentError: it is not dag-pb, not UnixFS, or contradicts itself.
    """
    links, message = dagpb.decode(block)
    kind, data, size, sizes, hashed, fanout = -1, b"", None, [], 0, 0
    for number, value in dagpb.fields(message):
        if number in (7, 8):  # mode and time of change: kept in the block, of no meaning here
            continue
        if number == 4 and isinstance(value, bytes):  # packed: some writers do
            raise ContentError("not UnixFS as it is specified: packed block sizes")
        if (number == 2) != isinstance(value, bytes) or not 1 <= number <= 6:
            raise ContentError(f"not UnixFS: field {number}")
        match number, value:
            case 1, int():
                kind = value
            case 2, bytes():
                data = value
            case 3, int():
                size = value
            case 4, int():
                sizes.append(value)
            case 5, int():
                hashed = value
            case 6, int():
                fanout = value
    if kind not in _KINDS:
        raise ContentError("not UnixFS" if kind < 0 else f"UnixFS of a kind that is not known here: {kind}")
    if kind in (FILE, RAW):
        if len(sizes) != len(links):
            raise ContentError(f"a file of {len(links)} parts gives the sizes of {len(sizes)}")
        total = len(data) + sum(sizes)
        if size is not None and size != total:
            raise ContentError(f"a file says it has {size} bytes, and its parts have {total}")
        size = total
    if kind == SHARD and (
        hashed != MURMUR3 or not 8 <= fanout <= MAX_FANOUT or fanout & (fanout - 1) or len(data) * 8 > fanout
    ):
        raise ContentError(
            f"a sharded directory of hash {hashed:#x} and fan-out {fanout}; murmur3 (0x22), a power of two"
        )
    return Node(kind, data, size or 0, tuple(sizes), fanout, tuple(links))
