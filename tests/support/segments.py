"""Segments built by hand, and a reader of them written from docs/format.md alone: slow, and without a chunk."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

from debros.blocks import cid

STORE = bytes(range(16))


def leb128(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def section(block: bytes, codec: int = cid.DAG_CBOR) -> bytes:
    return leb128(36 + len(block)) + bytes([1, codec, 0x12, 0x20]) + sha256(block).digest() + block


def start(part: int = 1, store: bytes = STORE) -> bytes:
    """The first bytes of a segment, written out."""
    number = bytes([part]) if part < 24 else bytes([0x18, part]) if part < 256 else b"\x19" + part.to_bytes(2, "big")
    head = b"\xa3\x61v\x01\x64part" + number + b"\x65store\x50" + store
    root = b"\xd8\x2a\x58\x25\x00\x01\x71\x12\x20" + sha256(head).digest()
    return b"\x3a\xa2\x65roots\x81" + root + b"\x67version\x01" + section(head)


@dataclass
class Found:
    """What the naive reader makes of a segment."""

    blocks: list[tuple[int, bytes]]  # offset, digest
    first_bad: int | None
    verdict: str
    keep: int


def read_leb128(data: bytes, at: int) -> tuple[int, int] | None:
    value = shift = 0
    while at < len(data) and shift < 70:
        value |= (data[at] & 127) << shift
        shift += 7
        if data[at] < 128:
            return value, shift // 7
        at += 1
    return None


def whole(data: bytes, at: int) -> tuple[bytes, int, int] | None:
    """Digest, end and width of the length of the section at an offset, if it is whole."""
    length = read_leb128(data, at)
    if length is None:
        return None
    value, width = length
    end = at + width + value
    if leb128(value) != data[at : at + width] or not 36 <= value <= 36 + 2**21 or end > len(data):
        return None
    body = data[at + width : end]
    if body[:1] != b"\x01" or body[1] not in (0x55, 0x70, 0x71) or body[2:4] != b"\x12\x20":
        return None
    return (body[4:36], end, width) if sha256(body[36:]).digest() == body[4:36] else None


def read_naively(data: bytes, part: int, applied: int) -> Found:
    blocks: list[tuple[int, bytes]] = []
    bad: list[int] = []
    head = whole(data, 59)
    good = head is not None and data.startswith(start(part, data[head[1] - 16 : head[1]]))
    at = 59
    if not good:
        bad.append(0)
        at = behind(data, 0)
    while at < len(data):
        here = whole(data, at)
        if here is None:
            bad.append(at)
            at = behind(data, at)
        else:
            blocks.append((at, here[0]))
            at = here[1]
    first = bad[0] if bad else None
    if first is None:
        verdict = "damaged" if applied > len(data) else "clean"
    else:
        followed = any(offset > first for offset, _ in blocks)
        verdict = "damaged" if followed or applied > first or applied > len(data) else "torn"
    return Found(blocks, first, verdict, first if verdict == "torn" and first is not None else len(data))


def behind(data: bytes, bad: int) -> int:
    length = read_leb128(data, bad)
    if length is not None:
        there = bad + length[1] + length[0]
        if whole(data, there) is not None:
            return there
    for match in re.compile(rb"\x01[\x55\x70\x71]\x12\x20").finditer(data, bad + 1):
        for width in (4, 3, 2, 1):
            begin = match.start() - width
            if begin > bad and (found := whole(data, begin)) is not None and found[2] == width:
                return begin
    return len(data)
