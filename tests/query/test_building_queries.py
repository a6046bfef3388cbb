"""Queries are immutable values; what is wrong with one raises where it is written."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest

from debros.errors import MultipleFoundError, NotFoundError, QueryError, UnknownFieldError
from debros.identity.did import did_of
from debros.query import aggregates
from debros.query.columns import Column
from debros.query.query import Query
from tests.support.blog import DAY, blog
from tests.support.tabular import ANA, ANA_TAG, BO, CY, Node, instant, schema

Build = Callable[[Query[Any]], Query[Any]]


async def found(query: Query[Any]) -> list[str]:
    return [row.id for row in await query.all()]


async def test_a_step_leaves_the_query_it_came_from_as_it_was() -> None:
    query = blog().query("Post").where("author_id", "ana")
    narrowed = query.where("likes", ">", 5).order_by("likes", "desc").limit(1).offset(0)
    assert await found(query) == ["p0", "p1"]
    assert await found(narrowed) == ["p1"]


@pytest.mark.parametrize(
    ("build", "ids"),
    [
        (lambda q: q.where("likes", 3), ["p0", "p2"]),
        (lambda q: q.where("likes", "=", 3), ["p0", "p2"]),
        (lambda q: q.where("likes", "!=", 3), ["p1", "p3", "p4"]),
        (lambda q: q.where("likes", "<", 3), ["p3", "p4"]),
        (lambda q: q.where("likes", "<=", 1), ["p3", "p4"]),
        (lambda q: q.where("likes", ">", 3), ["p1"]),
        (lambda q: q.where("likes", ">=", 3), ["p0", "p1", "p2"]),
        (lambda q: q.where("likes", "in", [0, 7]), ["p1", "p3"]),
        (lambda q: q.where("likes", "not in", {0, 7, 3}), ["p4"]),
        (lambda q: q.where("likes", "between", (1, 3)), ["p0", "p2", "p4"]),
        (lambda q: q.where("title", "like", "%o"), ["p0"]),
        (lambda q: q.where("title", "not like", "%o%"), ["p2", "p3"]),
        (lambda q: q.where("title", "ilike", "ÉM%"), ["p3"]),
        (lambda q: q.where("title", "regex", "^[HW]"), ["p0", "p1"]),
        (lambda q: q.where("title", "contains", "l"), ["p0", "p1", "p3", "p4"]),
        (lambda q: q.where("tag_ids", "contains", "t9"), ["p2", "p3", "p4"]),
        (lambda q: q.where("tag_ids", "contains any", ["t9", "t1"]), ["p1", "p2", "p3", "p4"]),
        (lambda q: q.where("liker_ids", "contains all", ["cy", "ana"]), ["p0"]),
        (lambda q: q.where("price", None), ["p1"]),
        (lambda q: q.where("price", "!=", None), ["p0", "p2", "p3", "p4"]),
        (lambda q: q.where_null("reply_to"), ["p0", "p3"]),
        (lambda q: q.where_not_null("reply_to"), ["p1", "p2", "p4"]),
        (lambda q: q.where_in("id", ("p1", "p9", None)), ["p1"]),
        (lambda q: q.where_not_in("id", []), ["p0", "p1", "p2", "p3", "p4"]),
        (lambda q: q.where_between("likes", 4, 9), ["p1"]),
        (lambda q: q.where_like("title", "W____"), ["p1"]),
        (lambda q: q.where_ilike("title", "hELLO"), ["p0"]),
        (lambda q: q.where_not("likes", ">", 0), ["p3"]),
        (lambda q: q.where_date("created_at", ">=", date(2025, 1, 4)), ["p3", "p4"]),
        (lambda q: q.where_date("created_at", "in", [date(2025, 1, 4)]), ["p3"]),
        (lambda q: q.where_column("id", "<", "reply_to"), ["p4"]),
        (lambda q: q.where("size", 5, ).where("likes", 7), ["p1"]),
        (lambda q: q.where("likes", 7).or_where("likes", "<", 1), ["p1", "p3"]),
        (lambda q: q.where("likes", 7).where("id", "p0").or_where("id", "p2"), ["p2"]),
        (lambda q: q.where("likes", 3).where(lambda g: g.where("id", "p0").or_where("id", "p1")), ["p0"]),
        (lambda q: q.where("id", "p4").or_where(lambda g: g.where("likes", 3).where("author_id", "bo")), ["p2", "p4"]),
        (lambda q: q.where_not(lambda g: g.where("likes", 3).or_where("likes", 0)), ["p1", "p4"]),
        (lambda q: q.where(lambda g: g).or_where("id", "p1"), ["p1"]),
        (lambda q: q.where("meta.created_by", ANA).where("meta.created_at", "<", DAY), ["p0", "p1", "p2", "p3", "p4"]),
    ],
)  # fmt: skip
async def test_the_spelling_by_names(build: Build, ids: list[str]) -> None:
    assert await found(build(blog().query("Post"))) == ids


@pytest.mark.parametrize(
    "build",
    [
        lambda q: q.where("likes", "~", 3),
        lambda q: q.where("likes", "like", "3"),
        lambda q: q.where("likes", "3"),
        lambda q: q.where("likes", True),
        lambda q: q.where("likes", 2**63),
        lambda q: q.where("likes", "<", None),
        lambda q: q.where("likes", "between", 3),
        lambda q: q.where("likes", "between", (3, None)),
        lambda q: q.where("likes", "in", 3),
        lambda q: q.where("title", "in", "abc"),
        lambda q: q.where("title", 3),
        lambda q: q.where("title", "like", 3),
        lambda q: q.where("title", "regex", "(a"),
        lambda q: q.where("title", "\ud800"),
        lambda q: q.where("title", "contains", "\ud800"),
        lambda q: q.where("created_at", datetime(2025, 1, 1)),
        lambda q: q.where("created_at", date(2025, 1, 1)),
        lambda q: q.where("tag_ids", "contains", 3),
        lambda q: q.where("tag_ids", "<", ["a"]),
        lambda q: q.where("tag_ids", [3]),
        lambda q: q.where("tag_ids", "contains any", "t1"),
        lambda q: q.where("liker_ids", ["a"]),
        lambda q: q.where_column("likes", "=", "title"),
        lambda q: q.where_column("likes", "like", "likes"),
        lambda q: q.where_date("likes", "=", date(2025, 1, 1)),
        lambda q: q.where_date("created_at", "on", date(2025, 1, 1)),
        lambda q: q.where("likes"),
        lambda q: q.where("likes", "=", 3, 4),
        lambda q: q.where(3),
        lambda q: q.where(q.columns.named("likes")),
        lambda q: q.where(True),
        lambda q: q.where(lambda g: None),
        lambda q: q.where(lambda g: g.limit(3)),
        lambda q: q.where(lambda g: blog().query("User")),
        lambda q: q.where("loud", "X"),
        lambda q: q.order_by("loud"),
        lambda q: q.order_by("likes", "down"),
        lambda q: q.order_by("likes", "asc", "title"),
        lambda q: q.order_by(q.columns.named("likes")),
        lambda q: q.order_by("tag_ids"),
        lambda q: q.order_by("meta.created_by"),
        lambda q: q.order_by(blog().column("User.id").asc()),
        lambda q: q.limit(-1),
        lambda q: q.limit(True),
        lambda q: q.limit(1.5),
        lambda q: q.offset(-1),
        lambda q: q.offset("1"),
        lambda q: q.limit(2**63),
        lambda q: q.select(),
        lambda q: q.select(3),
        lambda q: q.select(blog().column("User.id")),
        lambda q: q.select("id").order_by("likes").distinct(),
        lambda q: q.select("id").distinct().order_by("likes"),
        lambda q: q.distinct().order_by("likes").select("id"),
        lambda q: q.select("loud").distinct(),
        lambda q: q.where_user(ANA),
        lambda q: q.all_users(),
        lambda q: q.where("meta.created_by", "ana"),
        lambda q: q.where("meta.created_by", "<", ANA),
        lambda q: q.where("meta.created_by", "like", "did%"),
        lambda q: q.where(blog().column("User.handle") == "x"),
        lambda q: q.columns.named("likes").path("a"),
        lambda q: q.columns.named("likes").has_key("a"),
        lambda q: q.columns.named("likes").length,
        lambda q: q.columns.named("likes").year,
        lambda q: q.columns.named("title") & 3,
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_where_it_is_written(build: Build) -> None:
    with pytest.raises((QueryError, TypeError)) as caught:
        build(blog().query("Post"))
    assert isinstance(caught.value, QueryError) or "unsupported operand" in str(caught.value)


def test_unknown_names_come_with_the_nearest_one() -> None:
    query = blog().query("Post")
    with pytest.raises(UnknownFieldError, match="did you mean 'likes'"):
        query.where("lykes", 3)
    with pytest.raises(UnknownFieldError):
        query.order_by("f_likes")
    with pytest.raises(UnknownFieldError):
        query.select("_doc")
    with pytest.raises(QueryError, match="did you mean 'contains any'"):
        query.where("tag_ids", "contains one", ["a"])  # type: ignore[call-overload]


def test_a_condition_has_no_truth_value() -> None:
    likes = blog().column("Post.likes")
    for mistake in (
        lambda: bool(likes > 3),
        lambda: (likes > 3) and (likes < 5),
        lambda: not (likes > 3),
        lambda: 1 < likes < 3,
    ):
        with pytest.raises(QueryError, match="truth value"):
            mistake()
    with pytest.raises(QueryError, match="parentheses"):
        (likes > 3) & 3  # type: ignore[operator]
    with pytest.raises(TypeError):
        hash(likes)


async def test_one_and_first() -> None:
    query = blog().query("Post")
    first = await query.order_by("likes", "desc").first()
    assert first is not None
    assert first.id == "p1"
    assert await query.where("likes", 99).first() is None
    assert (await query.where("likes", 7).one()).id == "p1"
    assert (await query.where("likes", 7).one_or_none()).id == "p1"  # type: ignore[union-attr]
    assert await query.where("likes", 99).one_or_none() is None
    with pytest.raises(NotFoundError, match="Post"):
        await query.where("likes", 99).one()
    for terminal in (query.where("likes", 3).one(), query.where("likes", 3).one_or_none()):
        with pytest.raises(MultipleFoundError, match="Post"):
            await terminal
    assert (await query.where("likes", 3).limit(1).one()).id == "p0"
    assert await query.limit(0).first() is None


async def test_select_gives_tuples() -> None:
    node = blog()
    query = node.query("Post").where("author_id", "bo")
    assert await query.select("title", "likes").all() == [("again", 3), ("Émile", 0)]
    assert await query.select(node.column("Post.created_at").day, node.column("Post.liker_ids")).first() == (3, set())
    assert await query.select("meta.created_by", "meta.created_at").first() == (ANA, instant("2023-11-14T22:13:20"))
    assert await query.select("loud", "id", "broken", "size").all() == [
        ("AGAIN", "p2", None, 5),
        ("ÉMILE", "p3", None, 5),
    ]
    assert await query.select("title").order_by("likes").all() == [("Émile",), ("again",)]


async def test_distinct_rows_come_once() -> None:
    node = blog()
    query = node.query("Post").select("likes")
    assert await query.distinct().all() == [(0,), (1,), (3,), (7,)]
    assert await query.distinct().order_by("likes", "desc").offset(1).limit(2).all() == [(3,), (1,)]
    assert await query.distinct().count() == 4
    assert await query.distinct().offset(3).count() == 1
    assert await query.distinct().offset(4).exists() is False
    prices = await node.query("Post").select("price").distinct().all()
    assert [price for (price,) in prices[:3]] == [None, *map(type(prices[1][0]), ("0.1", "0.2"))]
    assert len(prices) == 4  # 1.5 and 1.50 are one number
    assert len(await node.query("Post").distinct().all()) == 5
    likes = node.query("Post").select("likes").distinct().limit(2)
    assert await found(node.query("Post").where_in("likes", likes)) == ["p3", "p4"]


async def test_coverage_names_what_the_rows_were_made_from() -> None:
    rows = await blog().query("Post").all()
    assert rows.coverage.complete
    assert rows.coverage.missing == ()
    assert rows.coverage.heads == {"/debros/bafylog": ("bafyhead",)}
    assert rows.coverage is rows.coverage
    titles = await blog().query("Post").select("title").all()
    assert type(pickle.loads(pickle.dumps(titles))) is list
    assert copy.copy(titles) == titles


async def test_users_are_dids_and_numbers_only_inside() -> None:
    node = Node(schema("Note", {"text": str}, scope="user"), schema("Wall", {"text": str}, write="owner"))
    node.add("Note", {"id": "mine", "text": "a"}, log=11)
    node.add("Note", {"id": "his", "text": "b"}, log=12, by=BO)
    node.add("Note", {"id": "by bo for ana", "text": "c"}, log=11, by=BO)
    note, created_by, owner = node.query("Note"), node.column("Note.meta.created_by"), node.column("Note.meta.owner")
    assert await found(note) == ["by bo for ana", "mine"]
    assert await found(note.where_user(BO)) == ["his"]
    assert await found(note.where_user(BO, ANA, BO)) == ["by bo for ana", "his", "mine"]
    assert await found(note.where_user(CY)) == []
    assert await found(note.all_users()) == ["by bo for ana", "his", "mine"]
    assert await found(note.all_users().where(created_by == BO)) == ["by bo for ana", "his"]
    assert await found(note.all_users().where(created_by != BO)) == ["mine"]
    assert await found(note.all_users().where(created_by.in_([BO, CY]))) == ["by bo for ana", "his"]
    assert await found(note.all_users().where(created_by == CY)) == []
    assert await found(note.all_users().where(created_by.not_in([CY]))) == ["by bo for ana", "his", "mine"]
    assert await found(note.all_users().where(owner == BO)) == ["his"]
    assert await found(note.all_users().where(owner != BO)) == ["by bo for ana", "mine"]
    node.add("Wall", {"id": f"w~{ANA_TAG}", "text": "x"})
    wall, holder = node.query("Wall"), node.column("Wall.meta.owner")
    assert await wall.where(holder == ANA).count() == 1
    assert await wall.where(holder.in_([BO, CY])).count() == 0
    assert await node.query("Wall").where(holder.is_not_null()).count() == 1
    free = blog()
    assert await free.query("Post").where(free.column("Post.meta.owner") == ANA).count() == 0
    assert await free.query("Post").where(free.column("Post.meta.owner") == None).count() == 5  # noqa: E711 - the operator is what is tested
    for mistake in (note.select(owner).all(), wall.select(holder).all()):
        with pytest.raises(QueryError, match="compared"):
            await mistake
    for refused in (lambda: note.where_user(), lambda: note.where_user("ana"), lambda: note.where(created_by == 3)):
        with pytest.raises(QueryError):
            refused()  # type: ignore[no-untyped-call]
    with pytest.raises(QueryError):
        note.where(created_by == node.column("Note.text"))


async def test_rows_of_several_logs_are_merged_in_order() -> None:
    node = Node(schema("Event", {"n": int}, indexes=["n"], scope="user"))
    node.logs_of = {did_of(bytes([n]) * 32): n for n in range(1, 30)}
    node.add("Event", {"id": "a", "n": 2}, log=3)
    node.add("Event", {"id": "b", "n": 1}, log=7)
    node.add("Event", {"id": "b", "n": 1}, log=5)
    node.add("Event", {"id": "c", "n": 1}, log=99)
    everybody = node.query("Event").all_users().order_by("n")
    rows = await everybody.all()
    assert [row.id for row in rows] == ["b", "b", "a"]
    page = await everybody.limit(1).page()
    second = await everybody.limit(2).page(page.next)
    assert [row.id for row in second.rows] == ["b", "a"]
    assert await node.query("Event").where_user(did_of(b"x" * 32)).all() == []


async def test_values_of_derived_classes_are_bound_as_what_they_are() -> None:
    class Name(str):
        pass

    node = blog()
    assert await found(node.query("Post").where("title", Name("Hello"))) == ["p0"]
    assert await found(node.query("Post").where("tag_ids", "contains", Name("t9")).limit(1)) == ["p2"]


async def test_nested_values_are_reached_by_paths() -> None:
    node = Node(schema("Doc", {"data": dict[str, Any] | None, "any": Any, "n": int}))
    when = datetime(2025, 1, 1, tzinfo=UTC)
    micro = 1_735_689_600_000_000
    node.add(
        "Doc", {"id": "d1", "n": 3, "data": {"a": {"b": [1, "x", {"c": True}]}, "n": 3, "t": "Text", "when": micro}}
    )
    node.add(
        "Doc", {"id": "d2", "n": 4, "data": {"a": {"b": "x"}, "n": "3", "raw": b"ab", "l": [1, 2]}, "any": [1, "a"]}
    )
    node.add("Doc", {"id": "d3", "n": 5, "any": 7})
    data: Column[Any] = node.column("Doc.data")
    anything: Column[Any] = node.column("Doc.any")
    cases = [
        (data.path("a.b.2.c") == True, ["d1"]),  # noqa: E712 - the operator is what is tested
        (data.path("a").path("b.1") == "x", ["d1"]),
        (data.path("a.b.9") == 1, []),
        (data.path("n") == 3, ["d1"]),
        (data.path("n") != 3, []),
        (data.path("n").in_([3, "3"]), ["d1", "d2"]),
        (data.path("n").in_([None, "3"]), ["d2", "d3"]),
        (data.path("n").in_([]), []),
        (data.path("n").in_(range(1000)), ["d1"]),
        (data.path("n") == node.column("Doc.n"), ["d1"]),
        (data.path("n").between(1, 5), ["d1"]),
        (data.path("when") == when, ["d1"]),
        (data.path("raw") == b"ab", ["d2"]),
        (data.path("l") == [1, 2], ["d2"]),
        (data.path("l").length == 2, ["d2"]),
        (data.path("t").length == 4, ["d1"]),
        (data.path("a.b").contains("x"), ["d1", "d2"]),
        (data.path("l").contains_any([2, 9]), ["d2"]),
        (data.path("l").contains_all([2, 9]), []),
        (data.path("a").has_key("b"), ["d1", "d2"]),
        (data.path("t").startswith("Te"), ["d1"]),
        (data.path("t").like("T%t"), ["d1"]),
        (data.path("t").icontains("EX"), ["d1"]),
        (data.path("t").matches("x.$"), ["d1"]),
        (data.path("zip") == None, ["d1", "d2", "d3"]),  # noqa: E711 - the operator is what is tested
        (data.path("l").is_not_null(), ["d2"]),
        (anything == 7, ["d3"]),
        (anything == [1, "a"], ["d2"]),
        (anything.contains("a"), ["d2"]),
    ]
    for condition, ids in cases:
        assert await found(node.query("Doc").where(condition)) == ids, condition.text  # type: ignore[attr-defined]
    ordered_ = await found(node.query("Doc").order_by(data.path("n").desc()))
    assert ordered_ == ["d2", "d1", "d3"]
    assert await node.query("Doc").select(data.path("n"), data.path("a.b.2.c")).all() == [
        (3, True),
        ("3", None),
        (None, None),
    ]
    for mistake in (
        lambda: data.path("n") < [1], lambda: data.path("n").between(1, "2"), lambda: data.path("n").year,
        lambda: data.path("n") < None, lambda: data.path(""), lambda: data.path("n") == 2**63, lambda: anything < 3,
        lambda: data.path("n") == object(), lambda: data.path("n") == UUID, lambda: data.contains("a"),
        lambda: data.has_key(3), lambda: aggregates.min(data.path("n")),  # type: ignore[arg-type]
    ):  # fmt: skip
        with pytest.raises(QueryError):
            mistake()
