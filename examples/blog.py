"""A blog with likes and tags: relations, a counter, a set, a transaction that fails, and the history of a post.

Run: `python examples/blog.py [home]` (in memory when none is given). It prints exactly:
    newest first: ['Offline first', 'On clocks']
    On clocks, by Ana: 3 likes, tags ['crdt', 'time']
    refused: User: another record already has this handle
    nothing of the refused transaction was written: 2 posts
    a wrong value: title string_too_long
    history: ['create', 'update', 'delete', 'restore']
    most liked author: Ana with 3 likes on 2 posts
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import trio

import debros
from debros import Field, Index, Many, MaxLen, Model, One, belongs_to, field, has_many, model


@model(scope="global")
class User(Model):
    handle: Field[str] = field(unique=True, min_length=1)
    posts: Many[Post] = has_many("author_id", order_by="-written_at")


@model(scope="global", indexes=[Index("author_id", "-written_at")])
class Post(Model):
    author_id: Field[str]
    title: Field[Annotated[str, MaxLen(60)]]
    written_at: Field[datetime] = field(default_factory=debros.now, index=True)
    likes: Field[int] = field(default=0, merge="counter", index=True)
    tags: Field[set[str]] = field(default_factory=set)
    author: One[User] = belongs_to("author_id")


async def main(home: str) -> None:
    async with debros.open(home, models=[User, Post]) as db:
        ana = await User.create(handle="Ana")
        clocks = await Post.create(author_id=ana.id, title="On clocks", written_at=datetime(2024, 1, 1, tzinfo=UTC))
        await Post.create(author_id=ana.id, title="Offline first", written_at=datetime(2024, 2, 1, tzinfo=UTC))
        print("newest first:", [post.title for post in await ana.posts])

        clocks.likes += 3
        clocks.tags |= {"time", "crdt"}
        await clocks.save()
        for post in await Post.where(Post.likes >= 3).include(Post.author).all():
            handle = post.author.value.handle
            print(f"{post.title}, by {handle}: {post.likes} likes, tags {sorted(post.tags)}")

        try:
            async with db.transaction():
                await Post.create(author_id=ana.id, title="Never seen")
                await User.create(handle="Ana")
        except debros.UniqueError as error:
            print(f"refused: {error.model}: another record already has this {' and '.join(error.fields)}")
        print(f"nothing of the refused transaction was written: {await Post.count()} posts")

        try:
            await Post.create(author_id=ana.id, title="x" * 61)
        except debros.ValidationError as error:
            print("a wrong value:", error.errors[0].field, error.errors[0].constraint)

        await clocks.delete()
        await clocks.restore()
        print("history:", [version.kind for version in await clocks.history()])

        likes = debros.sum(Post.likes)
        groups = await (
            Post.query().group_by(Post.author_id).order_by(likes.desc()).limit(1).aggregate(likes, debros.count())
        )
        for author_id, liked, posts in groups:
            author = await User.get(author_id)
            print(f"most liked author: {author.handle} with {liked} likes on {posts} posts")


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else ":memory:")
