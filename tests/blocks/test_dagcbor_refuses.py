"""Bytes that are no canonical document, each for one reason, and documents made to exhaust a decoder."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from debros.blocks import dagcbor

LINK = "d82a58250001711220" + "00" * 32

MALFORMED = {
    "nothing": "",
    "integer of two bytes below 24": "1817",
    "integer of three bytes below 256": "1900ff",
    "integer of five bytes below 65536": "1a0000ffff",
    "integer of nine bytes below 2**32": "1b00000000ffffffff",
    "negative integer of two bytes": "3800",
    "text length of two bytes below 24": "780161",
    "bytes length of three bytes below 256": "59000100",
    "array length of two bytes below 24": "980100",
    "array length of nine bytes": "9b000000000000000100",
    "map length of two bytes below 24": "b801616100",
    "key length of two bytes below 24": "a178016100",
    "integer cut": "1901",
    "text cut": "6261",
    "bytes cut": "4200",
    "array cut": "8200",
    "map without its last value": "a16161",
    "map without its last pair": "a2616100",
    "float cut": "fb3ff00000000000",
    "link cut": LINK[:-2],
    "reserved length 28": "1c",
    "reserved length 29": "7d",
    "reserved length 30": "9e",
    "indefinite bytes": "5f4100ff",
    "indefinite text": "7f6161ff",
    "indefinite array": "9f00ff",
    "indefinite map": "bf616100ff",
    "indefinite integer": "1f",
    "break alone": "ff",
    "break inside an array": "81ff",
    "undefined": "f7",
    "simple value 0": "e0",
    "simple value 19": "f3",
    "simple value of two bytes": "f820",
    "false in two bytes": "f814",
    "float of 16 bits": "f93e00",
    "float of 32 bits": "fa3fc00000",
    "nan": "fb7ff8000000000000",
    "nan with a payload": "fb7ff0000000000001",
    "nan of 16 bits": "f97e00",
    "infinity": "fb7ff0000000000000",
    "minus infinity": "fbfff0000000000000",
    "duplicate keys": "a2616100616101",
    "keys in alphabetic, not length order": "a262616100616200",
    "keys of one length out of order": "a2616200616100",
    "integer key": "a10000",
    "bytes key": "a1416100",
    "null key": "a1f600",
    "array key": "a18000",
    "invalid UTF-8": "61ff",
    "overlong UTF-8": "62c080",
    "surrogate in UTF-8": "63eda080",
    "UTF-8 cut": "61c3",
    "invalid UTF-8 in a key": "a161ff00",
    "bytes behind the value": "0000",
    "bytes behind a map": "a000",
    "tag 0, a date": "c074323032302d30312d30315430303a30303a30305a",
    "tag 2, a large integer": "c249010000000000000000",
    "tag 3, a large negative integer": "c349010000000000000000",
    "tag 24, CBOR inside": "d818420102",
    "tag 28, shared": "d81c80",
    "tag 29, reference": "82d81c80d81d00",
    "tag 37, UUID": "d82550" + "00" * 16,
    "tag 258, a set": "d901028100",
    "tag 55799, self-described": "d9d9f700",
    "tag 42 in three bytes": "d9002a" + LINK[4:],
    "tag 42 in five bytes": "da0000002a" + LINK[4:],
    "tag 42 over text": "d82a6161",
    "tag 42 over an integer": "d82a00",
    "tag 42 over no bytes": "d82a40",
    "tag 42 over a CID without the zero byte": "d82a582401711220" + "00" * 32,
    "tag 42 over a CID with another first byte": "d82a58250101711220" + "00" * 32,
    "tag 42 over a CID of version 0": "d82a5823001220" + "00" * 32,
    "tag 42 over a CID of another codec": "d82a58250001721220" + "00" * 32,
    "tag 42 over a CID of another hash": "d82a58250001711320" + "00" * 32,
    "tag 42 over a CID of a longer digest": "d82a58260001711221" + "00" * 33,
    "tag 42 over a tagged value": "d82ad82a582500",
    "link behind a long length": "d82a590025" + "0001711220" + "00" * 32,
}

BOMBS: dict[str, Callable[[], bytes]] = {
    "an array of 2**64 - 1 items": lambda: b"\x9b" + b"\xff" * 8,
    "a map of 2**64 - 1 pairs": lambda: b"\xbb" + b"\xff" * 8,
    "text of 2**64 - 1 bytes": lambda: b"\x7b" + b"\xff" * 8,
    "bytes of 2**63 bytes": lambda: b"\x5b\x80" + bytes(7),
    "an array of 2**31 items": lambda: b"\x9a\x7f\xff\xff\xff\x00",
    "a million arrays, one in the other": lambda: b"\x81" * 1_000_000 + b"\x00",
    "half a million maps, one in the other": lambda: b"\xa1\x61a" * 500_000 + b"\x00",
    "arrays that promise all that is left": lambda: b"\x9a\x00\x08\x00\x00" * 900 + bytes(1 << 20),
    "maps that promise all that is left": lambda: b"\xba\x00\x04\x00\x00\x61a" * 900 + bytes(1 << 20),
    "maps that promise 65,535 pairs": lambda: b"\xb9\xff\xff\x61a" * 900 + bytes(1 << 18),
    "shared references, doubled 30 times": lambda: b"\x82\xd8\x1c\x80" + b"\x82\xd8\x1d\x00\xd8\x1d\x00" * 30,
    "a million bytes behind the value": lambda: b"\x00" * 1_000_000,
}


@pytest.mark.parametrize("decode", [dagcbor.decode, dagcbor.decode_fast])
@pytest.mark.parametrize("hexed", MALFORMED.values(), ids=MALFORMED)
def test_malformed_documents_are_refused(decode: Callable[[bytes], object], hexed: str) -> None:
    for data in (bytes.fromhex(hexed), b"\x81" + bytes.fromhex(hexed), b"\xa1\x61k" + bytes.fromhex(hexed)):
        with pytest.raises(ValueError):
            decode(data)


def test_the_link_in_the_table_is_good_when_nothing_is_wrong_with_it() -> None:
    assert dagcbor.encode(dagcbor.decode(bytes.fromhex(LINK))).hex() == LINK


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("decode", [dagcbor.decode, dagcbor.decode_fast])
def test_bombs_are_refused_and_take_no_memory(decode: Callable[[bytes], object], bomb: Callable[[], bytes]) -> None:
    data = bomb()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError):
            decode(data)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
