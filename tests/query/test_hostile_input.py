"""Names are only ever the schema's, values are only ever bound; what is large works, or fails clearly."""

from __future__ import annotations

from functools import reduce
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.errors import QueryError, UnknownFieldError
from debros.query import aggregates
from tests.support.blog import blog
from tests.support.tabular import Node, schema

HOSTILE = [
    '"; DROP TABLE m_Post; --',
    'likes"',
    "f_likes",
    "_doc",
    "rowid",
    "id --",
    "likes; SELECT 1",
    "",
    "\0",
    "*",
    "1",
]
WORD = schema(
    "Word",
    {"text": str, "data": dict[str, Any], "tags": list[str], "blob": bytes, "x": float, "n": int},
    indexes=["text"],
)


@pytest.mark.parametrize("name", HOSTILE)
async def test_names_that_the_schema_does_not_have_are_refused(name: str) -> None:
    query = blog().query("Post")
    for use in (
        lambda: query.where(name, 1),
        lambda: query.order_by(name),
        lambda: query.select(name),
        lambda: query.group_by(name),
        lambda: query.with_(name),
        lambda: query.where_has(name),
    ):
        with pytest.raises(UnknownFieldError):
            use()
    with pytest.raises(UnknownFieldError):
        await query.sum(name)


TEXTS = st.text(max_size=20) | st.sampled_from([*HOSTILE, "'", "''", "%_[*]?\\", "' OR 1=1 --", '"', "\ufffe", "a\0b"])


@settings(max_examples=100)
@given(TEXTS.filter(lambda text: text.isprintable() or "\0" in text))
def test_hostile_values_come_back_as_values(text: str) -> None:
    trio.run(_check_values, text)


async def _check_values(text: str) -> None:
    node = Node(WORD)
    node.add(
        "Word",
        {"id": "w", "text": text, "data": {text: text}, "tags": [text, "x"], "blob": text.encode(), "x": 0.5, "n": 1},
    )
    node.add(
        "Word", {"id": "z", "text": text + "z", "data": {}, "tags": [], "blob": b"\0" + text.encode(), "x": 1.5, "n": 2}
    )
    column, data, tags = node.column("Word.text"), node.column("Word.data"), node.column("Word.tags")
    conditions = [
        column == text, column.in_([text]), column.in_([text, *map(str, range(300))]), column.between(text, text),
        tags.contains(text), tags.contains_any([text]), tags.contains_all([text]), data.has_key(text), data == {text: text},
        node.column("Word.blob") == text.encode(), node.column("Word.blob").in_([text.encode(), *[bytes([n]) * 9 for n in range(200)]]),
    ]  # fmt: skip
    if text and "." not in text:
        conditions.append(data.path(text) == text)
    for condition in conditions:
        rows = await node.query("Word").where(condition).all()
        assert [row.id for row in rows] == ["w"]
        assert (rows[0].text, rows[0].data, rows[0].tags) == (text, {text: text}, [text, "x"])
    for condition in (column.startswith(text), column.contains(text), column.icontains(text)):
        assert await node.query("Word").where(condition).count() == 2
    assert await node.query("Word").group_by(column).aggregate(aggregates.count()) == [(text, 1), (text + "z", 1)]
    assert await node.query("Word").where("text", text).select(column).all() == [(text,)]


async def test_chains_of_a_thousand_conditions_work() -> None:
    node = Node(WORD)
    node.add(
        "Word",
        *(
            {"id": f"w{n:04}", "text": str(n), "data": {}, "tags": [], "blob": b"", "x": n / 3, "n": n}
            for n in range(2000)
        ),
    )
    n = node.column("Word.n")
    query = node.query("Word")
    assert await query.where(reduce(lambda a, b: a | b, [n == k for k in range(1000)])).count() == 1000
    assert await query.where(reduce(lambda a, b: b | a, [n == k for k in range(1000)])).count() == 1000
    assert await query.where(*[n != k for k in range(1000)]).count() == 1000
    assert await query.where(reduce(lambda a, _: ~a, range(1000), n == 3)).count() == 1


async def test_what_nests_too_deep_fails_where_it_is_written() -> None:
    node = Node(WORD)
    n = node.column("Word.n")
    nested = reduce(lambda inner, k: (inner & (n > k)) | (n == k), range(45), n == 1)
    assert await node.query("Word").where(nested).all() == []
    with pytest.raises(QueryError, match="100 deep"):
        reduce(lambda inner, k: (inner & (n > k)) | (n == k), range(1000), n == 1)
    with pytest.raises(QueryError, match="100 deep"):
        reduce(lambda inner, k: ~(inner & (n > k)), range(1000), n == 1)


async def test_lists_of_ten_thousand_values_work() -> None:
    node = Node(WORD)
    node.add(
        "Word",
        *(
            {"id": f"w{n:04}", "text": f"t\0{n}", "data": {}, "tags": [], "blob": b"%d" % n, "x": n / 3, "n": n}
            for n in range(200)
        ),
    )
    query = node.query("Word")
    for name, values in (
        ("n", range(100, 10_100)),
        ("id", [f"w{n:04}" for n in range(100, 10_100)]),
        ("text", [f"t\0{n}" for n in range(100, 10_100)]),
        ("blob", [b"%d" % n for n in range(100, 10_100)]),
        ("x", [n / 3 for n in range(100, 10_100)]),
    ):
        assert await query.where_in(name, values).count() == 100
        assert await query.where_not_in(name, values).count() == 100
    with pytest.raises(QueryError, match="30000 floats"):
        query.where_in("x", [float(n) for n in range(40_000)])
    with pytest.raises(QueryError, match="30000 values"):
        await query.where(*[node.column("Word.n") != k for k in range(31_000)]).all()


async def test_an_index_serves_a_list_of_any_size() -> None:
    node = Node(WORD)
    for size in (1, 3, 1000):
        plan = await node.query("Word").where_in("text", [str(n) for n in range(size)]).explain()
        assert plan.index == ("i_Word_0",)


async def test_a_regular_expression_that_explodes_elsewhere_is_answered() -> None:
    node = Node(WORD)
    node.add("Word", {"id": "w", "text": "a" * 5000, "data": {}, "tags": [], "blob": b"", "x": 0.0, "n": 0})
    assert await node.query("Word").where("text", "regex", "(a*)*b$").all() == []
    assert await node.query("Word").where("text", "like", "%a" * 500 + "b").all() == []
    assert await node.query("Word").where("text", "like", "%a_" * 50 + "%b").all() == []
