"""Values on their way into a query: what types compare with each other, and the plain form of a value."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

from debros.blocks import dagcbor
from debros.errors import QueryError
from debros.schema import Codec
from debros.values.scalars import SCALARS

COLLECTIONS: Final = frozenset({"list", "set", "tuple"})
UNORDERED: Final = COLLECTIONS | {"map", "record", "file", "any"}
_PLAIN: Final[tuple[Any, ...]] = (int, float, bytes)
_FAMILY: Final = {"int": "number", "float": "number", "choice": "text", "uuid": "text"}


def family(codec: Codec) -> str:
    """Return what values of a type compare with: number, text, or only their own kind."""
    if codec.kind == "choice" and codec.affinity == "INTEGER":
        return "number"
    return _FAMILY.get(codec.kind, codec.kind)


def plain(value: Any) -> Any:
    """Return a text, number or bytes of a derived class (an `IntEnum`, a `StrEnum`) as that itself."""
    if isinstance(value, str):
        return checked(value if type(value) is str else str.__str__(value))
    if type(value) in (bool, int, float, bytes):
        return value
    return next((kind(value) for kind in _PLAIN if isinstance(value, kind)), value)


def wire_of(value: Any) -> Any:
    """Return the wire value of something whose type no declaration says.

    Raises:
        QueryError: it has none, or (decimals) not one that compares.
    """
    if isinstance(value, Enum):
        value = value.value
    codec = SCALARS.get(type(value))
    if codec is not None and codec.kind == "decimal":
        raise QueryError(f"{value!r}: a decimal inside a nested value is text, in which 1.5 and 1.50 differ")
    if codec is not None and not codec.is_operand(value):
        raise QueryError(f"{value!r} has no stored form")
    wire = plain(value if codec is None or codec.to_wire is None else codec.to_wire(value))
    try:
        dagcbor.encode(wire)
    except ValueError as error:
        raise QueryError(f"{value!r} has no stored form: {error}") from None
    return wire


def checked(text: str) -> str:
    """Refuse text that no database holds: lone surrogates have no UTF-8."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise QueryError(f"{text!r} is no Unicode text: it has a lone surrogate") from None
    return text


def successor(text: str) -> str | None:
    """Return the least text above all that begin with this one, by code point; `None` if there is none."""
    stem = text.rstrip("\U0010ffff")
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if following == 0xD800 else following)
