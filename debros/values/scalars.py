"""Codecs of values without parts: text, numbers, times, bytes, choices (docs/format.md, Values)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any, Final
from uuid import UUID, SafeUUID

from debros.errors import ModelError
from debros.schema import Codec
from debros.values import decimals

EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
EARLIEST: Final = (dt.datetime.min.replace(tzinfo=dt.UTC) - EPOCH) // dt.timedelta(microseconds=1)
LATEST: Final = (dt.datetime.max.replace(tzinfo=dt.UTC) - EPOCH) // dt.timedelta(microseconds=1)
_LONGEST: Final = dt.timedelta.max // dt.timedelta(microseconds=1)
_MICROSECOND: Final = dt.timedelta(microseconds=1)
_new, _set_int, _set_safe = object.__new__, UUID.__dict__["int"].__set__, UUID.__dict__["is_safe"].__set__
_UNKNOWN: Final = SafeUUID.unknown


def instant_to_wire(value: dt.datetime) -> int:
    """Return microseconds since 1970 UTC."""
    since = value - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def instant_from_wire(microseconds: int) -> dt.datetime:
    """Return the aware datetime, in UTC."""
    return EPOCH + _MICROSECOND * microseconds  # a third faster than making a timedelta


def duration_to_wire(value: dt.timedelta) -> int:
    """Return microseconds."""
    return (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds


def duration_from_wire(microseconds: int) -> dt.timedelta:
    """Return the timedelta."""
    return _MICROSECOND * microseconds


def uuid_from_wire(text: str) -> UUID:
    """Return the UUID of a canonical text, without the checks of its constructor, which take two thirds of its time."""
    made: UUID = _new(UUID)
    _set_int(made, int(text.replace("-", ""), 16))
    _set_safe(made, _UNKNOWN)
    return made


def _is_unicode(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:  # a lone surrogate
        return False


def _is_int(value: Any) -> bool:
    # by comparison: `in range(...)` counts through 2**64 numbers for an IntEnum
    return isinstance(value, int) and type(value) is not bool and -(2**63) <= value < 2**63


def _is_finite(value: Any) -> bool:
    if not isinstance(value, (int, float)) or type(value) is bool:
        return False
    try:
        return isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def _is_aware(value: Any) -> bool:
    return isinstance(value, dt.datetime) and value.utcoffset() is not None


def _is_duration(value: Any) -> bool:
    return isinstance(value, dt.timedelta) and -(2**63) <= duration_to_wire(value) < 2**63


def _is_text(parse: Callable[[str], Any], write: Callable[[Any], str]) -> Callable[[Any], bool]:
    """Whether a wire value is the one text form of something."""

    def accepts(value: Any) -> bool:
        if type(value) is not str:
            return False
        try:
            return write(parse(value)) == value
        except ValueError:
            return False

    return accepts


def _is_naive_time(text: str) -> dt.time:
    value = dt.time.fromisoformat(text)
    if value.tzinfo is not None:
        raise ValueError("a time with a zone")
    return value


TEXT: Final = Codec("text", "TEXT", "str", lambda v: type(v) is str, _is_unicode)
INT: Final = Codec(
    "int",
    "INTEGER",
    "int",
    lambda v: type(v) is int and -(2**63) <= v < 2**63,
    _is_int,
)
BOOL: Final = Codec(
    "bool", "INTEGER", "bool", lambda v: type(v) is bool, lambda v: type(v) is bool, to_column=int, from_column=bool
)
FLOAT: Final = Codec(
    "float",
    "REAL",
    "float",
    lambda v: type(v) is float,
    _is_finite,
    to_wire=lambda v: float(v) + 0.0,  # -0.0 is written 0.0
)
BYTES: Final = Codec(
    "bytes", "BLOB", "bytes", lambda v: type(v) is bytes, lambda v: isinstance(v, bytes), to_wire=bytes
)
INSTANT: Final = Codec(
    "instant",
    "INTEGER",
    "datetime",
    lambda v: type(v) is int and EARLIEST <= v <= LATEST,
    _is_aware,
    to_wire=instant_to_wire,
    from_wire=instant_from_wire,
    from_column=instant_from_wire,
)
DURATION: Final = Codec(
    "duration",
    "INTEGER",
    "timedelta",
    lambda v: type(v) is int and -(2**63) <= v < 2**63 and abs(v) <= _LONGEST,
    _is_duration,
    to_wire=duration_to_wire,
    from_wire=duration_from_wire,
    from_column=duration_from_wire,
)
DATE: Final = Codec(
    "date",
    "TEXT",
    "date",
    _is_text(dt.date.fromisoformat, dt.date.isoformat),
    lambda v: isinstance(v, dt.date) and not isinstance(v, dt.datetime),
    to_wire=dt.date.isoformat,
    from_wire=dt.date.fromisoformat,
    from_column=dt.date.fromisoformat,
)
TIME: Final = Codec(
    "time",
    "TEXT",
    "time",
    _is_text(_is_naive_time, dt.time.isoformat),
    lambda v: isinstance(v, dt.time) and v.tzinfo is None,
    to_wire=dt.time.isoformat,
    from_wire=dt.time.fromisoformat,
    from_column=dt.time.fromisoformat,
)
DECIMAL: Final = Codec(
    "decimal",
    "TEXT",
    "Decimal",
    lambda v: type(v) is str and decimals.is_canonical(v),
    lambda v: isinstance(v, (int, Decimal)) and type(v) is not bool and decimals.is_canonical(str(Decimal(v))),
    to_wire=lambda v: str(Decimal(v)),
    from_wire=Decimal,
    from_column=Decimal,
    to_key=decimals.key_of,
)
IDENTIFIER: Final = Codec(
    "uuid",
    "TEXT",
    "UUID",
    _is_text(UUID, str),
    lambda v: isinstance(v, UUID),
    to_wire=str,
    from_wire=uuid_from_wire,
    from_column=uuid_from_wire,
)

SCALARS: Final[dict[Any, Codec]] = {
    str: TEXT, int: INT, bool: BOOL, float: FLOAT, bytes: BYTES, dt.datetime: INSTANT, dt.timedelta: DURATION,
    dt.date: DATE, dt.time: TIME, Decimal: DECIMAL, UUID: IDENTIFIER,
}  # fmt: skip


def choice(name: str, members: dict[Any, Any], is_member: Callable[[Any], bool]) -> Codec:
    """Return the codec of an enum or a `Literal`: `members` by wire value, which are texts or integers.

    Raises:
        ModelError: another kind of value among them.
    """
    kinds = {type(wire) for wire in members}
    if not kinds <= {str, int} or not all(_is_unicode(wire) or _is_int(wire) for wire in members):
        raise ModelError(f"{name} has values that are neither text nor integers of 64 bits")
    is_enum = any(isinstance(member, Enum) for member in members.values())
    return Codec(
        "choice",
        "TEXT" if kinds == {str} else "INTEGER" if kinds == {int} else "BLOB",
        f"{name}({', '.join(map(repr, members))})",
        lambda v: type(v) in kinds and v in members,
        is_member,
        to_wire=(lambda v: v.value) if is_enum else None,
        from_wire=members.__getitem__ if is_enum else None,
        from_column=members.__getitem__ if is_enum else None,
    )
