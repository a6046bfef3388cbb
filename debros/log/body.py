"""Bodies: the half of an entry that says what was written.

`{"tx"?: [bytes 16, n], "act"?: [acts], "ops"?: [changes], "salt": bytes 16}`, other keys ignored. The salt is
random: without it a body with few possible values could be guessed from its digest for ever. A body without
changes and acts is a merge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from debros.blocks import dagcbor
from debros.errors import BodyError
from debros.log.packed import PackedOps, packed_ops

MAX_CHANGES: Final = 10_000
MAX_ACTS: Final = 100
SALT_SIZE: Final = 16
TX_SIZE: Final = 16

_CHANGES_ALONE: Final = b"\xa2\x63ops"
_SALT: Final = b"\x64salt\x50"
_SALTED: Final = len(_SALT) + SALT_SIZE
LARGE: Final = 4096  # bytes from which on it is worth looking for changes that begin alike


class Body(NamedTuple):
    """A body of good form. Its acts and changes are decoded and not judged yet, each may turn out to be ignored."""

    tx: tuple[bytes, int] | None  # id of a transaction, and over how many logs it goes
    acts: list[Any]
    ops: list[Any] | PackedOps
    salt: bytes


def encode_body(
    changes: Sequence[bytes],
    *,
    salt: bytes,
    tx: tuple[bytes, int] | None = None,
    acts: Sequence[object] | None = None,
) -> bytes:
    """Return the bytes of a body around changes that are encoded already (`debros.log.changes.encode_change`).

    `salt` is 16 random bytes; `acts` are values as `debros.log.acts` makes them.
    """
    if tx is None and not acts and changes:  # what most are
        return b"".join((_CHANGES_ALONE, dagcbor.head(4, len(changes)), *changes, _SALT, salt))
    parts = [dagcbor.head(5, 1 + (tx is not None) + bool(acts) + bool(changes))]
    if tx is not None:
        parts += (b"\x62tx", dagcbor.encode(tx))
    if acts:
        parts += (b"\x63act", dagcbor.encode(acts))
    if changes:
        parts += (b"\x63ops", dagcbor.head(4, len(changes)), *changes)
    return b"".join((*parts, _SALT, salt))


def parse_body(raw: bytes, *, known: bool = False) -> Body:
    """Read a plain body: the gate's step 6, but for its length and digest.

    Args:
        raw: the block.
        known: whether the gate has let it in before, so that its form need not be checked to the byte again.

    Raises:
        BodyError: not strict DAG-CBOR, no map, no salt, or `ops` or `act` no list or too long.
    """
    if len(raw) >= LARGE and (packed := packed_body(raw, known=known)) is not None:
        return packed
    try:
        value = dagcbor.decode_known(raw) if known else dagcbor.decode_fast(raw)
    except ValueError as error:
        raise BodyError(f"the body is not strict DAG-CBOR: {error}") from error
    if type(value) is not dict:
        raise BodyError("the body is not a map")
    get = value.get
    salt, its = get("salt"), get("ops")
    if (
        len(value) == 2
        and type(salt) is bytes
        and len(salt) == SALT_SIZE
        and type(its) is list
        and len(its) <= MAX_CHANGES
    ):
        return Body(None, [], its, salt)  # what most are
    its, acts = get("ops", []), get("act", [])
    if type(salt) is not bytes or len(salt) != SALT_SIZE:
        raise BodyError(f"the body has no salt of {SALT_SIZE} bytes")
    if type(its) is not list or len(its) > MAX_CHANGES:
        raise BodyError(f"`ops` of the body is not a list of at most {MAX_CHANGES} changes")
    if type(acts) is not list or len(acts) > MAX_ACTS:
        raise BodyError(f"`act` of the body is not a list of at most {MAX_ACTS} acts")
    return Body(_tx(value.get("tx")), acts, its, salt)


def packed_body(raw: bytes, *, known: bool = False) -> Body | None:
    """Read the usual large body, quickly; `None`: it is another one, of which nothing is said."""
    packed = packed_ops(raw, len(raw) - _SALTED, known=known) if raw[-_SALTED:-SALT_SIZE] == _SALT else None
    if packed is None or len(packed[0]) > MAX_CHANGES:
        return None
    ops, name, logs = packed
    return Body(None if name is None else (name, logs), [], ops, raw[-SALT_SIZE:])


def _tx(value: object) -> tuple[bytes, int] | None:
    """A `tx` of another form is read as absent."""
    if type(value) is not list or len(value) != 2:
        return None
    name, logs = value
    if type(name) is not bytes or len(name) != TX_SIZE or type(logs) is not int or logs < 1:
        return None
    return name, logs
