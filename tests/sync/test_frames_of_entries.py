"""Frames of entries are put together and cut by hand: to the byte what the strict codec writes and reads."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from debros.blocks import dagcbor
from debros.errors import ProtocolError
from debros.log.entry import MAX_BODY, MAX_SIZE
from debros.replica.receive import Delivery
from debros.sync import wire
from debros.sync.wire import encode_entries, parse_entries

sizes = st.sampled_from([0, 1, 23, 24, 255, 256, 300, 4096, 65_535, 65_536])
deliveries = st.builds(
    lambda header, body: Delivery(bytes(header), None if body is None else b"b" * body),
    st.sampled_from([0, 23, 24, 255, 256, 262, 4096]),
    st.none() | sizes,
)


@settings(max_examples=60)
@given(st.lists(deliveries, max_size=30))
def test_a_frame_is_what_the_codec_writes_and_reads_back(entries: list[Delivery]) -> None:
    frame = encode_entries(entries)
    assert frame == dagcbor.encode([list(entry) for entry in entries])
    assert parse_entries(frame) == entries


FRAME = encode_entries([Delivery(bytes([n]) * (200 + 10 * n), bytes([n]) * (20 * n)) for n in range(2, 27)])


@settings(max_examples=200)
@given(st.integers(0, len(FRAME) - 1), st.integers(0, 255), st.sampled_from(["flip", "cut", "insert"]))
def test_a_frame_with_a_wrong_byte_is_read_or_refused_as_by_the_codec(at: int, byte: int, how: str) -> None:
    bent = {
        "flip": FRAME[:at] + bytes([byte]) + FRAME[at + 1 :],
        "cut": FRAME[:at] + FRAME[at + byte :],
        "insert": FRAME[:at] + bytes([byte]) + FRAME[at:],
    }[how]

    def by_the_codec() -> list[Delivery] | None:
        try:
            return wire._entries(wire._list(bent), wire.MAX_FETCHED)
        except ProtocolError:
            return None

    def read() -> list[Delivery] | None:
        try:
            return parse_entries(bent)
        except ProtocolError:
            return None

    assert read() == by_the_codec()


def test_halves_and_frames_that_are_too_long_are_refused() -> None:
    good = Delivery(bytes(100), bytes(100))
    for entries in (
        [good, Delivery(bytes(MAX_SIZE + 1), bytes(30))],
        [good, Delivery(bytes(30), bytes(MAX_BODY + 1))],
        [good] * (wire.MAX_FETCHED + 1),
    ):
        try:
            parse_entries(encode_entries(entries))
        except ProtocolError:
            continue
        raise AssertionError("it was read")


def test_a_length_that_is_not_the_shortest_is_refused() -> None:
    start = b"\x81\x82"
    assert parse_entries(start + b"\x58\x18" + bytes(24) + b"\x58\x18" + bytes(24)) == [Delivery(bytes(24), bytes(24))]
    for half in (
        b"\x58\x17" + bytes(23),
        b"\x59\x00\x18" + bytes(24),
        b"\x59\x00\xff" + bytes(255),
        b"\x5a" + b"\x00\x00\x01\x00" + bytes(256),
        b"\x5b" + b"\x00\x00\x00\x00\x00\x00\x00\x18" + bytes(24),
    ):
        for frame in (start + half + b"\x58\x18" + bytes(24), start + b"\x58\x18" + bytes(24) + half):
            try:
                parse_entries(frame)
            except ProtocolError:
                continue
            raise AssertionError("it was read")
