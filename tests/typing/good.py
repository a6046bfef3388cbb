"""A program that mypy --strict and pyright accept, with exactly these types. It is checked, not run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, assert_type

import debros
from debros import (
    Column,
    Field,
    Index,
    Many,
    MaxLen,
    Model,
    One,
    Query,
    Relation,
    Rows,
    Version,
    after_delete,
    before_save,
    belongs_to,
    computed,
    field,
    has_many,
    has_one,
    many_to_many,
    model,
)


@model(scope="global")
class User(Model):
    handle: Field[Annotated[str, MaxLen(30)]] = field(unique=True, min_length=1)
    bio: Field[str | None] = field(default=None)
    posts: Many[Post] = has_many("author_id", order_by="-likes")
    latest: One[Post | None] = has_one("author_id")
    following: Many[User] = many_to_many(through="Follow", local="follower_id", remote="followee_id")

    @has_many("author_id")  # the decorator spelling: mypy needs `disable_error_code = ["empty-body"]` for it
    def entries(self) -> list[Post]:
        raise NotImplementedError

    @before_save
    async def tidy(self) -> None:
        self.handle = self.handle.strip()

    @after_delete()
    def gone(self) -> None:
        assert_type(self.changes, dict[str, tuple[Any, Any]])


@model(scope="global", indexes=[Index("follower_id", "followee_id", unique=True), ("followee_id", "-id")])
class Follow(Model):
    follower_id: Field[str]
    followee_id: Field[str]


@model(scope="global", store="documents", version="1.2.0", strict=True, extra="forbid", write="anyone")
class Post(Model):
    author_id: Field[str] = field(index=True)
    title: Field[str]
    likes: Field[int] = field(default=0, merge="counter")
    score: Field[float | None] = field(default=None)
    tags: Field[set[str]] = field(default_factory=set, merge="set")
    editor: One[User | None] = belongs_to("author_id", on_delete="keep")

    @field
    def excerpt(self) -> str:
        return self.title[:80]

    @computed(index=True)
    def size(self) -> int:
        return len(self.title)

    @belongs_to("author_id")
    def author(self) -> User:
        raise NotImplementedError


async def main() -> None:
    ana = await User(handle="ana").save()
    assert_type(ana, User)
    post = Post(author_id="1", title="x")
    post.likes += 1
    post.tags.add("a")
    assert_type(post.likes, int)
    assert_type(post.score, float | None)
    assert_type(post.id, str)
    assert_type(post.excerpt, str)
    assert_type(Post.likes, Column[int])
    assert_type(Post.excerpt, Column[str])
    assert_type(User.posts, Relation[Post])

    condition = (Post.title == "x") | ~(Post.likes == 0)
    query = Post.where(Post.likes > 3, condition).include(Post.author).order_by(Post.likes.desc())
    assert_type(query, Query[Post])
    rows = await query.all()
    assert_type(rows, Rows[Post])
    assert_type(rows[0].author.value.handle, str)
    assert_type(await Post.all(), Rows[Post])
    assert_type(await Post.count(), int)

    assert_type(await post.author, User)
    assert_type(await post.editor, User | None)
    assert_type(await ana.latest, Post | None)
    assert_type(await ana.posts, Sequence[Post])
    assert_type((await ana.entries)[0], Post)
    assert_type(ana.posts.count, int)
    assert_type(ana.posts.query(), Query[Post])
    await ana.following.add(ana)

    assert_type(await Post.create(author_id="1", title="x", likes=3), Post)
    assert_type(await Post.create_many([post, {"author_id": "1", "title": "y"}]), list[Post])
    assert_type(await Post.get(post.id), Post)
    assert_type(await Post.get_or_none(post.id), Post | None)
    assert_type(await Post.get_many([post.id], missing_ok=True), list[Post])
    assert_type(await Post.find_one(Post.title == "x"), Post | None)
    assert_type(await Post.upsert("p", title="x"), Post)
    assert_type(await Post.get_or_create({"title": "x"}, author_id="1"), tuple[Post, bool])
    await Post.increment(post.id, likes=2)
    assert_type(Post.from_dict({"title": "x"}), Post)

    assert_type(await post.update(title="z"), Post)
    assert_type(await post.save(if_unchanged=True), Post)
    assert_type(await post.restore(), Post)
    assert_type(await post.refresh(), Post)
    assert_type(post.copy(), Post)
    assert_type(post.is_new, bool)
    assert_type(post.to_dict(mode="json"), dict[str, Any])
    assert_type(await post.history(), list[Version[Post]])
    assert_type(await post.blame(), dict[str, Version[Post]])
    assert_type(await post.conflicts(), dict[str, list[Version[Post]]])
    assert_type(post.meta.owner, str | None)
    assert_type(Post.meta.created_by, Column[str])

    assert_type(await Post.query().select(Post.title, Post.likes).all(), Rows[tuple[str, int]])
    assert_type(
        await Post.query().select(Post.id, Post.title, Post.likes, Post.score, Post.tags, Post.excerpt).first(),
        tuple[str, str, int, float | None, set[str], str] | None,
    )
    seed = Post.query().where("likes", ">", 3).with_(["author"]).order_by("likes", "desc")
    assert_type(await seed.first(), Post | None)
    groups = Post.query().group_by(Post.author_id, Post.size)
    assert_type(
        await groups.aggregate(debros.count(), debros.avg(Post.likes), debros.max(Post.title)),
        Rows[tuple[str, int, int, float | None, str | None]],
    )
    assert_type(await Post.where(Post.meta.created_by == "did:key:z6Mk").sum(Post.likes), int)
    assert_type((await Post.query().order_by(Post.id.asc()).limit(5).page()).next, str | None)
    await User.where(User.posts.any(Post.likes > 3), Post.excerpt == "a", Post.id.in_(["a"])).all()

    @model(scope="global")
    class Local(Model):  # local to a function: the same types
        text: Field[str]
        reply_to: Field[str | None] = field(default=None)
        parent: One[Local | None] = belongs_to("reply_to")
        replies: Many[Local] = has_many("reply_to")

    assert_type(await Local(text="x").parent, Local | None)


class Named(Model):  # abstract: what it declares is inherited
    name: Field[str]


@model(scope="user")
class Pet(Named):
    age: Field[int] = field(default=0, ge=0)


async def inherit() -> None:
    pet = await Pet.create(name="rex")
    assert_type(pet.name, str)
    assert_type(await Pet.where(Pet.name == "rex").first(), Pet | None)


async def ask() -> None:
    query = Post.query()
    assert_type(Post.as_of(3).where(Post.likes > 1), Query[Post])
    assert_type(query.cache(60, tags=["front"]).cache_tag("x").fresh().no_cache(), Query[Post])
    assert_type(query.with_count(Post.author, "author").timeout(3).fallback(lambda error: []), Query[Post])
    assert_type(query.with_({"author": lambda q: q.where("handle", "ana")}), Query[Post])
    assert_type(query.where_year("created_at", 2025).where_array_length("tags", ">=", 2), Query[Post])
    assert_type(query.where_raw("{likes} > ?", [3]).order_by_raw("{likes} % ?", "desc", [3]), Query[Post])
    assert_type(query.order_by_random(3).take(2).skip(1), Query[Post])
    assert_type([post async for post in query.stream()], list[Post])
    assert_type([rows async for rows in query.batches(10)], list[Rows[Post]])
    assert_type([row async for row in query.select(Post.title).stream()], list[tuple[str]])
    assert_type(await query.update(title="x"), int)
    assert_type(await query.delete(), int)
    assert_type(await query.chunk(10, lambda rows: rows[0].title == "x"), bool)
    assert_type(await query.first_or_fail(), Post)
    assert_type(await query.find_or_fail(), Rows[Post])
    assert_type(await query.find_one(), Post | None)
    assert_type(await query.count_distinct(Post.title), int)
    assert_type(await query.min(Post.title), str | None)
    assert_type(await query.lazy(5).load_more(), list[Post])
    assert_type(await query.lazy(5).find(lambda post: post.likes > 3), Post | None)
    assert_type((await query.explain()).rows_examined, int)
    assert_type(await Query.batch().add("new", query).execute(), dict[str, Rows[Any]])
    assert_type((await query.all()).to_dicts(), list[dict[str, Any]])
    assert_type((await query.paginate(1, 10)).rows, Rows[Post])
