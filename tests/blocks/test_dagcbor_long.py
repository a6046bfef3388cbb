"""Long documents, which the fast decoder reads by another codec: the verdict and the value are the authority's."""

from __future__ import annotations

import pytest

from debros.blocks import dagcbor

LONG_HEADS = bytes.fromhex("999a9bb9babb")
PADDING = dagcbor.encode(LONG_HEADS * 10_000)  # so many heads of long arrays might begin in it that it is not trusted


def beside(item: bytes) -> bytes:
    """A long array that ends in this item."""
    return b"\x82" + PADDING + item


def nested(levels: int, inner: bytes) -> bytes:
    return b"\x81" * levels + inner


GOOD = {
    "text": b"\x61a",
    "a map": b"\xa2\x61a\x01\x61b\xfb\x3f\xf8" + bytes(6),
    "a link": b"\xd8\x2a\x58\x25\x00\x01\x71\x12\x20" + bytes(32),
    "bytes like the beginning of a link": b"\x42\xd8\x2a",
    "bytes like a link": dagcbor.encode(b"\xd8\x2a\x58\x25\x00\x01\x71\x12\x20" + bytes(32)),
    "24 levels": nested(22, b"\x81\x01"),
    "24 levels, the last empty": nested(22, b"\x80"),
    "the greatest integer": b"\x1b" + b"\xff" * 8,
}
BAD = {
    "25 levels": nested(23, b"\x81\x01"),
    "25 levels, the last empty": nested(24, b"\x80"),
    "a date": b"\xc0\x6a2025-01-01",
    "a large integer": b"\xc2\x49\x01" + bytes(8),
    "a set": b"\xd9\x01\x02\x81\x01",
    "a shared value": b"\xd8\x1c\x81\xd8\x1d\x00",
    "an identity link": b"\xd8\x2a\x45\x00\x01\x71\x00\x00",
    "a long integer": b"\x18\x01",
    "a short float": b"\xf9\x3c\x00",
    "infinity": b"\xfb\x7f\xf0" + bytes(6),
    "undefined": b"\xf7",
    "a key twice": b"\xa2\x61a\x01\x61a\x02",
    "keys in another order": b"\xa2\x61b\x01\x61a\x02",
    "a key that is no text": b"\xa1\x01\x02",
    "an array without end": b"\x9f\x01\xff",
    "text that is not Unicode": b"\x61\xff",
    "bytes behind the value": b"\x01\x01",
    "a promise that is not kept": b"\x9a\x00\x01\x00\x00" + b"\x01" * 10,
}


@pytest.mark.parametrize("item", GOOD.values(), ids=GOOD)
def test_a_long_document_is_read_as_the_authority_reads_it(item: bytes) -> None:
    assert dagcbor.encode(dagcbor.decode_fast(beside(item))) == beside(item)
    assert dagcbor.decode_fast(beside(item)) == dagcbor.decode(beside(item))


@pytest.mark.parametrize("item", BAD.values(), ids=BAD)
def test_a_long_document_is_refused_where_the_authority_refuses_it(item: bytes) -> None:
    with pytest.raises(ValueError):
        dagcbor.decode(beside(item))
    with pytest.raises(ValueError):
        dagcbor.decode_fast(beside(item))
