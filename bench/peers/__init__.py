"""Other libraries on the same document: the same fields, the same three indexes, SQLite with the same settings.

Each is used as its documentation advises: one by one in a transaction of its own; in bulk by its fast way. They are
given ids that are ready made; debros makes its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol

from bench.document import Documents

Synchronous = Literal["NORMAL", "FULL"]  # survives the end of the process; a power cut


class Peer(Protocol):
    """A library with a table of documents."""

    name: str

    def __init__(self, path: Path, synchronous: Synchronous) -> None: ...

    def insert(self, documents: list[dict[str, Any]]) -> None:
        """Save documents one by one, each committed."""

    def insert_many(self, documents: list[dict[str, Any]]) -> None:
        """Save documents in one transaction."""

    def get(self, ids: list[str]) -> None:
        """Get objects by id, one by one."""

    def newest_of(self, authors: list[str]) -> None:
        """Get the 20 newest objects of each author."""

    def matching(self, least: float) -> int:
        """Get the objects rated above this, which no index finds; return how many."""

    def close(self) -> None:
        """Close the file."""


def filled(kind: type[Peer], path: Path, size: int, synchronous: Synchronous = "NORMAL") -> tuple[Peer, list[str]]:
    """Return a library with a table of this size, and the ids in it."""
    peer, ids = kind(path, synchronous), []
    for part in Documents(size).parts(size, with_ids=True):
        peer.insert_many(part)
        ids += [document["id"] for document in part]
    return peer, ids
