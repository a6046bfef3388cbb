from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from debros.blocks import cid, dagcbor

LINKS = st.builds(cid.Link, st.sampled_from(sorted(cid.CODECS)), st.binary(min_size=32, max_size=32))
# bytes that look like a CID are what the accelerator takes for a link
CID_LIKE = st.one_of(
    st.builds(lambda digest: cid.to_bytes(digest, cid.RAW), st.binary(min_size=32, max_size=32)),
    st.builds(lambda digest: b"\x12\x20" + digest, st.binary(min_size=32, max_size=32)),
    st.builds(lambda rest: b"\x01\x71" + rest, st.binary(max_size=6)),
    st.just(b"\xd8\x2a"),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**64), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=30),
    st.binary(max_size=40),
    CID_LIKE,
    LINKS,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=8), inner, max_size=5)),
    max_leaves=20,
)


def verdict(decode: Any, data: bytes) -> bytes | None:
    """The encoding of what a decoder makes of the bytes; `None` if it refuses. Equal encodings, equal values."""
    try:
        value = decode(data)
    except ValueError:
        return None
    return dagcbor.encode(value)


@settings(max_examples=300)
@given(VALUES)
def test_a_value_decodes_to_itself(value: Any) -> None:
    data = dagcbor.encode(value)
    for decode in (dagcbor.decode, dagcbor.decode_fast):
        found = decode(data)
        assert dagcbor.encode(found) == data
        assert same(found, value)


def same(one: Any, other: Any) -> bool:
    """Python equality that tells 1 from True and 1.0, -0.0 from 0.0, and a link from a tuple."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return struct.pack(">d", one) == struct.pack(">d", other) if isinstance(one, float) else bool(one == other)


@settings(max_examples=300)
@given(st.binary(max_size=80))
@example(b"\x9b" + b"\xff" * 8)
def test_any_bytes_are_refused_or_are_the_encoding_of_what_they_decode_to(data: bytes) -> None:
    assert verdict(dagcbor.decode, data) in (None, data)
    assert verdict(dagcbor.decode_fast, data) == verdict(dagcbor.decode, data)


@settings(max_examples=300)
@given(VALUES, st.data())
def test_mutated_documents_get_the_same_verdict_from_both_decoders(value: Any, choose: st.DataObject) -> None:
    data = bytearray(dagcbor.encode(value))
    for _ in range(choose.draw(st.integers(1, 3))):
        at = choose.draw(st.integers(0, len(data)))
        kind = choose.draw(st.sampled_from(["flip", "set", "insert", "drop", "cut"]))
        if kind == "flip" and at < len(data):
            data[at] ^= 1 << choose.draw(st.integers(0, 7))
        elif kind == "set" and at < len(data):
            data[at] = choose.draw(st.sampled_from([0x18, 0x1B, 0x58, 0x5F, 0x80, 0x9F, 0xBF, 0xD8, 0xF7, 0xF9, 0xFB]))
        elif kind == "insert":
            data[at:at] = choose.draw(st.one_of(st.binary(min_size=1, max_size=3), CID_LIKE))
        elif kind == "drop":
            del data[at : at + 1]
        else:
            del data[at:]
    mutant = bytes(data)
    authority = verdict(dagcbor.decode, mutant)
    assert authority in (None, mutant)
    assert verdict(dagcbor.decode_fast, mutant) == authority


@settings(max_examples=100)
@given(st.dictionaries(st.text(max_size=6), st.integers(0, 3), max_size=8))
def test_the_order_in_which_keys_were_put_does_not_matter(items: dict[str, int]) -> None:
    data = dagcbor.encode(items)
    assert dagcbor.encode(dict(reversed(items.items()))) == data
    assert list(dagcbor.decode(data)) == sorted(items, key=lambda key: (len(key.encode()), key.encode()))


@pytest.mark.parametrize(
    ("value", "hexed"),
    [
        (0, "00"),
        (23, "17"),
        (24, "1818"),
        (255, "18ff"),
        (256, "190100"),
        (65536, "1a00010000"),
        (2**32, "1b0000000100000000"),
        (2**64 - 1, "1bffffffffffffffff"),
        (-1, "20"),
        (-24, "37"),
        (-25, "3818"),
        (-(2**64), "3bffffffffffffffff"),
        (False, "f4"),
        (True, "f5"),
        (None, "f6"),
        (1.0, "fb3ff0000000000000"),
        (-0.0, "fb8000000000000000"),
        (5e-324, "fb0000000000000001"),
        ("", "60"),
        ("é", "62c3a9"),
        (b"", "40"),
        (b"\x01\x71", "420171"),
        ([], "80"),
        ((1, 2), "820102"),
        ({}, "a0"),
        ({"bb": 2, "a": 1, "c": 3}, "a3616101616303626262" + "02"),
        ({"é": 1, "zz": 2, "z": 3}, "a3617a03627a7a0262c3a901"),
        (cid.Link(cid.RAW, bytes(32)), "d82a58250001551220" + "00" * 32),
    ],
)
def test_known_encodings(value: Any, hexed: str) -> None:
    data = bytes.fromhex(hexed)
    assert dagcbor.encode(value) == data
    assert verdict(dagcbor.decode, data) == verdict(dagcbor.decode_fast, data) == data


def test_a_link_is_not_equal_to_its_bytes() -> None:
    digest = bytes(range(32))
    as_bytes, as_link = dagcbor.encode(cid.to_bytes(digest)), dagcbor.encode(cid.Link(cid.DAG_CBOR, digest))
    assert as_bytes != as_link
    for decode in (dagcbor.decode, dagcbor.decode_fast):
        assert decode(as_bytes) == cid.to_bytes(digest)
        assert type(decode(as_link)) is cid.Link


def nested(levels: int, *, maps: bool = False) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"k": value} if maps else [value]
    return value


@pytest.mark.parametrize("maps", [False, True])
def test_24_levels_are_good_and_25_are_not(maps: bool) -> None:
    data = dagcbor.encode(nested(24, maps=maps))
    for decode in (dagcbor.decode, dagcbor.decode_fast):
        assert dagcbor.encode(decode(data)) == data
    with pytest.raises(ValueError, match="24 levels"):
        dagcbor.encode(nested(25, maps=maps))
    deeper = (b"\xa1\x61k" if maps else b"\x81") + data
    for beside in (b"", b"\x98\x40" + bytes(63)):  # also among many other items
        for decode in (dagcbor.decode, dagcbor.decode_fast):
            with pytest.raises(ValueError, match="24 levels"):
                decode(beside + deeper)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        float("-inf"),
        2**64,
        -(2**64) - 1,
        "\ud800",
        {"\udfff": 1},
        {1: 1},
        {b"k": 1},
        {None: 1},
        bytearray(b"x"),
        memoryview(b"x"),
        {1, 2},
        frozenset(),
        1j,
        object(),
        type("Text", (str,), {})("x"),
        type("Number", (int,), {})(1),
        [[object()]],
        cid.Link(0x72, bytes(32)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_canonical_form_is_not_encoded(value: Any) -> None:
    with pytest.raises(ValueError):
        dagcbor.encode(value)


def test_a_link_with_a_digest_of_another_length_is_not_encoded() -> None:
    with pytest.raises(ValueError):
        dagcbor.encode(cid.Link(cid.RAW, b"short"))


def test_large_documents_decode_alike_whatever_their_bytes() -> None:
    digests = [dagcbor.encode(n).ljust(32, b"\x99") for n in range(400)]
    for value in (digests, ["текст 漢字" * 20] * 300, {"ops": [[n, {"put": {"a": n}}] for n in range(2000)]}):
        data = dagcbor.encode(value)
        assert dagcbor.decode_fast(data) == dagcbor.decode(data) == value


def nested_in(levels: int, value: Any) -> bytes:
    return b"\x81" * levels + dagcbor.encode(value)


PIECES = st.one_of(
    VALUES.map(dagcbor.encode),
    st.binary(max_size=20),
    st.builds(nested_in, st.integers(18, 24), SCALARS),
    st.sampled_from(
        [b"", b"\x18\x01", dagcbor.encode("long" * 600), dagcbor.encode("\u0399" * 1100), b"\x9b" + b"\xff" * 8]
    ),
)


@settings(max_examples=300)
@given(st.lists(PIECES, max_size=6), st.integers(0, 130))
def test_pieces_that_are_checked_together_get_the_verdict_of_each(pieces: list[bytes], before: int) -> None:
    pieces = [dagcbor.encode(n) for n in range(before)] + pieces
    assert dagcbor.are_inner(pieces) == all(map(dagcbor.is_inner, pieces))
