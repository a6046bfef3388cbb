"""Directories: one block while that is small, a hash array mapped trie of blocks when it is not.

In the trie an entry stands where the bits of its name's hash lead: 8 of them a level where the fan-out is 256, from the
most significant on (https://specs.ipfs.tech/unixfs/, HAMTDirectory). The form depends on the set of entries alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from debros.blocks import cid, dagpb
from debros.blocks.dagpb import PBLink
from debros.blocks.tail import Block
from debros.blocks.unixfs import node
from debros.blocks.unixfs.profiles import Profile
from debros.blocks.unixfs.tree import Built, written
from debros.errors import ContentError

Put: TypeAlias = Callable[[Block], None]
_HASH_BITS = 64


def check_name(name: bytes) -> None:
    """Refuse what cannot be the name of a file in a directory.

    Raises:
        ContentError: it is empty, `.` or `..`, or holds a slash or a NUL.
    """
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise ContentError(f"{name!r} is no name in a directory: not empty, `.` or `..`, no slash, no NUL")


def hash_of(name: bytes) -> int:
    """Return the 64 bits that a name's place depends on: the first half of murmur3-x64-128."""
    import mmh3  # only large directories need it

    return mmh3.hash64(name, signed=False)[0]


def slot_of(hashed: int, depth: int, fanout: int) -> int:
    """Return the slot of a hash in a shard `depth` levels below the root.

    Raises:
        ContentError: the hash has no more bits, which needs names of equal hash.
    """
    bits = fanout.bit_length() - 1
    shift = _HASH_BITS - bits * (depth + 1)
    if shift < 0:
        raise ContentError("a sharded directory that is deeper than its hash has bits")
    return hashed >> shift & fanout - 1


def build(entries: Mapping[bytes, Built], profile: Profile, put: Put) -> Built:
    """Write a directory of these entries, by name.

    Raises:
        ContentError: a name is none.
    """
    links = [PBLink(built.cid, name, built.total) for name, built in sorted(entries.items())]
    for link in links:
        check_name(link.name)
    block = dagpb.encode(links, node.DIRECTORY_DATA)
    size = len(block) if profile.by_block else sum(len(link.name) + len(link.cid) for link in links)
    if size > profile.shard_over or (profile.shard_at and size == profile.shard_over):
        return _shard([(hash_of(link.name), link) for link in links], 0, profile, put)
    raw = written(block, cid.DAG_PB, profile, put)
    return Built(raw, 0, len(block) + sum(link.total for link in links))


def _shard(entries: Iterable[tuple[int, PBLink]], depth: int, profile: Profile, put: Put) -> Built:
    slots: dict[int, list[tuple[int, PBLink]]] = {}
    for hashed, link in entries:
        slots.setdefault(slot_of(hashed, depth, profile.fanout), []).append((hashed, link))
    width = len(f"{profile.fanout - 1:X}")
    links: list[PBLink] = []
    bitmap = 0
    for slot, inside in sorted(slots.items()):
        bitmap |= 1 << slot
        prefix = f"{slot:0{width}X}".encode()
        if len(inside) == 1:
            [(_, link)] = inside
            links.append(link._replace(name=prefix + link.name))
        else:
            below = _shard(inside, depth + 1, profile, put)
            links.append(PBLink(below.cid, prefix, below.total))
    data = node.shard_data(bitmap.to_bytes((bitmap.bit_length() + 7) // 8, "big"), profile.fanout)
    block = dagpb.encode(links, data)
    return Built(written(block, cid.DAG_PB, profile, put), 0, len(block) + sum(link.total for link in links))


def prefix_width(shard: node.Node) -> int:
    """Return how many characters before a name say its slot."""
    return len(f"{shard.fanout - 1:X}")
