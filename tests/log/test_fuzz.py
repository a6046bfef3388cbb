"""Whatever is done to an entry's bytes, the gate answers with a verdict, and admits only what was signed."""

from __future__ import annotations

from random import Random

import pytest

from debros.blocks import dagcbor
from debros.errors import EntryHeldError, EntryRefusedError
from debros.identity.certificate import issue
from tests.support.entries import (
    NOW,
    OPEN,
    T0,
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

RAW = body([post(), ["Post", 1, "d2", {"rem": {"s": [["x", [bytes(32)]]]}, "live": True}]])
ROOT = first(D, OPEN, RAW, c=[issue(U, D.public, None, "device").value()])
HEAD = first(E, OPEN, RAW)
SECOND = sign(
    D, fields(D.public, OPEN, RAW, p=link(digest(ROOT)), s=1, t=T0 + 1, n=[link(digest(HEAD))], x={"y": [1.5]})
)


def mutated(random: Random, raw: bytes) -> bytes:
    mutant = bytearray(raw)
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        at = random.randrange(len(mutant) + 1)
        match random.randrange(6):
            case 0:
                mutant[at : at + 1] = bytes([random.randrange(256)])
            case 1:
                del mutant[at : at + random.choice((1, 2, 8, 40))]
            case 2:
                mutant[at:at] = random.randbytes(random.choice((1, 2, 8, 40)))
            case 3:
                end = at + random.choice((1, 3, 41))
                mutant[at:at] = mutant[at:end]
            case 4:
                mutant[at : at + 9] = random.choice((b"\x9b", b"\xbb", b"\x5b", b"\x1b")) + b"\xff" * 8
            case _:
                mutant[at : at + 1] = random.choice((b"\xf6", b"\xf5", b"\x80", b"\xa0", b"\xd8\x2a", b"\xf9\x00\x00"))
    return bytes(mutant)


@pytest.mark.parametrize("signed_again", [False, True])
@pytest.mark.parametrize("header", [ROOT, SECOND])
def test_mutants_of_a_header_get_a_verdict(header: bytes, signed_again: bool) -> None:
    random = Random(f"{header.hex()}{signed_again}")
    log = MemoryLog(OPEN)
    log.admit(ROOT, RAW)
    log.admit(HEAD, RAW)
    admitted = 0
    for _ in range(1500):
        mutant = mutated(random, header)
        if signed_again and len(mutant) > 70:
            mutant = resign(D, mutant)
        try:
            admission = log.judge(mutant, RAW, NOW)
        except (EntryRefusedError, EntryHeldError):
            continue
        admitted += 1
        assert admission.header.raw == mutant
        if not signed_again:
            assert mutant in (ROOT, HEAD, SECOND)
        else:  # what the holder of the key signs may be admitted, as what it says
            value = dagcbor.decode(mutant)
            assert isinstance(value, dict)
            assert sign(D, {key: item for key, item in value.items() if key != "sig"}) == mutant
    assert signed_again or admitted < 100


def test_mutants_of_a_body_get_a_verdict() -> None:
    random = Random(7)
    log = MemoryLog(OPEN)
    for _ in range(1500):
        raw = mutated(random, RAW)
        try:
            admission = log.judge(first(E, OPEN, raw), raw, NOW)
        except (EntryRefusedError, EntryHeldError):
            continue
        assert admission.body is not None
        assert len(admission.body.salt) == 16
