"""Which types can be stored, which wire values are theirs, and which Python values a query may compare with them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from annotated_types import Interval, Len
from pydantic import Field, StringConstraints

from debros import Ge, Gt, Le, Lt, MaxLen, MinLen, Pattern
from debros.errors import ModelError
from debros.schema import Bounds
from debros.values import describe
from tests.support.typed import Address, Colour, Level, Point


class Status(StrEnum):
    OPEN = "open"


class Half(Enum):
    HALF = 0.5


class Huge(Enum):
    HUGE = 2**70


DAY_US = 86_400_000_000
ID = "01999999-0000-7000-8000-00000000000a"

# type, wire values that are accepted, wire values that are not
WIRE: list[tuple[Any, list[Any], list[Any]]] = [
    (str, ["", "a\0é", "x" * 1000], [1, b"a", None, ["a"], True]),
    (int, [0, -(2**63), 2**63 - 1], [2**63, -(2**63) - 1, True, 1.0, "1", None]),
    (bool, [True, False], [1, 0, "true", None]),
    (float, [0.0, -0.0, 1e308, 5e-324], [1, True, "1.5", None]),
    (bytes, [b"", b"\xff"], ["", [1], None]),
    (dt.datetime, [0, -62_135_596_800_000_000, 253_402_300_799_999_999],
     [-62_135_596_800_000_001, 253_402_300_800_000_000, 1.0, True, "2024-01-01"]),
    (dt.timedelta, [0, -DAY_US, 2**63 - 1, -(2**63)], [2**63, 1.5, True, "PT1S"]),
    (dt.date, ["2024-02-29", "0001-01-01", "9999-12-31"],
     ["2023-02-29", "20240229", "2024-W09-4", "2024-2-29", "2024-02-29T00:00", "", 1]),
    (dt.time, ["00:00:00", "23:59:59.999999"],
     ["24:00:00", "12:00", "12:00:00.5", "12:00:00.000000", "T12:00:00", "12:00:00+00:00", "12:00:00Z", 0]),
    (Decimal, ["0", "-1.50", "1E+20", "0.00", "9" * 38, "1E-999999999"],
     ["01", "1e5", "1.", ".5", "+1", " 1", "1_0", "NaN", "-NaN", "sNaN1", "Infinity", "9" * 39, "1E+1000000000",
      "1E+9999999999999999999", "1E-3000000000", "\u0661", "", 1, 1.5]),
    (UUID, [ID], [ID.upper(), ID.replace("-", ""), f"{{{ID}}}", f"urn:uuid:{ID}", ID + " ", "", 1]),
    (Colour, ["red"], ["RED", "green", b"red", 1, ["red"], {}]),
    (Level, [1, 3], [2, True, 1.0, "1", "LOW"]),
    (Literal["a", 1], ["a", 1], ["b", True, 1.0, [], None]),
    (list[str], [[], ["a", "b"]], [[1], ["a", None], "ab", {"a": 1}, None, ("a",)]),
    (list[str | None], [["a", None]], [[1]]),
    (list[list[int]], [[[1], []]], [[1], [["1"]], [[True]]]),
    (set[int], [[], [1, 2]], [["1"], 1, {}]),
    (dict[str, int], [{}, {"a": 1}], [{"a": "1"}, {"a": None}, [], [["a", 1]]]),
    (tuple[int, ...], [[], [1, 2, 3]], [["1"], 1]),
    (tuple[int, str], [[1, "a"]], [[], [1], ["a", 1], [1, "a", 2], None]),
    (tuple[int, str | None], [[1, None]], [[None, "a"]]),
    (Point, [{"x": 1.0}, {"x": 1.0, "at": 0, "names": ["a"]}, {"x": 1.0, "at": None}],
     [{}, {"x": 1}, {"x": 1.0, "at": "now"}, {"x": 1.0, "newer": 1}, {"x": 1.0, "names": [1]}, [1.0], None]),
    (Address, [{"street": "s", "price": "1.50", "where": {"x": 0.5}}],
     [{"street": "s"}, {"street": "s", "price": 1}, {"street": "s", "price": "1", "where": {"x": "0"}}]),
    (dict[str, Any], [{"a": [None, True, 1, 1.5, "x", b"x", {"b": []}]}], [{"a": 2**63}, {"a": (1,)}, {"a": {1: 2}}]),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "good", "bad"), WIRE, ids=[str(row[0]) for row in WIRE])
def test_a_wire_value_is_of_a_type_or_not(annotation: Any, good: list[Any], bad: list[Any]) -> None:
    accepts = describe(annotation).codec.accepts
    assert [value for value in good if accepts(value) is not True] == []
    assert [value for value in bad if accepts(value) is not False] == []


UTC_NOON = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)


class Nowhere(dt.tzinfo):
    """A zone that does not say its offset: such a time is naive."""

    def utcoffset(self, when: dt.datetime | None) -> dt.timedelta | None:
        return None


OPERANDS: list[tuple[Any, list[Any], list[Any]]] = [
    (str, ["a", Status.OPEN], [1, b"a", "\ud800"]),
    (int, [1, Level.HIGH, -(2**63)], [True, 1.0, "1", 2**63, Decimal(1)]),
    (bool, [True], [1, "true"]),
    (float, [1.5, 1, 10**300], [True, "1", float("nan"), float("inf"), 10**400, Decimal(1)]),
    (dt.datetime, [UTC_NOON], [UTC_NOON.replace(tzinfo=None), UTC_NOON.replace(tzinfo=Nowhere()), UTC_NOON.date(), 0]),
    (dt.date, [UTC_NOON.date()], [UTC_NOON, "2024-01-01"]),
    (dt.time, [dt.time(1)], [dt.time(1, tzinfo=dt.UTC), "01:00:00"]),
    (dt.timedelta, [dt.timedelta(1)], [dt.timedelta.max, dt.timedelta.min, 1]),
    (Decimal, [Decimal("1.5"), 3], [1.5, True, "1", Decimal("NaN"), Decimal("-Infinity"), Decimal("9" * 39), 10**5000]),
    (UUID, [UUID(ID)], [ID]),
    (Colour, [Colour.RED], ["red", Level.LOW, None]),
    (Level, [Level.LOW], [1, Colour.RED]),
    (Literal["a", 1], ["a", 1], ["b", True, 1.0, [1], {}]),
    (list[str], [["a"]], [[1], ("a",), "a"]),
    (set[dt.datetime], [{UTC_NOON}, set()], [{1}, [UTC_NOON]]),
    (dict[str, int], [{"a": 1}], [{"a": "1"}, {1: 1}]),
    (tuple[int, str], [(1, "a")], [(1,), ("a", 1), [1, "a"]]),
    (Point, [Point(1.5), Point(1)], [Point("1"), Point(1.0, UTC_NOON.replace(tzinfo=None)), {"x": 1.5}]),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("annotation", "good", "bad"), OPERANDS, ids=[str(row[0]) for row in OPERANDS])
def test_a_python_value_may_be_compared_with_a_type_or_not(annotation: Any, good: list[Any], bad: list[Any]) -> None:
    is_operand = describe(annotation).codec.is_operand
    assert [value for value in good if is_operand(value) is not True] == []
    assert [value for value in bad if is_operand(value) is not False] == []


def nested(levels: int) -> Any:
    annotation: Any = int
    for _ in range(levels):
        annotation = list[annotation]
    return annotation


UNSTORABLE: list[Any] = [
    complex, frozenset[str], dict[int, str], int | str, list[int | str], None, "Post", tuple, Callable[[], int],
    set[list[int]], set[set[str]], set[dict[str, int]], set[Point], set[Any], set,
    Half, Huge, Literal[True], Literal[b"a"], nested(17),
]  # fmt: skip


@pytest.mark.parametrize("annotation", UNSTORABLE, ids=lambda given: str(given)[:40])
def test_a_type_that_cannot_be_stored_is_refused(annotation: Any) -> None:
    with pytest.raises(ModelError):
        describe(annotation)


def test_sixteen_levels_can_be_stored() -> None:
    assert describe(nested(16)).codec.accepts(json.loads("[" * 16 + "1" + "]" * 16))


@pytest.mark.parametrize(
    ("annotation", "nullable"),
    [
        (str, False),
        (str | None, True),
        (Annotated[str | None, MaxLen(3)], True),
        (Annotated[str, MaxLen(3)] | None, True),
        (list[str | None], False),
    ],
    ids=str,
)
def test_only_a_union_with_none_on_the_outside_is_nullable(annotation: Any, nullable: bool) -> None:
    assert describe(annotation).nullable is nullable


@pytest.mark.parametrize(
    ("annotation", "mutable"),
    [
        (str, False), (Decimal, False), (tuple[int, ...], False), (tuple[int, str], False), (tuple[list[int], int], True),
        (list[int], True), (set[str], True), (dict[str, int], True), (Point, True), (Any, True),
    ],
    ids=str,
)  # fmt: skip
def test_a_codec_says_whether_values_may_change_in_place(annotation: Any, mutable: bool) -> None:
    assert describe(annotation).codec.mutable is mutable


NOON_US = 1_704_110_400_000_000
BOUNDS: list[tuple[Any, dict[str, Any], Bounds | None]] = [
    (int, {}, None),
    (Annotated[int, Ge(1), Lt(9)], {}, Bounds(ge=1, lt=9)),
    (Annotated[int, Gt(1), Le(9)] | None, {}, Bounds(gt=1, le=9)),
    (Annotated[str, MinLen(1)], {"max_length": 3}, Bounds(min_length=1, max_length=3)),
    (Annotated[str, Pattern("^a")], {}, Bounds(pattern="^a")),
    (Annotated[str, StringConstraints(max_length=3, pattern="a")], {}, Bounds(max_length=3, pattern="a")),
    (Annotated[int, Field(ge=1)], {}, Bounds(ge=1)),
    (Annotated[int, Interval(ge=1, lt=5)], {}, Bounds(ge=1, lt=5)),
    (Annotated[list[int], Len(1, 5)], {}, Bounds(min_length=1, max_length=5)),
    (dt.datetime, {"ge": UTC_NOON}, Bounds(ge=NOON_US)),
    (dt.date, {"lt": UTC_NOON.date()}, Bounds(lt="2024-01-01")),
    (Decimal, {"ge": 0, "le": Decimal("9.50")}, Bounds(ge="0", le="9.50")),
    (float, {"ge": 0}, Bounds(ge=0.0)),
    (Annotated[int, Ge(5), Le(5)], {"ge": 0, "le": 9}, Bounds(ge=5, le=5)),
    (Annotated[int, Ge(0), Le(9)], {"ge": 5, "le": 5}, Bounds(ge=5, le=5)),
    (Annotated[str, MinLen(2), MaxLen(3)], {"min_length": 1, "max_length": 9}, Bounds(min_length=2, max_length=3)),
    (Annotated[str, Pattern("a")], {"pattern": "a"}, Bounds(pattern="a")),
]


@pytest.mark.parametrize(("annotation", "constraints", "bounds"), BOUNDS, ids=lambda given: str(given)[:40])
def test_constraints_are_collected_as_wire_values_and_the_tighter_one_holds(
    annotation: Any, constraints: dict[str, Any], bounds: Bounds | None
) -> None:
    assert describe(annotation, **constraints).bounds == bounds


@pytest.mark.parametrize(
    ("annotation", "constraints"),
    [
        (bool, {"ge": True}), (UUID, {"ge": UUID(ID)}), (list[int], {"ge": [1]}), (Colour, {"ge": Colour.RED}),
        (int, {"max_length": 3}), (int, {"pattern": "a"}), (bytes, {"pattern": "a"}), (Point, {"min_length": 1}),
        (int, {"ge": "1"}), (int, {"ge": 1.5}), (Decimal, {"ge": 0.5}), (dt.datetime, {"ge": dt.datetime(2024, 1, 1)}),
        (str, {"max_length": -1}), (str, {"max_length": "3"}), (str, {"min_length": True}), (str, {"size": 3}),
        (str, {"pattern": "("}), (str, {"pattern": "(?=a)b"}), (str, {"pattern": r"\p{Greek}"}), (str, {"pattern": 3}),
        (Annotated[str, Pattern("a")], {"pattern": "b"}), (Annotated[int, MaxLen(3)], {"ge": 1}),
    ],
    ids=str,
)  # fmt: skip
def test_a_constraint_that_does_not_fit_its_type_is_refused(annotation: Any, constraints: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        describe(annotation, **constraints)


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (str, "str"),
        (set[str], "set[str]"),
        (list[str | None], "list[str | None]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (dict[str, list[int]], "dict[str, list[int]]"),
        (Colour, "Colour('red', 'blue')"),
    ],
)
def test_a_type_is_named_as_a_person_writes_it(annotation: Any, name: str) -> None:
    assert describe(annotation).codec.name == name
