"""Frames are written in pieces of which each is one frame of yamux and one message of noise."""

from __future__ import annotations

import pytest
from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH
from libp2p.stream_muxer.yamux.yamux import HEADER_SIZE, MAX_MESSAGE_SIZE

from debros.net.libp2p.framing import DATA, PIECE, framed, pieces


@pytest.mark.parametrize("size", [0, 1, PIECE - 5, PIECE - 4, 3 * PIECE, 256 << 10])
def test_the_pieces_of_a_frame_are_the_frame_and_none_is_split_on_its_way(size: int) -> None:
    frame = framed(DATA, bytes(range(256)) * (size // 256) + bytes(size % 256))
    cut = list(pieces(frame))
    assert b"".join(cut) == frame
    assert max(map(len, cut)) <= MAX_MESSAGE_SIZE - HEADER_SIZE
    assert max(map(len, cut)) + HEADER_SIZE <= MAX_PLAINTEXT_LENGTH
    assert len(cut) == -(-len(frame) // PIECE)
