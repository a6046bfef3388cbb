"""CARv1 segments as pure functions over bytes: what a section is, what is bad, and where to go on behind it.

A segment is a 59-byte CAR header, whose one root is the segment head, then sections, of which the head is the
first. A section is the minimal LEB128 of (36 + length), the CID, and the block. What is *bad*, how a reader finds
its way behind it, and when a bad end may be cut is docs/format.md, Log file; `walk` and `examine` are that text.

A position names a section in a whole log: segment number << 32 | offset in the segment. Files are read through
a `pread`, in chunks, so a segment of 256 MiB takes no more memory than its largest section.

CARv1 specification: https://ipld.io/specs/transport/car/carv1/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from debros.blocks import cid, dagcbor

if TYPE_CHECKING:
    from debros.blocks.archive import export as export
    from debros.blocks.archive import load as load

Read: TypeAlias = Callable[[int, int], bytes]  # (size, offset) -> that many bytes, fewer where the file ends

MAX_BLOCK: Final = 1 << 21
MAX_LENGTH: Final = cid.SIZE + MAX_BLOCK  # what the length of a section may say
HEADER_SIZE: Final = 59  # of the CAR header with its length; the segment head begins here
OFFSET_BITS: Final = 32

_ROOT: Final = bytes.fromhex("3a a265 726f6f7473 81 d82a582500 01711220")  # "roots": [link to ...
_VERSION: Final = bytes.fromhex("67 76657273696f6e 01")  # "version": 1
_CODEC: Final = {prefix: codec for codec, prefix in cid.PREFIX.items()}
_ANY_PREFIX: Final = re.compile(rb"\x01[\x55\x70\x71]\x12\x20")
_CHUNK: Final = 1 << 18
_NEAR: Final = 4096  # bytes that are read where a section begins, before its length is known
_WIDEST: Final = 10  # bytes of a LEB128 that are looked at
_LONGEST: Final = 4  # bytes of a length up to MAX_LENGTH


class Section(NamedTuple):
    """A whole section: its block hashes to its CID.

    `doubtful` when it was read behind a bad section: it may have lain inside a value that somebody chose, so
    what it says must be checked as if a peer had sent it.
    """

    position: int
    codec: int
    digest: bytes
    block: bytes
    doubtful: bool


class Damage(NamedTuple):
    """A run of bytes that is no section. `size` counts up to the next whole section, or to the end of the file."""

    position: int
    size: int
    what: str


class Verdict(NamedTuple):
    """What one segment is. Offsets count from the beginning of its file.

    `torn`: from `first_bad` on there is nothing that was acknowledged, and the file may be cut to `keep` bytes (0:
    the file may go). `damaged`: nothing may be cut.
    """

    state: Literal["clean", "torn", "damaged"]
    first_bad: int | None
    keep: int
    damage: tuple[Damage, ...]


def position(part: int, offset: int) -> int:
    """Return the position of an offset in a segment."""
    return part << OFFSET_BITS | offset


def split(position: int) -> tuple[int, int]:
    """Return segment number and offset of a position."""
    return position >> OFFSET_BITS, position & 0xFFFFFFFF


def section_head(codec: int, digest: bytes, size: int) -> bytes:
    """Return what precedes a block of `size` bytes in its section: length and CID.

    Raises:
        ValueError: the codec is none of ours, or the digest has not 32 bytes.
    """
    if len(digest) != cid.DIGEST_SIZE:
        raise ValueError(f"a digest of {len(digest)} bytes")
    return _before_digest(codec, size) + digest


@lru_cache(maxsize=4096)  # blocks of a few sizes follow each other
def _before_digest(codec: int, size: int) -> bytes:
    length = size + cid.SIZE
    groups = [length >> shift & 127 for shift in range(0, length.bit_length(), 7)]
    if codec not in cid.PREFIX:
        raise ValueError(f"no CID of ours has codec {codec:#x}")
    return bytes([group | 128 for group in groups[:-1]] + groups[-1:]) + cid.PREFIX[codec]


def segment_start(part: int, store: bytes) -> bytes:
    """Return the first bytes of a segment: CAR header and segment head. `store` is 16 bytes, equal in all of a log."""
    head = dagcbor.encode({"v": 1, "part": part, "store": store})
    digest = cid.digest_of(head)
    return _ROOT + digest + _VERSION + section_head(cid.DAG_CBOR, digest, len(head)) + head


def store_of(read: Read, part: int) -> bytes:
    """Return the store that segment number `part` says it belongs to, 16 bytes.

    Raises:
        ValueError: CAR header or segment head are bad; the text says how.
    """
    header = read(HEADER_SIZE, 0)
    digest = header[len(_ROOT) : len(_ROOT) + 32]
    if header != _ROOT + digest + _VERSION:
        raise ValueError("the CAR header is not that of a segment")
    codec, found, block, _ = section_at(read, HEADER_SIZE)
    if codec != cid.DAG_CBOR or found != digest:
        raise ValueError("the root of the CAR header is not the first section")
    head = dagcbor.decode(block)
    if not isinstance(head, dict) or head.keys() != {"v", "part", "store"}:
        raise ValueError("the first section is no segment head")
    store = head["store"]
    if dagcbor.encode(head["v"]) != b"\x01" or type(store) is not bytes or len(store) != 16:
        raise ValueError("the segment head is not of version 1")
    if head["part"] != part or type(head["part"]) is not int:
        raise ValueError(f"the segment head says it is part {head['part']!r}, the name says {part}")
    return store


def section_at(read: Read, offset: int) -> tuple[int, bytes, bytes, int]:
    """Read the section at an offset; return codec, digest, block and the offset behind it.

    Raises:
        ValueError: the section is bad; the text says how.
    """
    return _section_in(read(_NEAR, offset), 0, read, offset)


def pair_at(read: Read, first: int, second: int) -> tuple[tuple[int, bytes, bytes], tuple[int, bytes, bytes]]:
    """Read the sections at two offsets, by one read where both are small and lie near; return codec, digest and block of each.

    Raises:
        ValueError: a section is bad; the text says how.
    """
    data = read(_NEAR, first)
    one = _section_in(data, 0, read, first)
    near = second - first
    two = _section_in(data, near, read, second) if 0 < near < len(data) - _WIDEST else section_at(read, second)
    return one[:3], two[:3]


def _section_in(data: bytes, at: int, read: Read, offset: int) -> tuple[int, bytes, bytes, int]:
    """Return the section that begins at a place of `data` and at an offset of the file, as `section_at`."""
    length, width = _length(data[at : at + _WIDEST])
    if not width:
        raise ValueError("a length without an end")
    if width > 1 and data[at + width - 1] == 0:
        raise ValueError("a length that is not minimal")
    if not cid.SIZE <= length <= MAX_LENGTH:
        raise ValueError(f"a length of {length}")
    if len(data) - at < width + length:
        data, at = read(width + length, offset), 0
        if len(data) < width + length:
            raise ValueError("a section that the end of the file cuts off")
    begin, end = at + width, at + width + length
    start = begin + cid.SIZE
    codec = _CODEC.get(data[begin : begin + 4])
    if codec is None:
        raise ValueError("a section without a CID of ours")
    digest, block = data[begin + 4 : start], data[start:end]
    if sha256(block).digest() != digest:
        raise ValueError("a block that does not hash to its CID")
    return codec, digest, block, offset + width + length


def walk(read: Read, size: int, part: int, start: int = 0, *, doubtful: bool = False) -> Iterator[Section | Damage]:
    """Read the sections of a segment of `size` bytes from the offset `start` on, which is 0 or where one begins.

    Every section is hashed. From 0 the CAR header and the segment head are checked too, and the head is the first
    section. `Damage` comes where bad sections are; what follows it is doubtful, and so is everything if the
    caller says so.
    """
    base = position(part, 0)
    at, flaw = start, None
    if start == 0:
        try:
            store_of(read, part)
            at = HEADER_SIZE
        except ValueError as error:
            flaw = str(error)
    while at < size or flaw is not None:
        if flaw is None:
            found, at = _whole_run(read(min(_CHUNK, size - at), at), base, at, doubtful)
            yield from found
            if at == size:
                return
            try:  # the chunk ended inside this one, or it is bad
                codec, digest, block, end = section_at(read, at)
                if end > size:
                    raise ValueError("a section that the end of the file cuts off")
            except ValueError as error:
                flaw = str(error)
            else:
                yield Section(base | at, codec, digest, block, doubtful)
                at = end
                continue
        behind = _behind(read, size, at)
        yield Damage(base | at, behind - at, flaw)
        at, flaw, doubtful = behind, None, True


def examine(read: Read, size: int, part: int, applied: int = 0, start: int = 0) -> Verdict:
    """Judge one segment of `size` bytes. `applied` is the view's offset in it, 0 if it has none here.

    With a `start` above 0, where a section begins, what lies before is not read and taken as good.
    """
    damage: list[Damage] = []
    followed = False
    for found in walk(read, size, part, start):
        if isinstance(found, Damage):
            damage.append(found)
        elif damage:
            followed = True
    if not damage:
        return Verdict("clean" if applied <= size else "damaged", None, size, ())
    first_bad = split(damage[0].position)[1]
    if followed or applied > first_bad:  # an `applied` beyond the end is beyond the bad section too
        return Verdict("damaged", first_bad, size, tuple(damage))
    return Verdict("torn", first_bad, first_bad, tuple(damage))


def _whole_run(data: bytes, base: int, at: int, doubtful: bool) -> tuple[list[Section], int]:
    """Read whole sections from a chunk that lies at `at`; return them and where the first that is not begins.

    The hot loop of every replay. Whatever it does not take for a whole section `section_at` judges.
    """
    found: list[Section] = []
    keep = found.append
    here, end = 0, len(data)
    while here + 40 < end:
        length = data[here]
        width = 1
        if length > 127:
            length, width = _length(data[here : here + _LONGEST])
            if data[here + width - 1] == 0:
                break
        begin = here + width
        codec = _CODEC.get(data[begin : begin + 4])
        stop = begin + length
        if codec is None or stop > end or not cid.SIZE <= length <= MAX_LENGTH:
            break
        digest, block = data[begin + 4 : begin + 36], data[begin + 36 : stop]
        if sha256(block).digest() != digest:
            break
        keep(Section(base | at + here, codec, digest, block, doubtful))
        here = stop
    return found, at + here


def _length(data: bytes) -> tuple[int, int]:
    """Decode the LEB128 at the beginning of `data`: value and width in bytes, (0, 0) if it has no end there."""
    if len(data) > 1 and data[0] > 127 > data[1]:  # what most are
        return data[0] & 127 | data[1] << 7, 2
    value = 0
    for width, byte in enumerate(data[:_WIDEST], 1):
        value |= (byte & 127) << 7 * (width - 1)
        if byte < 128:
            return value, width
    return 0, 0


def _behind(read: Read, size: int, bad: int) -> int:
    """Return where to go on behind the bad section at `bad`; `size` if no whole section follows."""

    def is_whole(offset: int) -> bool:
        try:
            return section_at(read, offset)[3] <= size
        except ValueError:
            return False

    length, width = _length(read(10, bad))
    if width and bad + width + length < size and is_whole(bad + width + length):
        return bad + width + length
    at = bad + 1
    while at < size:
        data = read(min(_CHUNK, size - at), at)
        for prefix in _ANY_PREFIX.finditer(data):
            there = at + prefix.start()
            for width in range(_LONGEST, 0, -1):  # a byte above 127 before a length looks like a part of it
                if there - width > bad and is_whole(there - width):
                    return there - width
        if len(data) < 4:
            break
        at += len(data) - 3  # a prefix may lie across two chunks
    return size


def __getattr__(name: str) -> object:
    """Load `export` and `load`, of CAR files of any make, when they are first used (PEP 562)."""
    if name in ("export", "load"):
        from debros.blocks import archive

        found: object = getattr(archive, name)
        return found
    raise AttributeError(f"module 'debros.blocks.car' has no attribute {name!r}")
