"""Types that can be stored, each with values of it: what the laws of values are tried on."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any, Literal
from uuid import UUID

from hypothesis import strategies as st
from pydantic import BaseModel

INT64 = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
INSTANTS = st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 12, 31), timezones=ZONES)
DURATIONS = INT64.map(lambda n: dt.timedelta(microseconds=n))


@st.composite
def decimals(draw: st.DrawFn) -> Decimal:
    """Finite decimals of at most 38 digits, with all their scales and signs, close ones and far ones."""
    digits = draw(st.integers(0, 10**38 - 1) | st.integers(0, 1000))
    exponent = draw(st.integers(-5, 5) | st.integers(-999_999_000, 999_999_000))
    return Decimal((draw(st.integers(0, 1)), tuple(map(int, str(digits))), exponent))


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 3


@dataclass
class Point:
    x: float
    at: dt.datetime | None = None
    names: list[str] = field(default_factory=list)


class Address(BaseModel):
    street: str
    price: Decimal
    where: Point | None = None
    raw: bytes = b""


POINTS = st.builds(Point, FLOATS, st.none() | INSTANTS, st.lists(st.text(max_size=4), max_size=3))
ADDRESSES = st.builds(Address, street=st.text(max_size=4), price=decimals(), where=st.none() | POINTS, raw=st.binary())
PLAIN = st.recursive(
    st.none() | st.booleans() | INT64 | FLOATS | st.text(max_size=4) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)

SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(),
    int: INT64,
    bool: st.booleans(),
    float: FLOATS,
    bytes: st.binary(),
    dt.datetime: INSTANTS,
    dt.date: st.dates(),
    dt.time: st.times(),
    dt.timedelta: DURATIONS,
    Decimal: decimals(),
    UUID: st.uuids(),
    Colour: st.sampled_from(Colour),
    Level: st.sampled_from(Level),
    Literal["a", 1]: st.sampled_from(["a", 1]),
}
COMPOSITES: dict[Any, st.SearchStrategy[Any]] = {
    list[str]: st.lists(st.text(max_size=4), max_size=4),
    list[bytes | None]: st.lists(st.none() | st.binary(max_size=40), max_size=4),
    list[dt.datetime]: st.lists(INSTANTS, max_size=3),
    set[str]: st.sets(st.text(max_size=4), max_size=5),
    set[int]: st.sets(INT64, max_size=5),
    set[bytes]: st.sets(st.binary(max_size=40), max_size=4),
    set[UUID]: st.sets(st.uuids(), max_size=3),
    set[Colour]: st.sets(st.sampled_from(Colour)),
    dict[str, float]: st.dictionaries(st.text(max_size=4), FLOATS, max_size=4),
    dict[str, list[dt.date | None]]: st.dictionaries(st.text(max_size=3), st.lists(st.none() | st.dates(), max_size=3)),
    tuple[int, ...]: st.lists(INT64, max_size=4).map(tuple),
    tuple[str, Decimal | None]: st.tuples(st.text(max_size=4), st.none() | decimals()),
    Point: POINTS,
    Address: ADDRESSES,
    list[Address]: st.lists(ADDRESSES, max_size=2),
    dict[str, Any]: st.dictionaries(st.text(max_size=3), PLAIN, max_size=3),
}
TYPES = SCALARS | COMPOSITES
