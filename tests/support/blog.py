"""A small blog in memory: users, posts, comments, follows and tags, with relations of every kind."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from debros.schema import ComputedSpec, RelationSpec, Schema
from debros.values.scalars import INT, TEXT
from tests.support.tabular import Node, instant, schema

DAY = instant("2025-01-01")

USER = schema(
    "User",
    {"handle": str, "best_id": str | None},
    indexes=["handle"],
    relations=[
        RelationSpec("posts", "has_many", "Post", key="author_id", order_by=("created_at", True)),
        RelationSpec("profile", "has_one", "Profile", nullable=True, key="user_id"),
        RelationSpec("best", "belongs_to", "Post", nullable=True, key="best_id"),
        RelationSpec("received", "has_many", "Comment", key="post_id", through="posts"),
        RelationSpec("noticed", "has_many", "Comment", key="post_id", through="best"),
        RelationSpec("seen", "has_many", "Post", key="author_id", through="following"),
        RelationSpec("following", "many_to_many", "User", through="Follow", local="follower_id", remote="followee_id"),
        RelationSpec("followers", "many_to_many", "User", through="Follow", local="followee_id", remote="follower_id"),
    ],
)  # fmt: skip
PROFILE = schema("Profile", {"user_id": str, "city": str})
POST = schema(
    "Post",
    {
        "author_id": str, "title": str, "likes": int, "price": Decimal | None, "created_at": type(DAY), "reply_to": str | None,
        "tag_ids": list[str], "liker_ids": set[str],
    },
    indexes=["author_id", ("author_id", "-created_at"), "likes"],
    relations=[
        RelationSpec("author", "belongs_to", "User", key="author_id"),
        RelationSpec("comments", "has_many", "Comment", key="post_id"),
        RelationSpec("newest", "has_many", "Comment", key="post_id", order_by=("at", True), limit=1),
        RelationSpec("parent", "belongs_to", "Post", nullable=True, key="reply_to"),
        RelationSpec("replies", "has_many", "Post", key="reply_to"),
        RelationSpec("answers", "has_many", "Comment", key="post_id", through="replies"),
        RelationSpec("tags", "many_to_many", "Tag", ids="tag_ids"),
        RelationSpec("likers", "many_to_many", "User", ids="liker_ids"),
        RelationSpec("missing", "has_many", "Nowhere", key="post_id"),
    ],
    computed=[
        ComputedSpec("size", INT, True, True, lambda row: len(row["title"])),
        ComputedSpec("loud", TEXT, False, True, lambda row: row["title"].upper()),
        ComputedSpec("broken", INT, False, True, lambda row: 1 // (row["likes"] - row["likes"])),
    ],
    wire={"title": "t"},
)  # fmt: skip
COMMENT = schema(
    "Comment",
    {"post_id": str, "user_id": str, "text": str, "at": int},
    indexes=["post_id", "user_id"],
    relations=[
        RelationSpec("post", "belongs_to", "Post", key="post_id"),
        RelationSpec("user", "belongs_to", "User", nullable=True, key="user_id"),
    ],
)
FOLLOW = schema("Follow", {"follower_id": str, "followee_id": str}, indexes=["follower_id"])
TAG = schema("Tag", {"name": str})
SCHEMAS: tuple[Schema, ...] = (USER, PROFILE, POST, COMMENT, FOLLOW, TAG)


def blog() -> Node:
    node = Node(*SCHEMAS)
    node.add(
        "User",
        {"id": "ana", "handle": "ana", "best_id": "p1"},
        {"id": "bo", "handle": "bo"},
        {"id": "cy", "handle": "cy"},
    )
    node.add("User", {"id": "gone", "handle": "gone"}, hidden=1)
    node.add("Profile", {"id": "f1", "user_id": "ana", "city": "Wien"}, {"id": "f2", "user_id": "ana", "city": "Graz"})
    for n, (author, title, likes, price, reply_to) in enumerate(
        [
            ("ana", "Hello", 3, "1.50", None), ("ana", "World", 7, None, "p0"), ("bo", "again", 3, "0.1", "p0"),
            ("bo", "Émile", 0, "0.2", None), ("gone", "lost", 1, "1.5", "p9"),
        ]
    ):  # fmt: skip
        node.add(
            "Post",
            {
                "id": f"p{n}", "author_id": author, "title": title, "likes": likes,
                "price": None if price is None else Decimal(price), "created_at": DAY + timedelta(days=n),
                "reply_to": reply_to, "tag_ids": ["t2", "t1", "t9"][: n + 1], "liker_ids": {"cy", "ana"} if n == 0 else set(),
            },
        )  # fmt: skip
    node.add("Post", {"id": "p9", "author_id": "ana", "title": "hidden", "likes": 99, "created_at": DAY, "tag_ids": [],
                      "liker_ids": set()}, hidden=1)  # fmt: skip
    for n, (post, user, text, at) in enumerate(
        [("p0", "bo", "first", 1), ("p0", "cy", "again", 3), ("p0", "nobody", "late", 2), ("p1", "bo", "again", 4)]
    ):
        node.add("Comment", {"id": f"c{n}", "post_id": post, "user_id": user, "text": text, "at": at})
    node.add("Comment", {"id": "c8", "post_id": "p2", "user_id": "ana", "text": "deleted", "at": 9}, hidden=1)
    node.add(
        "Follow",
        {"id": "w0", "follower_id": "bo", "followee_id": "ana"},
        {"id": "w1", "follower_id": "bo", "followee_id": "cy"},
    )
    node.add(
        "Follow",
        {"id": "w2", "follower_id": "cy", "followee_id": "ana"},
        {"id": "w3", "follower_id": "cy", "followee_id": "ana"},
    )
    node.add("Follow", {"id": "w4", "follower_id": "ana", "followee_id": "gone"})
    node.add("Follow", {"id": "w5", "follower_id": "ana", "followee_id": "bo"}, hidden=1)
    node.add("Tag", {"id": "t1", "name": "odd"}, {"id": "t2", "name": "even"})
    return node
