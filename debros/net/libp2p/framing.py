"""Frames on a libp2p stream: length (4 bytes, big-endian), kind (1 byte), content.

A TCP connection that is cut in the middle of a message reads as a clean end, so an answer is whole only when its frame of kind
`END` has come; the end of a stream anywhere else is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH
from libp2p.stream_muxer.yamux.yamux import HEADER_SIZE

from debros.errors import TransportError
from debros.net.transport import MAX_FRAME

DATA: Final = 0
END: Final = 1
HEAD: Final = 5
CHUNK: Final = 64 << 10  # bytes read at once
PIECE: Final = MAX_PLAINTEXT_LENGTH - HEADER_SIZE  # bytes written at once


def pieces(data: bytes) -> Iterator[bytes]:
    """Cut what is written so that each frame of yamux is one message of noise: its own are 17 bytes longer, and cost two."""
    return (data[at : at + PIECE] for at in range(0, len(data), PIECE))


def framed(kind: int, content: bytes = b"") -> bytes:
    """Return the bytes of a frame."""
    return len(content).to_bytes(4, "big") + bytes((kind,)) + content


class Reader:
    """Reads frames from a stream of libp2p."""

    def __init__(self, stream: Any, peer: str) -> None:
        self._stream = stream
        self._peer = peer
        self._buffer = bytearray()

    async def frame(self) -> tuple[int, bytes] | None:
        """Return kind and content of the next frame; `None` where the stream ends between two.

        Raises:
            TransportError: it ends inside a frame, or the frame is too long.
        """
        if not await self._fill(HEAD):
            return None
        size, kind = int.from_bytes(self._buffer[:4], "big"), self._buffer[4]
        if size > MAX_FRAME:
            raise TransportError(self._peer, f"sent a frame of {size} bytes; {MAX_FRAME} are allowed")
        await self._fill(HEAD + size)
        content = bytes(self._buffer[HEAD : HEAD + size])
        del self._buffer[: HEAD + size]
        return kind, content

    async def _fill(self, size: int) -> bool:
        while len(self._buffer) < size:
            try:
                more = await self._stream.read(CHUNK)
            except Exception as error:  # its ends are errors of many kinds; so is what breaks it
                if self._buffer or not _is_end(error):
                    raise TransportError(self._peer, f"broke off: {error or type(error).__name__}") from error
                return False
            if not more:
                if self._buffer:
                    raise TransportError(self._peer, "broke off inside a frame")
                return False
            self._buffer += more
        return True


def _is_end(error: Exception) -> bool:
    return "EOF" in type(error).__name__
