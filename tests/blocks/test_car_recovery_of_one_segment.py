from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.blocks import car, cid
from tests.support.segments import leb128, read_naively, section, start

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "recovery_v1.json").read_text())["recovery"]


def reader(data: bytes) -> car.Read:
    return lambda size, offset: data[offset : offset + size]


def read(data: bytes, part: int, applied: int) -> tuple[car.Verdict, list[car.Section]]:
    found = car.walk(reader(data), len(data), part)
    return (
        car.examine(reader(data), len(data), part, applied),
        [one for one in found if isinstance(one, car.Section)],
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vectors(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["file"])
    part = vector.get("part", 1)
    verdict, sections = read(data, part, vector["applied"])
    assert (verdict.state, verdict.first_bad, verdict.keep) == (vector["verdict"], vector["first_bad"], vector["keep"])
    found = [[car.split(one.position)[1], cid.to_text(one.digest, one.codec)] for one in sections]
    assert found == vector["blocks"]


@st.composite
def segments(draw: st.DrawFn) -> bytes:
    """A segment, some of whose blocks hold sections of their own, with a few bytes changed, cut out or put in."""
    inner = st.binary(max_size=12).map(section)
    block = st.one_of(st.binary(max_size=200), st.lists(inner, min_size=1, max_size=3).map(b"\x81".join))
    codec = st.sampled_from([cid.RAW, cid.DAG_CBOR, cid.DAG_PB])
    data = start(draw(st.sampled_from([1, 1, 1, 2])))
    for _ in range(draw(st.integers(0, 6))):
        data += section(draw(block), draw(codec))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["flip", "cut", "insert", "zero", "drop"]))
        if kind == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at]
        elif kind == "insert":
            data = data[:at] + draw(st.one_of(st.binary(max_size=4), inner)) + data[at:]
        elif kind == "zero":
            data = data[:at] + bytes(draw(st.integers(1, 80))) + data[at + 40 :]
        elif kind == "drop":
            data = data[:at] + data[at + draw(st.integers(1, 60)) :]
    return data


@settings(max_examples=300)
@given(segments(), st.data())
def test_agrees_with_a_reader_written_from_the_page_whatever_the_chunk(data: bytes, choose: st.DataObject) -> None:
    applied = choose.draw(st.integers(0, len(data) + 5))
    chunk = choose.draw(st.sampled_from([64, 100, 1 << 18]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(car, "_CHUNK", chunk)
        verdict, sections = read(data, 1, applied)
    expected = read_naively(data, 1, applied)
    assert [(car.split(one.position)[1], one.digest) for one in sections] == expected.blocks
    assert (verdict.state, verdict.first_bad, verdict.keep) == (expected.verdict, expected.first_bad, expected.keep)


def test_a_section_is_found_wherever_its_prefix_lies_in_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(car, "_CHUNK", 64)
    for gap in range(1, 200):
        data = start() + b"\xff" * gap + section(b"found")
        _, sections = read(data, 1, 0)
        assert [one.block for one in sections[1:]] == [b"found"]


@settings(max_examples=150)
@given(segments())
def test_damage_and_sections_cover_every_byte_once(data: bytes) -> None:
    at = 0
    for found in car.walk(reader(data), len(data), 1):
        offset = car.split(found.position)[1]
        if isinstance(found, car.Damage):
            assert offset == at
            at += found.size
        else:
            assert offset == at or (at == 0 and offset == car.HEADER_SIZE)
            at = offset + len(car.section_head(found.codec, found.digest, len(found.block))) + len(found.block)
    assert at == len(data)


def test_what_stands_behind_a_bad_section_is_doubtful_and_what_stands_before_is_not() -> None:
    data = start() + section(b"before") + b"\x00" + section(b"behind") + section(b"last")
    _, sections = read(data, 1, 0)
    assert [(one.block, one.doubtful) for one in sections[1:]] == [
        (b"before", False),
        (b"behind", True),
        (b"last", True),
    ]


def test_a_position_holds_segment_and_offset() -> None:
    assert car.split(car.position(7, 1234)) == (7, 1234)
    assert car.position(1, 0) == 1 << 32


@pytest.mark.parametrize("size", [0, 1, 91, 92, 127, 128, 16_347, 16_348, 16_383, 2_097_115, 2_097_116, 1 << 21])
def test_a_section_of_any_length_reads_back(size: int) -> None:
    block = bytes(size)
    data = start() + car.section_head(cid.RAW, cid.digest_of(block), size) + block
    assert data == start() + leb128(36 + size) + section(block, cid.RAW)[len(leb128(36 + size)) :]
    verdict, sections = read(data, 1, 0)
    assert verdict.state == "clean"
    assert (sections[1].codec, sections[1].block) == (cid.RAW, block)


def test_a_block_of_one_byte_more_than_2_mib_is_bad() -> None:
    data = start() + section(bytes((1 << 21) + 1)) + section(b"next")
    verdict, sections = read(data, 1, 0)
    assert verdict.state == "damaged"
    assert [one.block for one in sections[1:]] == [b"next"]


@pytest.mark.parametrize("part", [1, 23, 24, 255, 256, 999])
def test_the_segment_head_is_as_written_out_by_hand(part: int) -> None:
    data = start(part, b"0123456789abcdef")
    assert car.segment_start(part, b"0123456789abcdef") == data
    assert car.store_of(reader(data), part) == b"0123456789abcdef"


@pytest.mark.parametrize(
    "head",
    [
        b"\xa3\x61v\x02\x64part\x01\x65store\x50" + bytes(16),
        b"\xa3\x61v\xf5\x64part\x01\x65store\x50" + bytes(16),
        b"\xa3\x61v\x01\x64part\xf5\x65store\x50" + bytes(16),
        b"\xa3\x61v\x01\x64part\x02\x65store\x50" + bytes(16),
        b"\xa3\x61v\x01\x64part\x01\x65store\x4f" + bytes(15),
        b"\xa3\x61v\x01\x64part\x01\x65store\x70" + b"0" * 16,
        b"\xa4\x61v\x01\x61w\x01\x64part\x01\x65store\x50" + bytes(16),
        b"\xa3\x61v\x01\x65store\x50" + bytes(16) + b"\x64part\x01",
        b"\x81\x00",
        b"\xff",
    ],
    ids=[
        "v 2",
        "v true",
        "part true",
        "part of another number",
        "15 bytes",
        "text",
        "a key more",
        "order",
        "list",
        "no",
    ],
)
def test_a_segment_head_of_another_form_is_a_bad_section_at_0(head: bytes) -> None:
    root = b"\xd8\x2a\x58\x25\x00" + cid.to_bytes(cid.digest_of(head))
    data = b"\x3a\xa2\x65roots\x81" + root + b"\x67version\x01" + section(head) + section(b"kept")
    with pytest.raises(ValueError):
        car.store_of(reader(data), 1)
    verdict, sections = read(data, 1, 0)
    assert (verdict.state, verdict.first_bad) == ("damaged", 0)
    assert [(one.block, one.doubtful) for one in sections] == [(head, True), (b"kept", True)]
