"""A forum on a real node: users, posts with all kinds of values, comments, follows, private notes; and some of each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from debros import (
    Debros,
    Field,
    Index,
    Many,
    Model,
    One,
    before_save,
    belongs_to,
    computed,
    field,
    has_many,
    many_to_many,
    model,
)
from tests.support.nodes import a_node

DAY = datetime(2025, 1, 1, tzinfo=UTC)


@model()
class User(Model):
    handle: Field[str] = field(unique=True)
    posts: Many[Post] = has_many("author_id", order_by="-created_at")
    received: Many[Comment] = has_many("post_id", through="posts")
    following: Many[User] = many_to_many(through="Follow", local="follower_id", remote="followee_id")


@model(indexes=[Index("author_id", "-created_at"), Index("place.city"), Index("likes")])
class Post(Model):
    author_id: Field[str]
    title: Field[str] = field(max_length=200)
    body: Field[str | None] = field(default=None)
    likes: Field[int] = field(default=0)
    tags: Field[set[str]] = field(default_factory=set, index=True)
    place: Field[dict[str, Any]] = field(default_factory=dict)
    liker_ids: Field[list[str]] = field(default_factory=list)
    created_at: Field[datetime]
    author: One[User] = belongs_to("author_id", on_delete="cascade")
    comments: Many[Comment] = has_many("post_id", order_by="created_at")
    likers: Many[User] = many_to_many(ids="liker_ids")

    @computed(index=True)
    def size(self) -> int:
        return len(self.title)

    @before_save
    def tidy(self) -> None:
        self.title = self.title.strip()


@model()
class Comment(Model):
    post_id: Field[str] = field(index=True)
    user_id: Field[str]
    text: Field[str]
    created_at: Field[datetime]
    post: One[Post] = belongs_to("post_id", on_delete="cascade")
    user: One[User | None] = belongs_to("user_id")


@model()
class Follow(Model):
    follower_id: Field[str] = field(index=True)
    followee_id: Field[str]


@model(scope="user")
class Note(Model):
    text: Field[str] = field(index=True)


MODELS = (User, Post, Comment, Follow, Note)
TITLES = ("Hello", "World", "again", "Émile", "a_b%c", "zürich")


@asynccontextmanager
async def a_forum(**options: Any) -> AsyncIterator[Debros]:
    """Open a node with three users, twelve posts and some comments; ids are `u0`, `p00`, `c00`."""
    async with a_node(*MODELS, **options) as db:
        await fill()
        yield db


async def fill() -> None:
    await User.create_many([{"id": f"u{n}", "handle": handle} for n, handle in enumerate(("ana", "bo", "cy"))])
    await Post.create_many(
        [
            {
                "id": f"p{n:02}",
                "author_id": f"u{n % 3}",
                "title": TITLES[n % 6],
                "body": None if n % 4 == 0 else f"body {n}",
                "likes": n % 5,
                "tags": {f"t{n % 4}", "all"} if n else set(),
                "place": {"city": ("Wien", "Graz")[n % 2], "n": n, "at": {"zip": [1010 + n]}} if n != 5 else {},
                "liker_ids": ["u2", "u1"][: n % 3],
                "created_at": DAY + timedelta(days=40 * n, hours=n),
            }
            for n in range(12)
        ]
    )
    await Comment.create_many(
        [
            {
                "id": f"c{n:02}",
                "post_id": f"p{n % 4:02}",
                "user_id": f"u{n % 3}" if n else "nobody",
                "text": f"comment {n}",
                "created_at": DAY + timedelta(hours=n),
            }
            for n in range(9)
        ]
    )
    await Follow.create_many([{"follower_id": "u0", "followee_id": "u1"}, {"follower_id": "u0", "followee_id": "u2"}])
