"""`File`: content kept by its CID, for everything large. The record holds the reference, the node's store the bytes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final, cast

from debros.blocks import cid as cids
from debros.blocks import dagcbor
from debros.blocks.cid import Link
from debros.current import node_here
from debros.errors import ArgumentError, ContentError
from debros.schema import Codec

MAX_TEXT: Final = 1024  # bytes of a name or a content type


@dataclass(frozen=True, slots=True)
class File:
    """A reference to content: a file or a directory as IPFS has them, in the blocks that its CID names.

    Two are equal when all four agree. Reading asks the current node, which fetches from its peers what it does not hold.
    """

    cid: str  # "bafy..."
    name: str | None
    size: int  # of the content, in bytes
    content_type: str | None

    @classmethod
    async def add(
        cls,
        data: bytes | str | os.PathLike[str] | AsyncIterable[bytes],
        /,
        *,
        name: str | None = None,
        content_type: str | None = None,
    ) -> File:
        """Store content in the current node and return the value for a `File` field. On return it is durable.

        Content that no saved record refers to goes after an hour, with the next sweep (`db.pins`).

        Args:
            data: bytes, the path of a file or directory, or bytes as they come, in chunks of any size.
            name: a file name for people; that of the path if not given.
            content_type: e.g. `"image/png"`.

        Raises:
            ArgumentError: it is none of these.
            ContentError: the file changed while it was read, is neither file nor directory, or the name is too long.
            StorageError: it cannot be read, or the disk refused.
            NoNodeError: no node is open, or several are and none is current.
        """
        if not isinstance(data, (bytes, bytearray, memoryview, str, os.PathLike, AsyncIterable)):
            raise ArgumentError(
                f"File.add takes bytes, a path, or an async iterable of bytes, not {data!r:.80}; of an open file, give its path"
            )
        if name is None and isinstance(data, (str, os.PathLike)):
            name = PurePath(data).name or None
        for text in (name, content_type):
            if not _is_text(text):
                raise ContentError(f"a name or content type is text of at most {MAX_TEXT} bytes, not {text!r:.80}")
        link, size = await node_here().content.add(data)
        return cls(str(link), name, size, content_type)

    async def read(self) -> bytes:
        """Return the whole content, of at most 1 GiB; `chunks` has no limit.

        Raises:
            ContentMissingError: it is not here, and no connected peer has it.
            ContentError: it is a directory, damaged, or not of the size that this value says.
        """
        content = await node_here().content.open(self.link, size=self.size)
        data = await content
        if len(data) != self.size:
            raise ContentError(f"{self.cid} has {len(data)} bytes, and the record says {self.size}")
        return data

    def chunks(self, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Return the content, or a range of it, in chunks: `async for chunk in file.chunks()`. Errors as for `read`.

        Args:
            start: the first byte wanted; only blocks in the range are read, or fetched.
            length: how many bytes are wanted; to the end if not given.
        """
        return _Chunks(self, start, length)

    @property
    def link(self) -> Link:
        """The CID as it stands in entries."""
        return cids.parse(self.cid)


class _Chunks:
    """An iterator that finds its node when it begins."""

    def __init__(self, file: File, start: int, length: int | None) -> None:
        self._file, self._start, self._length = file, start, length
        self._inside: AsyncIterator[bytes] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._inside is None:
            file = self._file
            content = await node_here().content.open(file.link, self._start, self._length, size=file.size)
            self._inside = aiter(content)
        return await anext(self._inside)


def _is_text(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, str):
        return False
    try:
        return len(value.encode()) <= MAX_TEXT
    except UnicodeEncodeError:  # a lone surrogate
        return False


def _accepts(wire: Any) -> bool:
    if type(wire) is not dict or wire.keys() != {"cid", "name", "size", "type"}:
        return False
    size = wire["size"]
    return (
        type(wire["cid"]) is Link
        and type(size) is int
        and 0 <= size < 2**63
        and all(wire[key] is None or type(wire[key]) is str for key in ("name", "type"))
        and _is_text(wire["name"])
        and _is_text(wire["type"])
    )


def _to_wire(value: File) -> dict[str, Any]:
    return {"cid": cids.parse(value.cid), "name": value.name, "size": value.size, "type": value.content_type}


def _from_wire(wire: dict[str, Any]) -> File:
    return File(str(wire["cid"]), wire["name"], wire["size"], wire["type"])


FILE: Final = Codec(
    "file", "BLOB", "File", _accepts, lambda value: type(value) is File, _to_wire, _from_wire,
    dagcbor.encode, lambda raw: _from_wire(cast("dict[str, Any]", dagcbor.decode(raw))),
)  # fmt: skip


def content_in(wire: Any) -> list[tuple[Link, int]]:
    """Return every link to content in a wire value, at any depth, and how large it is said to be (-1: not said)."""
    kind = type(wire)
    if kind is Link:
        return [] if wire.codec == cids.DAG_CBOR else [(wire, -1)]
    if kind is list:
        return [found for part in wire for found in content_in(part)]
    if kind is dict:
        if _accepts(wire):
            return [(wire["cid"], wire["size"])]
        return [found for part in wire.values() for found in content_in(part)]
    return []
