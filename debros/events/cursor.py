"""Cursors: where in a node's log a subscriber is, as text.

A cursor is the base64url of DAG-CBOR `[mark, position, digest, index]`: the home it is of, where the entry's header begins
in the log file, the first 8 bytes of the entry's digest, and the number of the event in it. Everything before
that event has been told. It is opaque, but no secret; it holds for this home only, for another has its entries in another
order, and so has one with stores of shards whose view is made anew; and not for a log that lost its end, whose positions are
given out anew.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from debros.blocks import dagcbor
from debros.errors import CursorError, StorageError

if TYPE_CHECKING:
    from debros.replica.entries import EntryRow
    from debros.replica.store import Store

ALL: Final = 1 << 31  # more events than an entry has
_SIZE: Final = 8
_AGAIN: Final = 'begin with since="start", or without `since` from now on'


class Place(NamedTuple):
    """A place between two events."""

    e: int  # number of the entry
    nth: int  # events of it up to this one are told; -1: none


def mark_of(salt: bytes, numbering: bytes) -> bytes:
    """Return 8 bytes that tell a home from others, and its order of entries from earlier ones.

    Args:
        salt: the home's own random bytes.
        numbering: the store's.
    """
    return sha256(b"debros cursor" + salt + numbering).digest()[:_SIZE]


def write(mark: bytes, entry: EntryRow, index: int) -> str:
    """Return the cursor behind an event."""
    raw = dagcbor.encode([mark, entry.header, entry.digest[:_SIZE], index])
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def read(cursor: object, mark: bytes, store: Store) -> Place:
    """Return the place that a cursor means.

    Raises:
        CursorError: it is damaged, of another home, or of entries that the log lost.
    """
    if not isinstance(cursor, str):
        raise CursorError(f"a cursor is text from `event.cursor`, not {cursor!r}")
    try:
        raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        found: Any = dagcbor.decode(raw)
    except (Base64Error, ValueError, RecursionError):
        raise _damaged(cursor) from None
    if urlsafe_b64encode(raw).rstrip(b"=").decode() != cursor:  # one text per cursor
        raise _damaged(cursor)
    match found:
        case [bytes(of), int(position), bytes(digest), int(index)] if position >= 0 and index >= -1:
            pass
        case _:
            raise _damaged(cursor)
    if of != mark:
        raise CursorError(
            f"the cursor {cursor[:40]!r} is of another home, of a copy of this one, or of before a view over stores of shards "
            f"was made anew; {_AGAIN}"
        )
    try:
        entry = store.entries.find(sha256(store.log.read(position)).digest())
    except (StorageError, ValueError):  # no block begins there
        entry = None
    if store.placed and (entry is None or entry.log in store.placed):  # its shard may have moved meanwhile
        entry = store.entries.beginning_with(digest)
    elif entry is not None and entry.header != position:
        entry = None
    if entry is None or entry.digest[:_SIZE] != digest:
        raise CursorError(f"the cursor {cursor[:40]!r} is of an entry that the log does not have any more; {_AGAIN}")
    return Place(entry.e, index)


def _damaged(cursor: str) -> CursorError:
    return CursorError(f"the cursor {cursor[:40]!r} is damaged; {_AGAIN}")
