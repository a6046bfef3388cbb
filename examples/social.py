"""Users, posts, comments and follows on one node; a feed with cursor paging; relations in both directions.

Run: `python examples/social.py [home]` (in memory when none is given). It prints exactly:
    feed page 1: ['post 11', 'post 10', 'post 9', 'post 8', 'post 7']
    feed page 2: ['post 6', 'post 5', 'post 4', 'post 3', 'post 2']
    feed page 3: ['post 1', 'post 0']
    bo follows ['ana'], ana has followers ['bo']
    seed spelling: post 3 by ana, 2 comments, first by bo
    likes after two tasks liked at once: 5
    tags of post 3: ['news', 'odd']
    handle 'ana' is taken
    most liked author: ana with 12 posts, 5 likes
    without ana: 0 posts, 0 comments, again 12 posts, 2 comments
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import Annotated

import trio

import debros
from debros import Field, Index, Many, MaxLen, Model, One, belongs_to, computed, field, has_many, many_to_many, model


@model(scope="global")
class User(Model):
    handle: Field[Annotated[str, MaxLen(30)]] = field(unique=True, min_length=1)
    bio: Field[str | None] = field(default=None)

    posts: Many[Post] = has_many("author_id", order_by="-created_at")
    following: Many[User] = many_to_many(through="Follow", local="follower_id", remote="followee_id")
    followers: Many[User] = many_to_many(through="Follow", local="followee_id", remote="follower_id")


@model(scope="global", indexes=[Index("follower_id", "followee_id", unique=True)])
class Follow(Model):
    follower_id: Field[str] = field(index=True)
    followee_id: Field[str] = field(index=True)


@model(scope="global", indexes=[Index("author_id", "-created_at")])
class Post(Model):
    author_id: Field[str] = field(index=True)
    title: Field[Annotated[str, MaxLen(200)]]
    tags: Field[set[str]] = field(default_factory=set)
    likes: Field[int] = field(default=0, merge="counter", index=True)
    created_at: Field[datetime] = field(default_factory=debros.now, index=True)

    author: One[User] = belongs_to("author_id", on_delete="cascade")
    comments: Many[Comment] = has_many("post_id", order_by="created_at")

    @computed
    def excerpt(self) -> str:
        return self.title[:80]


@model(scope="global")
class Comment(Model):
    post_id: Field[str] = field(index=True)
    user_id: Field[str]
    text: Field[str]
    created_at: Field[datetime] = field(default_factory=debros.now)

    post: One[Post] = belongs_to("post_id", on_delete="cascade")
    user: One[User | None] = belongs_to("user_id")  # None when the user is gone


async def feed(reader: User, size: int = 5, after: str | None = None) -> debros.Page[Post]:
    followed = Follow.where(Follow.follower_id == reader.id).select(Follow.followee_id)
    posts = Post.where(Post.author_id.in_(followed)).include(Post.author).order_by(Post.created_at.desc())
    return await posts.limit(size).page(after=after)


async def main(home: str) -> None:
    async with debros.open(home, models=[User, Follow, Post, Comment]):
        start = debros.now()
        ana, bo = await User.create(handle="ana"), await User.create(handle="bo", bio="reads a lot")
        tags = ({"even"}, {"odd"})
        posts = await Post.create_many(
            Post(author_id=ana.id, title=f"post {n}", tags=tags[n % 2], created_at=start + timedelta(seconds=n))
            for n in range(12)
        )
        await bo.following.add(ana)
        for text in ("first!", "again"):
            await Comment.create(post_id=posts[3].id, user_id=bo.id, text=text)

        cursor: str | None = None
        for number in (1, 2, 3):
            page = await feed(bo, after=cursor)
            print(f"feed page {number}: {[post.title for post in page.rows]}")
            cursor = page.next
        followers = [u.handle for u in await ana.followers]
        print(f"bo follows {[u.handle for u in await bo.following]}, ana has followers {followers}")

        query = Post.query().where("author_id", ana.id).where("created_at", ">", start)
        query = query.with_(["author", "comments.user"]).where(Post.comments.any(Comment.text == "again"))
        [found] = await query.order_by("likes", "desc").limit(20).find()
        comments = found.comments.value
        first = comments[0].user.value
        by = first.handle if first else "?"
        print(f"seed spelling: {found.title} by {found.author.value.handle}, {len(comments)} comments, first by {by}")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(like, posts[3].id, 2)
            nursery.start_soon(like, posts[3].id, 3)
        liked = await Post.get(posts[3].id)
        print(f"likes after two tasks liked at once: {liked.likes}")
        liked.tags.add("news")
        await liked.save()
        print(f"tags of {liked.title}: {sorted((await Post.get(liked.id)).tags)}")
        try:
            await User.create(handle="ana")
        except debros.UniqueError as error:
            print(f"{error.fields[0]} 'ana' is taken")
        [(author_id, posted, likes)] = (
            await Post.query().group_by(Post.author_id).aggregate(debros.count(), debros.sum(Post.likes))
        )
        print(f"most liked author: {(await User.get(author_id)).handle} with {posted} posts, {likes} likes")

        await ana.delete()
        gone = f"{await Post.count()} posts, {await Comment.count()} comments"
        await ana.restore()
        print(f"without ana: {gone}, again {await Post.count()} posts, {await Comment.count()} comments")


async def like(id: str, times: int) -> None:
    """A record is a private copy: each task saves only what it changed, and counters add up."""
    post = await Post.get(id)
    post.likes += times
    await trio.lowlevel.checkpoint()
    await post.save()


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else ":memory:")
