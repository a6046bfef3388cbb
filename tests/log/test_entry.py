"""Headers: signed by a splice, read by an authority and by a fast reader that must not differ from it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.blocks import cid, dagcbor
from debros.errors import EntryHeldError, EntryRefusedError, MalformedEntryError
from debros.identity.certificate import issue
from debros.identity.signing import verify
from debros.log import entry
from debros.log.entry import Header, parse_header, sign_header
from tests.support.entries import OPEN, A, D, digest

digests = st.binary(min_size=32, max_size=32)
uints = st.sampled_from([0, 1, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**53 - 1])


@st.composite
def arguments(draw: st.DrawFn, usual: bool) -> dict[str, Any]:
    seq = draw(uints)
    prev = draw(digests) if seq else None
    made: dict[str, Any] = {
        "body_digest": draw(digests),
        "length": draw(uints.filter(lambda n: n <= 2**20) | st.just(2**20)),
        "log": draw(digests),
        "next": draw(
            st.lists(digests.filter(lambda d: d != prev), unique=True, max_size=4 if draw(st.booleans()) else 32)
        ),
        "prev": prev,
        "seq": seq,
        "clock": draw(uints | st.sampled_from([2**53, 2**63 - 1])),
    }
    if not usual:
        made["epoch"] = draw(st.none() | st.binary(min_size=16, max_size=16))
        made["extensions"] = draw(st.none() | st.dictionaries(st.text(max_size=3), st.integers(0, 300), max_size=3))
        if seq == 0 and draw(st.booleans()):
            made["certificates"] = [issue(A, D.public, None, "device"), issue(A, D.public, OPEN.log_id, "write")]
    return made


@settings(max_examples=150)
@given(arguments(usual=False) | arguments(usual=True))
def test_what_is_signed_is_read_back_and_verifies(wanted: dict[str, Any]) -> None:
    raw, made = sign_header(D, **wanted)
    header = parse_header(raw)
    assert made == header.digest == digest(raw)
    assert raw == dagcbor.encode(dagcbor.decode(raw))
    assert verify(D.public, header.signed(), header.sig)
    assert header == Header(
        author=D.public,
        body=wanted["body_digest"],
        body_codec=cid.DAG_CBOR if wanted.get("epoch") is None else cid.RAW,
        certificates=tuple(wanted.get("certificates", ())),
        epoch=wanted.get("epoch"),
        length=wanted["length"],
        log=wanted["log"],
        next=tuple(sorted(wanted["next"])),
        prev=wanted["prev"],
        seq=wanted["seq"],
        clock=wanted["clock"],
        extensions=wanted.get("extensions"),
        sig=header.sig,
        digest=made,
        raw=raw,
    )
    assert header.parents() == ((header.prev, *header.next) if header.prev else header.next)


def verdict(raw: bytes) -> Header | type[Exception]:
    try:
        return entry._parse(raw)
    except (EntryRefusedError, EntryHeldError) as error:
        return type(error)


@settings(max_examples=100)
@given(arguments(usual=True))
def test_the_fast_reader_reads_every_usual_header_as_the_authority_does(wanted: dict[str, Any]) -> None:
    raw, _ = sign_header(D, **wanted)
    assert entry._parse_usual(raw) == entry._parse(raw)


@settings(max_examples=150)
@given(arguments(usual=True), st.data())
def test_the_fast_reader_accepts_no_mutant_that_the_authority_refuses(
    wanted: dict[str, Any], data: st.DataObject
) -> None:
    raw, _ = sign_header(D, **wanted)
    for _ in range(20):
        at = data.draw(st.integers(0, len(raw) - 1))
        if data.draw(st.booleans()):  # a byte, most often of the frame: the 220 bytes have 90 that are no key or hash
            mutant = raw[:at] + data.draw(st.binary(min_size=0, max_size=2)) + raw[at + 1 :]
        else:
            until = data.draw(st.integers(at, len(raw)))
            mutant = raw[:at] + raw[at:until] * data.draw(st.sampled_from([0, 2])) + raw[until:]
        fast = entry._parse_usual(mutant)
        assert fast is None or fast == verdict(mutant)


@pytest.mark.parametrize("n", range(35))
def test_both_readers_agree_on_every_count_of_links(n: int) -> None:
    links = [k.to_bytes(32, "big") for k in range(n)]
    raw, _ = sign_header(D, body_digest=bytes(32), length=1, log=bytes(32), next=links, prev=None, seq=0, clock=1)
    if n <= 32:
        assert entry._parse_usual(raw) == entry._parse(raw)
    else:
        assert entry._parse_usual(raw) is None
        assert verdict(raw) is MalformedEntryError


@pytest.mark.parametrize("key", ["length", "seq", "clock"])
@pytest.mark.parametrize("power", [0, 4, 5, 8, 16, 20, 32, 53, 63])
def test_both_readers_agree_on_numbers_at_the_edge_of_their_bytes(key: str, power: int) -> None:
    for number in (2**power - 1, 2**power, 2**power + 1):
        numbers = {"length": 1, "seq": 1, "clock": 1, key: number}
        prev = bytes(32) if numbers["seq"] else None
        raw, _ = sign_header(D, body_digest=bytes(32), log=bytes(32), next=[], prev=prev, **numbers)
        assert (entry._parse_usual(raw) or MalformedEntryError) == verdict(raw)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"al\x05am", b"al\x18\x05am"),
        (b"al\x05am", b"al\x19\x00\x05am"),
        (b"al\x05am", b"al\x1a\x00\x00\x00\x05am"),
        (b"al\x05am", b"al\x1b\x00\x00\x00\x00\x00\x00\x00\x05am"),
        (b"al\x05am", b"al\x19\x00\xffam"),
        (b"al\x05am", b"al\x1a\x00\x00\xff\xffam"),
        (b"al\x05am", b"al\x18\x17am"),
        (b"as\x07at", b"as\x18\x07at"),
        (b"at\x09av", b"at\x1b\x00\x00\x00\x00\xff\xff\xff\xffav"),
        (b"an\x82", b"an\x81"),
        (b"an\x82", b"an\x83"),
        (b"an\x82", b"an\x98\x02"),
        (b"an\x82", b"an\x99\x00\x02"),
        (b"an\x82", b"an\x98\x20"),
        (b"an\x82", b"an\x80"),
        (b"\xaaaaX ", b"\xb8\x0aaaX "),
        (b"av\x01", b"av\x00"),
    ],
)
def test_neither_reader_takes_a_header_that_is_not_in_its_shortest_form(old: bytes, new: bytes) -> None:
    links = [bytes([1]) * 32, bytes([2]) * 32]
    raw, _ = sign_header(D, body_digest=bytes(32), length=5, log=bytes(32), next=links, prev=bytes(32), seq=7, clock=9)
    assert raw.count(old) == 1
    mutant = raw.replace(old, new)
    assert entry._parse_usual(mutant) is None
    assert verdict(mutant) is MalformedEntryError
