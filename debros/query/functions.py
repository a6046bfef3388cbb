"""SQL functions that the compiled queries call, for what SQLite cannot say itself.

`register` puts them on a connection; every connection that runs queries needs them. All are pure but
`debros_examined`. A null argument gives null (SQL's rule); a value of another shape than the function is for
gives null too, so that a comparison with it is unknown, never an error in the middle of a result.

Collections and nested values are columns of DAG-CBOR, and two values are equal when their encodings are
(docs/format.md). An encoding contains those of its elements byte for byte, so most rows are ruled out by one search
in the bytes, before anything is decoded.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation, Overflow
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import apsw

from debros.blocks import dagcbor
from debros.errors import QueryError
from debros.query import regex
from debros.values import decimals

DIGITS: Final = 38  # of an average of decimals
_EXACT: Final = Context(prec=20_000, traps=[Inexact, InvalidOperation, Overflow])
_AVERAGE: Final = Context(prec=DIGITS, rounding=ROUND_HALF_EVEN)


def casefold(text: str | None) -> str | None:
    """Text as it compares when case does not matter (Unicode full case folding)."""
    return text.casefold() if type(text) is str else None


def like(text: str | None, pattern: str) -> bool | None:
    """SQL's LIKE with case: `%` is any text, `_` any one character, all else itself.

    Leftmost search for the pieces between the `%` is enough, so time is at most the text times the pattern.
    """
    if type(text) is not str:
        return None
    first, *middle = pattern.split("%")
    if not _stands_at(text, first, 0) or (not middle and len(text) != len(first)):
        return False
    if not middle:
        return True
    at, last = len(first), middle.pop()
    for piece in middle:
        at = _find(text, piece, at)
        if at < 0:
            return False
        at += len(piece)
    return len(text) - len(last) >= at and _stands_at(text, last, len(text) - len(last))


def _stands_at(text: str, piece: str, at: int) -> bool:
    if "_" not in piece:
        return text.startswith(piece, at)
    part = text[at : at + len(piece)]
    return len(part) == len(piece) and all(p in ("_", c) for p, c in zip(piece, part, strict=True))


def _find(text: str, piece: str, at: int) -> int:
    if "_" not in piece:
        return text.find(piece, at)
    return next((n for n in range(at, len(text) - len(piece) + 1) if _stands_at(text, piece, n)), -1)


def ilike(text: str | None, folded: str) -> bool | None:
    """`like` without case; the pattern is folded already."""
    return like(text.casefold(), folded) if type(text) is str else None


def matches(text: str | None, pattern: str) -> bool | None:
    """Whether a regular expression matches anywhere in the text, in linear time."""
    return regex.compiled(pattern).search(text) if type(text) is str else None


def endswith(text: str | None, end: str) -> bool | None:
    """Whether a text ends with another one, taken literally."""
    return text.endswith(end) if type(text) is str else None


def length(value: str | bytes | None) -> int | None:
    """Characters of a text, elements of an encoded list, pairs of an encoded map."""
    if type(value) is str:
        return len(value)
    if type(value) is not bytes or not value or value[0] >> 5 not in (4, 5):
        return None
    short = value[0] & 31
    return short if short < 24 else int.from_bytes(value[1 : 1 + (1 << (short - 24))], "big")


def contains(value: str | bytes | None, item: bytes) -> bool | None:
    """Whether an encoded list has this encoded element; for text, whether it contains this (encoded) text."""
    if type(value) is str:
        sought = _decoded(item)
        return sought in value if type(sought) is str else False
    if type(value) is not bytes:
        return None
    if item not in value:
        return False if _is_list(value) else None
    items = dagcbor.decode_fast(value)
    return item in map(dagcbor.encode, items) if type(items) is list else None


def contains_any(value: bytes | None, items: bytes) -> bool | None:
    """Whether an encoded list has one of the encoded elements."""
    found = _encodings(value)
    return None if found is None else not found.isdisjoint(_sought(items))


def contains_all(value: bytes | None, items: bytes) -> bool | None:
    """Whether an encoded list has all of the encoded elements."""
    found = _encodings(value)
    return None if found is None else found >= _sought(items)


def has_key(value: bytes | None, key: str) -> bool | None:
    """Whether an encoded map has this key."""
    if type(value) is not bytes:
        return None
    decoded = dagcbor.decode_fast(value)
    return key in decoded if type(decoded) is dict else None


def path(value: bytes | None, dotted: str, sort: str) -> Any:
    """The value at `a.b` (or `a.0.b`, into lists) of an encoded value, if it is of the sort asked for.

    Sorts: `b` bool, `n` number, `t` text, `x` bytes, `c` text or an encoded collection, `e` any value encoded,
    `a` any value: itself, or encoded if it is a collection.
    """
    if type(value) is not bytes:
        return None
    found: Any = dagcbor.decode_fast(value)
    for key in dotted.split("."):
        if type(found) is dict:
            found = found.get(key)
        elif type(found) is list and key.isascii() and key.isdigit() and len(key) < 10 and int(key) < len(found):
            found = found[int(key)]
        else:
            return None
    if found is None or type(found) not in _SORTS[sort]:
        return None
    return dagcbor.encode(found) if sort == "e" or type(found) not in _SCALARS else _number(found)


_SCALARS: Final = frozenset({bool, int, float, str, bytes})
_SORTS: Final[dict[str, Any]] = {
    "b": {bool},
    "n": {int, float},
    "t": {str},
    "x": {bytes},
    "c": {str, list, dict},
    "e": _SCALARS | {list, dict},
    "a": _SCALARS | {list, dict},
}


def _number(value: Any) -> Any:
    """Numbers beyond SQLite's 64 bits compare as floats."""
    return float(value) if type(value) is int and not -(2**63) <= value < 2**63 else value


def texts(value: bytes | None) -> str | None:
    """The texts of an encoded list as JSON, for `json_each`."""
    if type(value) is not bytes:
        return None
    decoded = dagcbor.decode_fast(value)
    return json.dumps([item for item in decoded if type(item) is str]) if type(decoded) is list else None


def items(value: bytes | None) -> str | None:
    """The encoded elements of an encoded list as JSON, in hex, for `json_each`."""
    if type(value) is not bytes:
        return None
    decoded = dagcbor.decode_fast(value)
    return json.dumps([dagcbor.encode(item).hex() for item in decoded]) if type(decoded) is list else None


def shuffle(seed: int, id: str) -> int:
    """Where a record stands in an order by chance: 63 bits of BLAKE2b (RFC 7693) of its id, keyed by the seed."""
    key = seed.to_bytes(8, "big", signed=True)
    return int.from_bytes(blake2b(id.encode(), digest_size=8, key=key).digest(), "big") >> 1


def examined(*args: Any) -> int:
    """Note a row that a statement looks at: its number, in a set that is bound as a `pyobject`. Always 1.

    A set, for a statement that takes long is broken off and run again.
    """
    seen, doc = args
    seen.add(doc)
    return 1


def _is_list(value: bytes) -> bool:
    return value[:1] != b"" and value[0] >> 5 == 4


def _encodings(value: bytes | None) -> frozenset[bytes] | None:
    if type(value) is not bytes or not _is_list(value):
        return None
    decoded: Any = dagcbor.decode_fast(value)
    return frozenset(map(dagcbor.encode, decoded))


@lru_cache(maxsize=64)
def _sought(items: bytes) -> frozenset[bytes]:
    decoded: Any = dagcbor.decode_fast(items)
    return frozenset(map(dagcbor.encode, decoded))


@lru_cache(maxsize=64)
def _decoded(item: bytes) -> Any:
    return dagcbor.decode_fast(item)


def decimal_key(text: str | None) -> Any:
    """What a decimal in text sorts and compares by."""
    return None if text is None else decimals.key_of(text)


class DecimalSum:
    """The exact sum of decimals in text; null if there are none."""

    def __init__(self) -> None:
        self.total: Decimal | None = None
        self.count = 0

    def step(self, text: str | None) -> None:
        if text is not None:
            self.count += 1
            try:
                self.total = Decimal(text) if self.total is None else _EXACT.add(self.total, Decimal(text))
            except Inexact:
                raise QueryError(
                    f"a sum of decimals has more than {_EXACT.prec} digits: {self.total} + {text}"
                ) from None

    def final(self) -> str | None:
        return None if self.total is None else str(self.total)


class DecimalAverage(DecimalSum):
    """The exact sum divided by the count, to 38 digits, half to even."""

    def final(self) -> str | None:
        return None if self.total is None else str(_AVERAGE.divide(self.total, Decimal(self.count)))


class DecimalLeast:
    """The least of decimals in text."""

    def __init__(self) -> None:
        self.found: Decimal | None = None

    def step(self, text: str | None) -> None:
        if text is not None and (self.found is None or self.beats(Decimal(text), self.found)):
            self.found = Decimal(text)

    def beats(self, new: Decimal, old: Decimal) -> bool:
        return new < old

    def final(self) -> str | None:
        return None if self.found is None else str(self.found)


class DecimalGreatest(DecimalLeast):
    """The greatest of decimals in text."""

    def beats(self, new: Decimal, old: Decimal) -> bool:
        return new > old


SCALARS: Final[dict[str, tuple[Callable[..., Any], int]]] = {
    "debros_casefold": (casefold, 1),
    "debros_like": (like, 2),
    "debros_ilike": (ilike, 2),
    "debros_matches": (matches, 2),
    "debros_endswith": (endswith, 2),
    "debros_length": (length, 1),
    "debros_contains": (contains, 2),
    "debros_contains_any": (contains_any, 2),
    "debros_contains_all": (contains_all, 2),
    "debros_has_key": (has_key, 2),
    "debros_path": (path, 3),
    "debros_items": (items, 1),
    "debros_shuffle": (shuffle, 2),
    "debros_texts": (texts, 1),
    "debros_decimal_key": (decimal_key, 1),
}
"""Pure functions: name -> (Python function, number of arguments)."""

AGGREGATES: Final[dict[str, tuple[Callable[[], Any], int]]] = {
    "debros_decimal_sum": (DecimalSum, 1),
    "debros_decimal_avg": (DecimalAverage, 1),
    "debros_decimal_min": (DecimalLeast, 1),
    "debros_decimal_max": (DecimalGreatest, 1),
}


def register(connection: apsw.Connection) -> None:
    """Put every function on a connection."""
    for name, (function, arity) in SCALARS.items():
        connection.create_scalar_function(name, function, arity, deterministic=True)
    for name, (factory, arity) in AGGREGATES.items():
        connection.create_aggregate_function(name, factory, arity)
    connection.create_scalar_function("debros_examined", examined, 2)
