"""Heads: the admitted entries of a log to which no admitted entry links.

A set, for logs may have thousands of them. Every new entry links to those it knows, so heads come together again.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest

from debros.log.entry import MAX_LINKS


def advance(heads: set[bytes], digest: bytes, parents: Iterable[bytes]) -> None:
    """Admit an entry: its parents are no heads any more, and it is one. Parents must be admitted before it."""
    heads.difference_update(parents)
    heads.add(digest)


def links(heads: Iterable[tuple[int, bytes]], prev: bytes | None) -> list[bytes]:
    """Choose what a new entry links to besides `prev`: the newest heads, at most 32, ascending by digest.

    `heads` are (clock, digest), without those that are void.
    """
    return sorted(digest for _, digest in nlargest(MAX_LINKS, (head for head in heads if head[1] != prev)))
