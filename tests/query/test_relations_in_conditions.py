"""`any`, `none`, `where_has`: conditions on related records, for every kind of relation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from debros.errors import ModelError, QueryError, UnknownFieldError
from debros.query.expressions import Expr
from tests.support.blog import blog
from tests.support.tabular import Node

Condition = Callable[[Node], Expr]


@pytest.mark.parametrize(
    ("model", "condition", "ids"),
    [
        ("Post", lambda b: b.relation("Post.comments").any(), ["p0", "p1"]),
        ("Post", lambda b: b.relation("Post.comments").none(), ["p2", "p3", "p4"]),
        ("Post", lambda b: b.relation("Post.comments").any(b.column("Comment.text") == "again"), ["p0", "p1"]),
        ("Post", lambda b: b.relation("Post.comments").any(b.column("Comment.user_id") == "cy"), ["p0"]),
        ("Post", lambda b: b.relation("Post.comments").where(b.column("Comment.at") > 3).any(), ["p1"]),
        ("Post", lambda b: b.relation("Post.author").any(b.column("User.handle") == "bo"), ["p2", "p3"]),
        ("Post", lambda b: b.relation("Post.author").any(), ["p0", "p1", "p2", "p3"]),
        ("Post", lambda b: b.relation("Post.author").none(), ["p4"]),
        ("Post", lambda b: b.relation("Post.parent").none(), ["p0", "p3", "p4"]),
        ("Post", lambda b: b.relation("Post.parent").any(b.column("Post.likes") == 3), ["p1", "p2"]),
        ("Post", lambda b: b.relation("Post.replies").any(), ["p0"]),
        ("Post", lambda b: b.relation("Post.replies").any(b.column("Post.author_id") == "bo"), ["p0"]),
        ("Post", lambda b: b.relation("Post.replies").none(b.column("Post.likes") > 6), ["p1", "p2", "p3", "p4"]),
        ("Post", lambda b: b.relation("Post.answers").any(), ["p0"]),
        ("Post", lambda b: b.relation("Post.tags").any(b.column("Tag.name") == "odd"), ["p1", "p2", "p3", "p4"]),
        ("Post", lambda b: b.relation("Post.likers").any(), ["p0"]),
        ("User", lambda b: b.relation("User.profile").any(), ["ana"]),
        ("User", lambda b: b.relation("User.profile").none(b.column("Profile.city") == "Graz"), ["bo", "cy"]),
        ("User", lambda b: b.relation("User.following").any(), ["bo", "cy"]),
        ("User", lambda b: b.relation("User.following").any(b.column("User.handle") == "cy"), ["bo"]),
        ("User", lambda b: b.relation("User.followers").none(), ["bo"]),
        ("User", lambda b: b.relation("User.received").any(b.column("Comment.user_id") == "bo"), ["ana"]),
        ("User", lambda b: b.relation("User.noticed").any(), ["ana"]),
        ("User", lambda b: b.relation("User.seen").any(b.column("Post.likes") == 7), ["bo", "cy"]),
        (
            "User",
            lambda b: b.relation("User.posts").any(b.relation("Post.comments").any(b.relation("Comment.user").none())),
            ["ana"],
        ),
        (
            "Post",
            lambda b: b.column("Post.author_id").in_(b.query("User").where("handle", "bo").select("id")),
            ["p2", "p3"],
        ),
    ],
)
async def test_records_are_found_by_their_related_records(model: str, condition: Condition, ids: list[str]) -> None:
    node = blog()
    assert [row.id for row in await node.query(model).where(condition(node)).all()] == ids
    complement = [row.id for row in await node.query(model).where(~condition(node)).all()]
    assert sorted(ids + complement) == [row.id for row in await node.query(model).all()]


async def test_names_work_too() -> None:
    query = blog().query("Post")
    assert [row.id for row in await query.where_has("comments", lambda q: q.where("text", "first")).all()] == ["p0"]
    assert [row.id for row in await query.where_doesnt_have("comments").all()] == ["p2", "p3", "p4"]


async def test_a_nested_query_may_be_ordered_and_cut() -> None:
    node = blog()
    latest = node.query("Post").where("likes", ">", 0).order_by("created_at", "desc").limit(2).select("author_id")
    assert [row.id for row in await node.query("User").where_in("id", latest).all()] == ["bo"]
    assert [row.id for row in await node.query("User").where_not_in("id", latest.offset(1)).all()] == ["cy"]


async def test_nulls_of_a_nested_query_are_left_out_so_not_in_is_the_opposite() -> None:
    node = blog()
    replied = node.query("Post").select("reply_to")
    assert [row.id for row in await node.query("Post").where_in("id", replied).all()] == ["p0"]
    assert [row.id for row in await node.query("Post").where_not_in("id", replied).all()] == ["p1", "p2", "p3", "p4"]
    assert [row.id for row in await node.query("Post").where_not_in("id", replied.limit(9)).all()] == [
        "p1",
        "p2",
        "p3",
        "p4",
    ]


def wrong(node: Node) -> list[Callable[[], Any]]:
    post = node.query("Post")
    return [
        lambda: post.where(node.relation("User.posts").any()),
        lambda: node.relation("Post.comments").any(node.column("Post.likes") > 3),
        lambda: node.relation("Post.comments").order_by(node.column("Post.likes").desc()),
        lambda: node.relation("Post.comments").order_by("at"),  # type: ignore[arg-type]
        lambda: node.relation("Post.comments").limit(-1),
        lambda: node.relation("Post.comments").any(True),  # type: ignore[arg-type]
        lambda: post.where(node.column("Post.likes").in_(node.query("User").select("id"))),
        lambda: post.where_in("id", node.query("User")),
        lambda: post.where_in("id", node.query("User").select("id", "handle")),
    ]


@pytest.mark.parametrize("number", range(9))
def test_what_does_not_fit_is_refused_where_it_is_written(number: int) -> None:
    with pytest.raises(QueryError):
        wrong(blog())[number]()


def test_unknown_relations_come_with_the_nearest_name() -> None:
    node = blog()
    with pytest.raises(UnknownFieldError, match="did you mean 'comments'"):
        node.query("Post").where_has("coments")
    with pytest.raises(ModelError):
        node.relation("Post.missing").any(node.column("Comment.at") > 3)
