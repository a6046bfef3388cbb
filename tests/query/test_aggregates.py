"""Sums, averages, least and greatest, over a query and over its groups."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from debros.errors import QueryError
from debros.query import aggregates as debros
from tests.support.blog import DAY, blog
from tests.support.tabular import ANA, BO, Node, schema

SALE = schema(
    "Sale", {"shop": str | None, "n": int | None, "x": float | None, "price": Decimal | None, "tags": list[str]}
)
BIG = st.integers(-(2**63), 2**63 - 1)
PRICES = st.decimals(-(10**6), 10**6, places=3) | st.sampled_from(
    [Decimal("1E+20"), Decimal("-1E-20"), Decimal("1.50")]
)


def sales(rows: list[dict[str, Any]]) -> Node:
    node = Node(SALE)
    node.add("Sale", *({"id": f"s{n}", "tags": [], **row} for n, row in enumerate(rows)))
    return node


@settings(max_examples=100)
@given(
    st.lists(
        st.fixed_dictionaries({
            "shop": st.sampled_from(["a", "b", None]), "n": st.none() | BIG | st.integers(-3, 3),
            "x": st.none() | st.floats(-1e6, 1e6), "price": st.none() | PRICES,
        }),
        max_size=8,
    )
)  # fmt: skip
def test_groups_are_what_python_makes_of_them(rows: list[dict[str, Any]]) -> None:
    node = sales(rows)
    shop, n, x, price = (node.column(f"Sale.{name}") for name in ("shop", "n", "x", "price"))

    async def check() -> None:
        grouped = node.query("Sale").group_by(shop)
        counted = await grouped.aggregate(
            debros.count(), debros.count(n), debros.count(n, distinct=True), debros.sum(n)
        )
        priced = await grouped.aggregate(debros.sum(price), debros.avg(price), debros.min(price), debros.max(price))
        floats = await grouped.aggregate(debros.sum(x), debros.avg(x), debros.min(n), debros.max(n))
        shops = sorted({row["shop"] for row in rows}, key=lambda one: (one is not None, one))
        assert [one[0] for one in counted] == [one[0] for one in priced] == [one[0] for one in floats] == shops
        for one, many, real in zip(counted, priced, floats, strict=True):
            mine = [row for row in rows if row["shop"] == one[0]]
            ns, xs, prices = ([row[name] for row in mine if row[name] is not None] for name in ("n", "x", "price"))
            assert one[1:] == (len(mine), len(ns), len(set(ns)), sum(ns))
            exact = sum(map(Fraction, prices), Fraction(0))
            assert Fraction(many[1]) == exact
            assert (
                many[2] is None if not prices else abs(Fraction(many[2]) - exact / len(prices)) <= abs(exact) / 10**37
            )
            assert many[3:] == (min(prices, default=None), max(prices, default=None))
            assert real[1] == pytest.approx(sum(xs))
            assert real[2] == (pytest.approx(sum(xs) / len(xs), abs=1e-6) if xs else None)
            assert real[3:] == (min(ns, default=None), max(ns, default=None))
        everything = [row["n"] for row in rows if row["n"] is not None]
        assert await node.query("Sale").sum(n) == sum(everything)

    trio.run(check)


async def test_aggregates_over_a_query() -> None:
    node = blog()
    post, likes, price = node.query("Post"), node.column("Post.likes"), node.column("Post.price")
    assert await post.sum(likes) == 14
    assert await post.avg("likes") == 14 / 5
    assert await post.sum(price) == Decimal("3.30")
    assert await post.avg(price) == Decimal("0.825")
    assert (await post.min(price), await post.max(price)) == (Decimal("0.1"), Decimal("1.50"))
    assert await post.max("title") == "Émile"
    assert await post.min(node.column("Post.created_at")) == DAY
    assert await post.min(node.column("Post.created_at").month) == 1
    assert await post.max("size") == 5
    assert await post.order_by("likes", "desc").limit(2).sum(likes) == 10
    assert await post.order_by("likes", "desc").offset(1).limit(2).max(likes) == 3
    assert await post.order_by("likes", "desc").limit(2).avg(price) == Decimal("1.50")


async def test_nothing_sums_to_zero_of_its_type() -> None:
    node = sales([{}])
    query = node.query("Sale")
    assert [(type(await query.sum(name)), await query.sum(name)) for name in ("n", "x", "price")] == [
        (int, 0), (float, 0.0), (Decimal, Decimal(0)),
    ]  # fmt: skip
    assert [await query.avg("n"), await query.min("x"), await query.max("price"), await query.limit(0).avg("n")] == [
        None
    ] * 4


async def test_groups_are_chosen_ordered_and_cut_by_their_aggregates() -> None:
    node = blog()
    author, likes, price = (node.column(f"Post.{name}") for name in ("author_id", "likes", "price"))
    grouped = node.query("Post").group_by(author)
    total = debros.sum(likes)
    assert await grouped.having(total > 2).order_by(total.desc()).aggregate(total) == [("ana", 10), ("bo", 3)]
    assert await grouped.order_by(debros.count().desc(), author.desc()).limit(2).aggregate(debros.count()) == [
        ("bo", 2),
        ("ana", 2),
    ]
    assert await grouped.having(debros.sum(price) >= Decimal("1.5")).aggregate(debros.sum(price)) == [
        ("ana", Decimal("1.50")), ("gone", Decimal("1.5")),
    ]  # fmt: skip
    assert await grouped.having((debros.avg(likes) > 4) | (debros.max(likes) == 1)).aggregate(debros.count()) == [
        ("ana", 2), ("gone", 1),
    ]  # fmt: skip
    assert await grouped.having(total.in_([10, 1]), total != 1).aggregate(debros.count()) == [("ana", 2)]
    assert await grouped.having(debros.min(price).is_null()).aggregate(debros.count()) == []


async def test_keys_come_back_as_values() -> None:
    node = blog()
    post = node.query("Post")
    month, price = node.column("Post.created_at").month, node.column("Post.price")
    assert await post.group_by(month).aggregate(debros.count()) == [(1, 5)]
    assert await post.group_by(node.column("Post.meta.created_by")).aggregate(debros.count()) == [(ANA, 5)]
    prices = await post.group_by(price).aggregate(debros.count())
    assert prices == [(None, 1), (Decimal("0.1"), 1), (Decimal("0.2"), 1), (Decimal("1.5"), 2)]
    assert await post.group_by(node.column("Post.reply_to"), month).aggregate(debros.count()) == [
        (None, 1, 2), ("p0", 1, 2), ("p9", 1, 1),
    ]  # fmt: skip
    node.add("User", {"id": "x", "handle": "x"}, by=BO)
    assert dict(await node.query("User").group_by(node.column("User.meta.created_by")).aggregate(debros.count())) == {
        ANA: 3,
        BO: 1,
    }


def test_misplaced_aggregates_are_refused_where_they_are_written() -> None:
    node = blog()
    likes, title, author = (node.column(f"Post.{name}") for name in ("likes", "title", "author_id"))
    post, grouped = node.query("Post"), node.query("Post").group_by(node.column("Post.author_id"))
    for mistake in (
        lambda: post.where(debros.sum(likes) > 3),
        lambda: post.order_by(debros.count().desc()),
        lambda: post.select(debros.count()),
        lambda: grouped.having(likes > 3),
        lambda: grouped.having((debros.count() > 1) & (author == "ana")),
        lambda: grouped.having(debros.count(node.column("User.id")) > 1),
        lambda: grouped.order_by(likes.desc()),
        lambda: grouped.order_by(author),
        lambda: grouped.limit(-1),
        lambda: debros.sum(title),
        lambda: debros.avg(node.column("Post.created_at")),
        lambda: debros.max(node.column("Post.tag_ids")),
        lambda: debros.max(debros.max(likes)),
        lambda: debros.sum("likes"),  # type: ignore[call-overload]
        lambda: debros.count(distinct=True),
        lambda: debros.sum(likes) > likes,
        lambda: debros.sum(likes) > "3",
        lambda: post.limit(3).group_by(author),
        lambda: post.order_by("likes").group_by(author),
        lambda: post.group_by(),
        lambda: post.group_by(node.column("User.id")),
        lambda: post.group_by(node.column("Post.loud")),
    ):
        with pytest.raises(QueryError):
            mistake()


async def test_misplaced_aggregates_are_refused_by_terminals() -> None:
    node = blog()
    post, likes = node.query("Post"), node.column("Post.likes")
    for mistake in (
        post.sum("title"), post.avg("created_at"), post.max("tag_ids"), post.min("lykes"), post.sum("loud"),
        post.select("likes").distinct().sum("likes"), post.group_by(likes).aggregate(),
        post.group_by(likes).aggregate(likes), post.group_by(likes).aggregate(debros.sum(node.column("User.id").length)),
    ):  # fmt: skip
        with pytest.raises(QueryError):
            await mistake


async def test_a_sum_of_decimals_too_far_apart_to_be_exact_is_refused() -> None:
    node = sales([{"price": Decimal("1E+30000")}, {"price": Decimal(1)}])
    with pytest.raises(QueryError, match="more than 20000 digits"):
        await node.query("Sale").sum("price")
