"""Hostile bytes at the gate: each gets a verdict of the gate, fast and without harm, and none gets in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from debros.blocks import cid, dagcbor
from debros.errors import (
    BodyError,
    ChainError,
    ClockError,
    EntryHeldError,
    EntryRefusedError,
    FutureError,
    MalformedEntryError,
    MissingBodyError,
    NewerFormatError,
    NotAllowedError,
    OrphanError,
    SignatureError,
    WrongLogError,
)
from debros.identity.certificate import issue
from tests.support.entries import (
    NOW,
    OPEN,
    T0,
    TEAM,
    USER,
    A,
    D,
    E,
    MemoryLog,
    U,
    body,
    digest,
    fields,
    first,
    link,
    post,
    resign,
    sign,
)

RAW = body([post()])
ROOT = first(A, USER, RAW)
SALT = b"dsaltP" + bytes(16)

Bomb = tuple[bytes, bytes | None]


def bent(**more: Any) -> bytes:
    """The second entry of A's chain, signed, with something wrong."""
    return sign(A, fields(A.public, USER, RAW, **{"p": link(digest(ROOT)), "s": 1, "t": T0 + 1, **more}))


GOOD = bent()


def with_body(raw: bytes) -> Bomb:
    """A well-signed header over any bytes: what a writer with the right to write can do."""
    return bent(b=link(digest(raw)), l=len(raw)), raw


def spliced(old: bytes, new: bytes) -> Bomb:
    assert GOOD.count(old) == 1
    return resign(A, GOOD.replace(old, new)), RAW


BOMBS: dict[str, tuple[Callable[[], Bomb], type[Exception]]] = {
    # step 1: bytes
    "nothing": (lambda: (b"", RAW), MalformedEntryError),
    "one byte": (lambda: (b"\xaa", RAW), MalformedEntryError),
    "a gigabyte promised": (lambda: (b"\x5b" + bytes(4) + b"\x40" + bytes(3), RAW), MalformedEntryError),
    "2^64 - 1 items promised": (lambda: (b"\x9b" + b"\xff" * 8, RAW), MalformedEntryError),
    "2^64 - 1 pairs promised": (lambda: (b"\xbb" + b"\xff" * 8, RAW), MalformedEntryError),
    "2^64 - 1 bytes of text promised": (lambda: (b"\xa1\x7b" + b"\xff" * 8, RAW), MalformedEntryError),
    "4,096 arrays, one in the other": (lambda: (b"\x81" * 4096, RAW), MalformedEntryError),
    "4,096 maps, one in the other": (lambda: ((b"\xa1\x61a" * 1366)[:4096], RAW), MalformedEntryError),
    "a million arrays": (lambda: (b"\x81" * 1_000_000, RAW), MalformedEntryError),
    "4,097 bytes that are fine": (lambda: (first(A, USER, RAW, x={"y": bytes(4097 - 228)}), RAW), MalformedEntryError),
    "indefinite array without an end": (lambda: (b"\x9f" * 4096, RAW), MalformedEntryError),
    "indefinite text": (lambda: spliced(b"ap", b"\x7f\x61p\xff"), MalformedEntryError),
    "a tag around the header": (lambda: (b"\xd9\xd9\xf7" + GOOD, RAW), MalformedEntryError),
    "a shared reference to itself": (lambda: (b"\xd8\x1c\x81\xd8\x1d\x00", RAW), MalformedEntryError),
    "4,096 tags": (lambda: (b"\xc1" * 4096, RAW), MalformedEntryError),
    "two headers": (lambda: (GOOD + GOOD, RAW), MalformedEntryError),
    "half a header": (lambda: (GOOD[:110], RAW), MalformedEntryError),
    "a key that is a number": (lambda: spliced(b"av\x01", b"\x00\x01"), MalformedEntryError),
    "a key that is bytes": (lambda: spliced(b"av\x01", b"Av\x01"), MalformedEntryError),
    "a key twice": (lambda: (b"\xab" + spliced(b"av\x01", b"av\x01av\x01")[0][1:], RAW), MalformedEntryError),
    "a key that is not UTF-8": (lambda: spliced(b"av\x01", b"a\xff\x01"), MalformedEntryError),
    "a number in nine bytes": (lambda: spliced(b"as\x01", b"as\x1b" + bytes(7) + b"\x01"), MalformedEntryError),
    "a bignum": (lambda: spliced(b"as\x01", b"as\xc2A\x01"), MalformedEntryError),
    "an identity CID": (
        lambda: spliced(b"am\xd8\x2aX\x25\x00\x01\x71\x12", b"am\xd8\x2aX\x25\x00\x01\x71\x00"),
        MalformedEntryError,
    ),
    "a CID of version 0": (
        lambda: spliced(b"am\xd8\x2aX\x25\x00\x01\x71\x12\x20", b"am\xd8\x2aX\x23\x00\x12\x20"),
        MalformedEntryError,
    ),
    "a link of 36 bytes": (lambda: spliced(b"am\xd8\x2aX\x25\x00", b"am\xd8\x2aX\x24"), MalformedEntryError),
    # steps 2 and 3: form
    "version 2^64 - 1": (lambda: (bent(v=2**64 - 1), RAW), NewerFormatError),
    "version -2^64": (lambda: (bent(v=-(2**64)), RAW), MalformedEntryError),
    "version 1.0": (lambda: spliced(b"av\x01", b"av\xfb\x3f\xf0" + bytes(6)), MalformedEntryError),
    "256 unknown keys": (
        lambda: (sign(A, {f"{n:02x}": 0 for n in range(256)} | fields(A.public, USER, RAW)), RAW),
        NewerFormatError,
    ),
    "clock 2^63": (lambda: (bent(t=2**63), RAW), MalformedEntryError),
    "clock 2^64 - 1": (lambda: (bent(t=2**64 - 1), RAW), MalformedEntryError),
    "clock -1": (lambda: (bent(t=-1), RAW), MalformedEntryError),
    "number 2^53": (lambda: (bent(s=2**53), RAW), MalformedEntryError),
    "a body of 2^20 + 1": (lambda: (bent(l=2**20 + 1), RAW), MalformedEntryError),
    "33 links": (lambda: (bent(n=[link(n.to_bytes(32, "big")) for n in range(33)]), RAW), MalformedEntryError),
    "a link to itself is impossible, one twice is not": (
        lambda: (bent(n=[link(bytes(32))] * 2), RAW),
        MalformedEntryError,
    ),
    "a thousand certificates": (lambda: (first(A, USER, RAW, c=[None] * 1000), RAW), MalformedEntryError),
    "certificates on a later entry": (
        lambda: (bent(c=[issue(A, D.public, None, "device").value()]), RAW),
        MalformedEntryError,
    ),
    "an unknown kind of certificate, at length": (
        lambda: (first(A, USER, RAW, c=[{"may": "m" * 3000}]), RAW),
        NewerFormatError,
    ),
    "an author of no bytes": (lambda: (bent(a=b""), RAW), MalformedEntryError),
    "an author of 3,000 bytes": (lambda: (bent(a=bytes(3000)), RAW), MalformedEntryError),
    "no signature": (lambda: (dagcbor.encode(fields(A.public, USER, RAW)), RAW), MalformedEntryError),
    # steps 4 and 5: whose
    "another log's entry": (lambda: (first(A, OPEN, RAW), RAW), WrongLogError),
    "another log's entry, its link bent here": (
        lambda: (first(A, OPEN, RAW).replace(OPEN.log_id, USER.log_id), RAW),
        SignatureError,
    ),
    "a stranger's signature": (lambda: (resign(E, GOOD), RAW), SignatureError),
    "the author is not the key": (lambda: (GOOD.replace(A.public, E.public), RAW), SignatureError),
    "the signature of the entry before": (lambda: (GOOD[:-64] + ROOT[-64:], RAW), SignatureError),
    "a signature of zeros": (lambda: (GOOD[:-64] + bytes(64), RAW), SignatureError),
    "the key of zeros": (
        lambda: (dagcbor.encode({**fields(bytes(32), USER, RAW), "sig": bytes(64)}), RAW),
        SignatureError,
    ),
    "an author that is no point": (
        lambda: (dagcbor.encode({**fields(b"\xff" * 32, USER, RAW), "sig": bytes(64)}), RAW),
        SignatureError,
    ),
    # step 6: the body
    "no body": (lambda: (GOOD, None), MissingBodyError),
    "the body of another entry": (lambda: (GOOD, body([post(2)])), BodyError),
    "a body of a gigabyte, as far as it says": (lambda: with_body(b"\x5b" + bytes(4) + b"\x40" + bytes(3)), BodyError),
    "a body of 2^64 - 1 items": (lambda: with_body(b"\x9b" + b"\xff" * 8), BodyError),
    "a body of a million arrays": (lambda: with_body(b"\x81" * 1_000_000), BodyError),
    "a body of a million maps, nearly": (lambda: with_body(b"\xa1\x60" * 500_000), BodyError),
    "a mebibyte of tags": (lambda: with_body(b"\xc1" * 2**20), BodyError),
    "a mebibyte of small items": (
        lambda: with_body(b"\xa2cops\x9a\x00\x0f\xff\xe0" + bytes(0xFFFE0) + SALT),
        BodyError,
    ),
    "shared references in a body": (lambda: with_body(b"\xa2czzz\xd8\x1c\x81\xd8\x1d\x00" + SALT), BodyError),
    "a string reference": (lambda: with_body(b"\xa2czzz\xd9\x01\x00\x81\xd8\x19\x00" + SALT), BodyError),
    "a regular expression": (lambda: with_body(b"\xa2czzz\xd8\x23a.." + SALT), BodyError),
    "a decimal of 10^9 digits": (lambda: with_body(b"\xa2czzz\xc4\x82\x1a\x3b\x9a\xca\x00\x01" + SALT), BodyError),
    "10,001 changes": (lambda: with_body(body([0] * 10_001)), BodyError),
    "101 acts": (lambda: with_body(body(None, act=[0] * 101)), BodyError),
    "a body that is not the length": (lambda: (bent(l=len(RAW) - 1), RAW), BodyError),
    "encrypted, and not the bytes": (lambda: (bent(b=link(bytes(32), cid.RAW), e=bytes(16)), RAW), BodyError),
    # steps 7 to 11: place
    "a parent nobody has": (lambda: (bent(n=[link(bytes(32))]), RAW), OrphanError),
    "32 parents nobody has": (lambda: (bent(n=[link(n.to_bytes(32, "big")) for n in range(32)]), RAW), OrphanError),
    "behind another's entry": (
        lambda: (sign(E, fields(E.public, USER, RAW, p=link(digest(ROOT)), s=1, t=T0 + 1)), RAW),
        ChainError,
    ),
    "a number skipped": (lambda: (bent(s=2), RAW), ChainError),
    "the greatest number": (lambda: (bent(s=2**53 - 1), RAW), ChainError),
    "a stranger's chain": (lambda: (first(E, USER, RAW), RAW), NotAllowedError),
    "a grant to oneself": (
        lambda: (first(E, USER, RAW, c=[issue(E, E.public, USER.log_id, "write").value()]), RAW),
        NotAllowedError,
    ),
    "clock of the parent": (lambda: (bent(t=T0), RAW), ClockError),
    "clock of the end of time": (lambda: (bent(t=2**63 - 1), RAW), FutureError),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_gets_its_verdict_and_does_not_get_in(name: str) -> None:
    make, error = BOMBS[name]
    log = MemoryLog(USER)
    log.admit(ROOT, RAW)
    header, raw = make()
    with pytest.raises(error) as caught:
        log.judge(header, raw)
    assert type(caught.value) is error
    assert isinstance(caught.value, EntryRefusedError | EntryHeldError)
    assert len(str(caught.value)) < 500


def test_the_bombs_are_wrong_in_one_thing_only() -> None:
    log = MemoryLog(USER)
    log.admit(ROOT, RAW)
    assert log.judge(GOOD, RAW).user == A.public


def test_an_orphan_says_which_parents_to_ask_for() -> None:
    log = MemoryLog(USER)
    log.admit(ROOT, RAW)
    unknown = [bytes([n]) * 32 for n in (1, 2)]
    with pytest.raises(OrphanError) as caught:
        log.judge(bent(n=[link(parent) for parent in unknown]), RAW)
    assert caught.value.missing == tuple(unknown)


@pytest.mark.parametrize("flip", [1, 0x80, 0xFF])
def test_no_flipped_bits_of_a_header_get_in(flip: int) -> None:
    log = MemoryLog(USER)
    log.admit(ROOT, RAW)
    for at in range(len(GOOD)):
        mutant = bytearray(GOOD)
        mutant[at] ^= flip
        with pytest.raises((EntryRefusedError, EntryHeldError)):
            log.judge(bytes(mutant), RAW)


@pytest.mark.parametrize("at", range(0, len(RAW), 3))
def test_no_flipped_bit_of_a_body_gets_in(at: int) -> None:
    log = MemoryLog(USER)
    log.admit(ROOT, RAW)
    mutant = bytearray(RAW)
    mutant[at] ^= 1
    with pytest.raises(BodyError):
        log.judge(GOOD, bytes(mutant))


def test_a_wrong_body_is_not_held_against_the_entry() -> None:
    log = MemoryLog(USER)
    log.admit(ROOT, RAW)
    for wrong in (b"", RAW + b"\0", body([post(2)])):
        with pytest.raises(BodyError):
            log.judge(GOOD, wrong)
    assert not log.admit(GOOD, RAW).known


def test_an_entry_held_for_its_time_is_admitted_when_it_has_come() -> None:
    log = MemoryLog(USER)
    log.admit(ROOT, RAW)
    early = bent(t=(NOW + 300_001) << 16)
    with pytest.raises(FutureError, match="300001 ms ahead"):
        log.judge(early, RAW)
    assert not log.admit(early, RAW, NOW + 1).known


def test_a_chain_inherits_its_user_from_its_first_entry() -> None:
    log = MemoryLog(TEAM)
    certificates = [issue(U, D.public, None, "device"), issue(A, U.public, TEAM.log_id, "write")]
    start = first(D, TEAM, RAW, c=[certificate.value() for certificate in certificates])
    assert log.admit(start, RAW).user == U.public
    later = sign(D, fields(D.public, TEAM, RAW, p=link(digest(start)), s=1, t=T0 + 1))
    assert log.admit(later, RAW).user == U.public
