"""Random models, data and queries: the engine against plain Python filters, orders, groups and slices."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from functools import reduce
from operator import and_, or_
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.query import aggregates
from tests.query.test_conditions_mean_what_python_says import (
    DAYS,
    FIELDS,
    ORDERED,
    SIGNS,
    Condition,
    compare,
    method,
    part,
)
from tests.support.conditions import build, holds, ordered
from tests.support.tabular import Node, schema

TYPES: dict[str, Any] = {
    "n": int, "m": int, "x": float, "text": str, "other": str, "flag": bool, "at": datetime, "day": date, "price": Decimal,
    "blob": bytes, "tags": set[str], "numbers": list[int], "counts": dict[str, int], "data": dict[str, Any],
}  # fmt: skip
WORDS = st.sampled_from(["a", "b", "c", "é", ""])
SPECIAL: dict[str, list[st.SearchStrategy[Condition]]] = {
    "text": [
        method(["startswith", "contains", "icontains"], "text", WORDS), method(["matches"], "text", st.sampled_from(["a|b", "^a", "é$"])),
        method(["like", "ilike"], "text", st.text("aAß%_é", max_size=3)), part("length", "text", st.integers(0, 4)),
    ],
    "tags": [
        method(["contains"], "tags", WORDS), method(["contains_any", "contains_all"], "tags", st.lists(WORDS, max_size=2)),
        part("length", "tags", st.integers(0, 3)),
    ],
    "numbers": [method(["contains"], "numbers", st.integers(-2, 3)), method(["contains_any", "contains_all"], "numbers", st.lists(st.integers(-2, 2), max_size=2))],
    "counts": [method(["has_key"], "counts", st.sampled_from(["a", "b", "'"]))],
    "data": [
        st.tuples(
            st.just("path"), SIGNS, st.just("data"), st.sampled_from(["a", "b", "a.b", "b.1"]),
            st.booleans() | st.integers(-1, 1) | st.sampled_from([0.5, "", "a"]),
        )
    ],
    "at": [part("date", "at", DAYS), part("year", "at", st.sampled_from([1969, 1970, 2024])), part("month", "at", st.integers(1, 12))],
    "day": [part("day", "day", st.integers(1, 31))],
}  # fmt: skip
INDEXES = [
    "n", "text", "-m", ("flag", "-at"), ("text", "n", "-day"), "price", "tags", "numbers", "data.a", "data.b.1", ("other", "data.a"), ("-x", "n"),
]  # fmt: skip


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Any, list[dict[str, Any]], list[Condition], list[tuple[str, bool]]]:
    """A model of some fields with some indexes, rows of it, conditions on it, and an order."""
    names = draw(st.lists(st.sampled_from(list(TYPES)), min_size=2, max_size=6, unique=True))
    nullable = {name: draw(st.booleans()) for name in names}
    fields = {name: TYPES[name] | None if nullable[name] else TYPES[name] for name in names}
    possible = [
        index for index in INDEXES
        if all(one.lstrip("-").partition(".")[0] in names for one in ([index] if isinstance(index, str) else index))
    ]  # fmt: skip
    chosen = draw(st.lists(st.sampled_from(possible), unique=True, max_size=4)) if possible else []
    model = schema("Thing", fields, indexes=chosen)
    row = st.fixed_dictionaries({name: st.none() | FIELDS[name] if nullable[name] else FIELDS[name] for name in names})
    rows = [{"id": f"id{n}", **one} for n, one in enumerate(draw(st.lists(row, max_size=7)))]
    single = st.one_of(
        [compare(name) for name in names if name in ORDERED] + [s for name in names for s in SPECIAL.get(name, [])]
        or [st.just(("is_null", names[0]))]
    )
    conditions = draw(st.lists(single | st.tuples(st.just("not"), single), min_size=1, max_size=4))
    by = draw(
        st.lists(
            st.tuples(st.sampled_from([n for n in names if n in ORDERED] or ["id"]), st.booleans()),
            max_size=3,
            unique_by=lambda one: one[0],
        )
    )
    return model, rows, conditions, by


@settings(max_examples=120)
@given(worlds(), st.booleans(), st.none() | st.integers(0, 4), st.integers(0, 3), st.integers(1, 3))
def test_the_engine_finds_what_plain_python_finds(
    world: tuple[Any, list[dict[str, Any]], list[Condition], list[tuple[str, bool]]],
    joined_by_or: bool,
    limit: int | None,
    offset: int,
    size: int,
) -> None:
    model, rows, conditions, by = world
    joined: Condition = reduce(lambda a, b: ("or" if joined_by_or else "and", a, b), conditions)

    async def check() -> None:
        node = Node(model)
        node.add("Thing", *rows)

        def column(name: str) -> Any:
            return node.column(f"Thing.{name}")

        condition = reduce(or_ if joined_by_or else and_, [build(one, column) for one in conditions])
        query = node.query("Thing").where(condition)
        for name, down in by:
            query = query.order_by(name, "desc" if down else "asc")
        kept = ordered([row for row in rows if holds(joined, row) is True], by)
        ids = [row["id"] for row in kept]
        cut = query.offset(offset) if limit is None else query.offset(offset).limit(limit)
        assert [row.id for row in await cut.all()] == ids[offset:][:limit]
        assert await cut.count() == len(ids[offset:][:limit])
        assert [row.id for rows in [r async for r in query.batches(size)] for row in rows] == ids
        assert [row.id async for row in query.stream()] == ids
        keys = [one.name for one in model.fields if one.name in ORDERED][:1]
        for key in keys:
            grouped = await node.query("Thing").where(condition).group_by(key).aggregate(aggregates.count())
            assert Counter(dict(grouped)) == Counter(row[key] for row in kept)
            different = await node.query("Thing").where(condition).select(key).distinct().all()
            assert {value for (value,) in different} == {row[key] for row in kept}
            assert len(different) == len({row[key] for row in kept})
            values = [row[key] for row in kept if row[key] is not None]
            assert await query.count_distinct(key) == len(set(values))
            assert await query.min(key) == min(values, default=None)

    trio.run(check)
