"""Files as balanced trees of blocks, built from left to right in constant memory.

Leaves lie at one depth; a node is written as soon as it has all its links. What is kept is at most one unfinished node
for each level: about `width` links, of 50 bytes each.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from debros.blocks import cid, dagpb
from debros.blocks.dagpb import PBLink
from debros.blocks.tail import Block
from debros.blocks.unixfs import node
from debros.blocks.unixfs.profiles import Profile


class Built(NamedTuple):
    """A tree that is written: its root's binary CID, bytes of content, and bytes of all its blocks."""

    cid: bytes
    size: int
    total: int


def written(block: bytes | memoryview, codec: int, profile: Profile, put: Callable[[Block], None]) -> bytes:
    """Hand a block on, and return its binary CID."""
    digest = sha256(block).digest()
    put((codec, digest, block))  # type: ignore[arg-type]  # a view of bytes, which is written and not kept
    if profile.version == 0 and codec == cid.DAG_PB:
        return b"\x12\x20" + digest
    return cid.PREFIX[codec] + digest


class Tree:
    """One file on its way into blocks, which are handed to `put` as they are made, children first."""

    def __init__(self, profile: Profile, put: Callable[[Block], None]) -> None:
        self._profile = profile
        self._put = put
        self._levels: list[list[Built]] = [[]]
        self._is_empty = True

    def add(self, chunk: bytes | memoryview) -> None:
        """Add content: `profile.chunk` bytes, fewer only at the end."""
        self._is_empty = False
        self._push(0, self._leaf(chunk))

    def finish(self) -> Built:
        """Write what is unfinished and return the whole."""
        if self._is_empty:
            return self._leaf(b"")
        level = 0
        while True:
            row = self._levels[level]
            is_top = level == len(self._levels) - 1
            if is_top and len(row) == 1:
                return row[0]
            if row:
                self._levels[level] = []
                self._push(level + 1, self._parent(row))
            level += 1

    def _push(self, level: int, built: Built) -> None:
        if level == len(self._levels):
            self._levels.append([])
        row = self._levels[level]
        if len(row) == self._profile.width:  # full: a further one needs a parent above both
            self._levels[level] = [built]
            self._push(level + 1, self._parent(row))
        else:
            row.append(built)

    def _leaf(self, chunk: bytes | memoryview) -> Built:
        profile = self._profile
        if profile.raw_leaves:
            return Built(written(chunk, cid.RAW, profile, self._put), len(chunk), len(chunk))
        block = dagpb.encode((), node.file_data(bytes(chunk), len(chunk), []))
        return Built(written(block, cid.DAG_PB, profile, self._put), len(chunk), len(block))

    def _parent(self, children: list[Built]) -> Built:
        sizes = [child.size for child in children]
        size = sum(sizes)
        links = [PBLink(child.cid, b"", child.total) for child in children]
        block = dagpb.encode(links, node.file_data(b"", size, sizes))
        raw = written(block, cid.DAG_PB, self._profile, self._put)
        return Built(raw, size, len(block) + sum(child.total for child in children))
