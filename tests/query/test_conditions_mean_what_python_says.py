"""Every operator, and trees of them, answer as the naive reading in `tests.support.conditions` does."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.conditions import Condition, build, holds, ordered
from tests.support.tabular import Node, schema

THING = schema(
    "Thing",
    {
        "n": int | None, "m": int | None, "x": float | None, "text": str | None, "other": str, "flag": bool | None,
        "at": datetime | None, "day": date | None, "price": Decimal | None, "blob": bytes | None,
        "tags": set[str] | None, "numbers": list[int] | None, "counts": dict[str, int] | None, "data": dict[str, Any] | None,
    },
    indexes=["n", "text", ("flag", "-at"), "price"],
    wire={"n": "number"},
)  # fmt: skip

LETTERS = "aAbßéÉ%_*?[\0 \U0010ffff"
INTS = st.integers(-3, 3) | st.sampled_from([-(2**63), 2**63 - 1, 2**40])
FLOATS = st.sampled_from([-1.5, 0.0, 0.1, 2.0, 1e300, 3.0])
TEXTS = st.text(LETTERS, max_size=4)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])
INSTANTS = st.builds(
    datetime, st.sampled_from([1, 1969, 1970, 2024, 9998]), st.sampled_from([1, 2, 12]), st.sampled_from([1, 28]),
    st.sampled_from([0, 23]), microsecond=st.sampled_from([0, 999_999]), tzinfo=ZONES,
).filter(lambda at: at.year > 1 or at.month > 1)  # fmt: skip
DAYS = st.builds(date, st.sampled_from([1, 1969, 2024, 9999]), st.sampled_from([1, 12]), st.sampled_from([1, 31]))
PRICES = st.sampled_from([Decimal(t) for t in ("0", "-0.5", "1.5", "1.50", "10", "9.99", "-10", "1E+20", "1E-20")])
BLOBS = st.binary(max_size=2)
TAGS = st.sets(st.sampled_from(["a", "b", "ab", "\0"]), max_size=3)
NUMBERS = st.lists(st.integers(-2, 300), max_size=3)
COUNTS = st.dictionaries(st.sampled_from(["a", "b", "'"]), st.integers(0, 2), max_size=2)
LEAVES = st.none() | st.booleans() | st.integers(-1, 1) | st.sampled_from([0.5, 1.0]) | st.sampled_from(["", "a", "1"])
DATA = st.dictionaries(
    st.sampled_from(["a", "b"]),
    LEAVES | st.lists(LEAVES, max_size=2) | st.fixed_dictionaries({"b": LEAVES}),
    max_size=2,
)

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "n": INTS, "m": INTS, "x": FLOATS, "text": TEXTS, "other": TEXTS, "flag": st.booleans(), "at": INSTANTS, "day": DAYS,
    "price": PRICES, "blob": BLOBS, "tags": TAGS, "numbers": NUMBERS, "counts": COUNTS, "data": DATA,
}  # fmt: skip
ORDERED = ["n", "m", "x", "text", "other", "flag", "at", "day", "price", "blob"]
SIGNS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])


def rows() -> st.SearchStrategy[list[dict[str, Any]]]:
    row = st.fixed_dictionaries(
        {name: values if name == "other" else st.none() | values for name, values in FIELDS.items()}
    )
    return st.lists(row, max_size=8).map(lambda found: [{"id": f"id{n}", **one} for n, one in enumerate(found)])


def compare(name: str) -> st.SearchStrategy[Condition]:
    values = FIELDS[name]
    return st.one_of(
        st.tuples(st.just("compare"), SIGNS, st.just(name), values),
        st.tuples(st.just("compare"), st.sampled_from(["==", "!="]), st.just(name), st.none()),
        st.tuples(st.sampled_from(["in_", "not_in"]), st.just(name), st.lists(st.none() | values, max_size=4)),
        st.tuples(st.sampled_from(["is_null", "is_not_null"]), st.just(name)),
        st.tuples(st.just("between"), st.just(name), values, values),
    )


def part(name: str, field: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Condition]:
    return st.tuples(st.just("part"), SIGNS, st.just(name), st.just(field), values)


def method(names: list[str], field: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Condition]:
    return st.tuples(st.sampled_from(names), st.just(field), *arguments)


COLUMN_PAIRS = st.sampled_from([("n", "m"), ("n", "x"), ("text", "other"), ("at", "at"), ("price", "price")])
SINGLE: st.SearchStrategy[Condition] = st.one_of(
    st.sampled_from(ORDERED).flatmap(compare),
    st.builds(lambda sign, pair: ("columns", sign, *pair), SIGNS, COLUMN_PAIRS),
    method(["like", "ilike"], "text", st.text("aAß%%__é", max_size=5)),
    method(["startswith", "endswith", "contains", "icontains"], "text", st.text(LETTERS, max_size=2)),
    method(["matches"], "text", st.sampled_from(["a|b", "^a", "é$", "[^a]+", "(ab)*$"])),
    method(["contains"], "tags", st.sampled_from(["a", "b", "c"])),
    method(["contains"], "numbers", st.integers(-2, 300)),
    method(["contains_any", "contains_all"], "tags", st.lists(st.sampled_from(["a", "b", "c"]), max_size=2)),
    method(["contains_any", "contains_all"], "numbers", st.lists(st.integers(-2, 2), max_size=2)),
    method(["has_key"], "counts", st.sampled_from(["a", "b", "'", "c"])),
    part("length", "text", st.integers(0, 4)),
    part("length", "blob", st.integers(0, 2)),
    part("length", "tags", st.integers(0, 3)),
    part("length", "counts", st.integers(0, 2)),
    part("date", "at", DAYS),
    part("year", "at", st.sampled_from([1969, 1970, 2024])),
    part("month", "at", st.integers(1, 12)),
    part("day", "at", st.sampled_from([1, 27, 28])),
    part("year", "day", st.sampled_from([1969, 2024])),
    part("day", "day", st.integers(1, 31)),
    st.tuples(st.just("compare"), st.sampled_from(["==", "!="]), st.just("tags"), TAGS),
    st.tuples(st.just("compare"), st.sampled_from(["==", "!="]), st.just("numbers"), NUMBERS),
)  # fmt: skip
AT_PATHS: st.SearchStrategy[Condition] = st.tuples(
    st.just("path"), SIGNS, st.just("data"), st.sampled_from(["a", "b", "a.b", "b.1", "a.0"]),
    st.booleans() | st.integers(-1, 1) | st.sampled_from([0.5, "", "a", "1"]),
)  # fmt: skip
TREES: st.SearchStrategy[Condition] = st.recursive(
    SINGLE | AT_PATHS,
    lambda inner: st.one_of(st.tuples(st.just("not"), inner), st.tuples(st.sampled_from(["and", "or"]), inner, inner)),
    max_leaves=6,
)
ORDERS = st.lists(st.tuples(st.sampled_from(ORDERED), st.booleans()), max_size=2, unique_by=lambda one: one[0])


def thing(found: list[dict[str, Any]]) -> Node:
    node = Node(THING)
    node.add("Thing", *found)
    node.add("Thing", {"id": "deleted", "other": ""}, hidden=1)
    return node


def column(node: Node) -> Any:
    return lambda name: node.column(f"Thing.{name}")


@settings(max_examples=200)
@given(rows(), st.lists(SINGLE, min_size=8, max_size=16))
def test_rows_that_fulfil_a_condition_show(found: list[dict[str, Any]], conditions: list[Condition]) -> None:
    trio.run(check_all, found, conditions)


@settings(max_examples=200)
@given(rows(), st.lists(TREES, min_size=1, max_size=4))
def test_composed_conditions_follow_three_valued_logic(found: list[dict[str, Any]], trees: list[Condition]) -> None:
    trio.run(check_all, found, trees)


@settings(max_examples=100)
@given(st.lists(DATA, max_size=8), st.lists(AT_PATHS, min_size=4, max_size=8))
def test_values_at_paths_compare_within_their_sort(data: list[dict[str, Any]], conditions: list[Condition]) -> None:
    found = [{"id": f"id{n}", **dict.fromkeys(FIELDS), "other": "", "data": one} for n, one in enumerate(data)]
    trio.run(check_all, found, conditions)


LOOKED_FOR = st.text("aAbß%_", max_size=2)
IN_TEXT: st.SearchStrategy[Condition] = st.one_of(
    method(["startswith", "endswith", "contains", "icontains"], "text", LOOKED_FOR),
    method(["like", "ilike"], "text", st.text("aAbß%_", max_size=4)),
)


@settings(max_examples=100)
@given(st.lists(st.text("aAbß%_", max_size=4), max_size=12), st.lists(IN_TEXT, min_size=8, max_size=16))
def test_text_is_found_where_python_finds_it(texts: list[str], conditions: list[Condition]) -> None:
    found = [{"id": f"id{n:02}", **dict.fromkeys(FIELDS), "other": "", "text": text} for n, text in enumerate(texts)]
    trio.run(check_all, found, conditions)


async def check_all(found: list[dict[str, Any]], conditions: list[Condition]) -> None:
    node = thing(found)
    for condition in conditions:
        query = node.query("Thing").where(build(condition, column(node)))
        expected = [row["id"] for row in found if holds(condition, row) is True]
        assert [row.id for row in await query.all()] == expected, condition
        assert await query.count() == len(expected)
        assert await query.exists() == bool(expected)


@settings(max_examples=150)
@given(rows(), SINGLE, ORDERS, st.none() | st.integers(0, 5), st.integers(0, 3))
def test_rows_come_in_order_and_are_cut(
    found: list[dict[str, Any]], condition: Condition, by: list[tuple[str, bool]], limit: int | None, offset: int
) -> None:
    node = thing(found)
    query = node.query("Thing").where(build(condition, column(node))).offset(offset)
    for name, down in by:
        query = query.order_by(name, "desc" if down else "asc")
    if limit is not None:
        query = query.limit(limit)

    async def check() -> None:
        kept = ordered([row for row in found if holds(condition, row) is True], by)
        expected = kept[offset:][:limit]
        assert [row.id for row in await query.all()] == [row["id"] for row in expected]
        assert await query.count() == len(expected)
        assert await query.exists() == bool(expected)
        first = await query.first()
        assert (first and first.id) == (expected[0]["id"] if expected else None)
        numbers = [row["n"] for row in expected if row["n"] is not None]
        assert await query.sum("n") == sum(numbers)
        assert await query.min("n") == min(numbers, default=None)
        prices = [row["price"] for row in expected if row["price"] is not None]
        assert Fraction(await query.sum("price")) == sum(map(Fraction, prices), Fraction(0))  # `sum` would round
        assert await query.max("price") == max(prices, default=None)

    trio.run(check)


@settings(max_examples=100)
@given(rows(), ORDERS, st.integers(1, 3))
def test_pages_join_to_the_whole(found: list[dict[str, Any]], by: list[tuple[str, bool]], size: int) -> None:
    node = thing(found)
    query = node.query("Thing").limit(size)
    for name, down in by:
        query = query.order_by(name, "desc" if down else "asc")

    async def check() -> None:
        seen: list[str] = []
        cursor = None
        while True:
            page = await query.page(after=cursor)
            seen += [row.id for row in page.rows]
            assert len(page.rows) == size or page.next is None
            cursor = page.next
            if cursor is None:
                break
        assert seen == [row["id"] for row in ordered(found, by)]

    trio.run(check)
