"""Relations followed from a record."""

from __future__ import annotations

import pytest

import debros
from debros import Field, Many, Model, One, belongs_to, field, has_many, has_one, many_to_many, model
from tests.support.nodes import a_node


@model(scope="global")
class User(Model):
    handle: Field[str]
    tag_ids: Field[list[str]] = field(default_factory=list)
    friend_ids: Field[set[str]] = field(default_factory=set)

    posts: Many[Post] = has_many("author_id", order_by="-likes")
    top: Many[Post] = has_many("author_id", order_by="-likes", limit=1)
    comments: Many[Comment] = has_many("post_id", through="posts")
    profile: One[Profile | None] = has_one("user_id")
    badge: One[Profile] = has_one("user_id")
    following: Many[User] = many_to_many(through="Follow", local="follower_id", remote="followee_id")
    followers: Many[User] = many_to_many(through="Follow", local="followee_id", remote="follower_id")
    tags: Many[Tag] = many_to_many(ids="tag_ids")
    friends: Many[User] = many_to_many(ids="friend_ids", order_by="handle")


@model(scope="global")
class Tag(Model):
    name: Field[str]


@model(scope="global")
class Profile(Model):
    user_id: Field[str]


@model(scope="global", indexes=[("follower_id", "followee_id")])
class Follow(Model):
    follower_id: Field[str]
    followee_id: Field[str]


@model(scope="global")
class Post(Model):
    author_id: Field[str | None]
    likes: Field[int] = field(default=0)
    author: One[User] = belongs_to("author_id")
    maybe: One[User | None] = belongs_to("author_id")
    comments: Many[Comment] = has_many("post_id")

    @belongs_to("author_id")
    def writer(self) -> User: ...

    @has_many("post_id")
    def replies(self) -> list[Comment]: ...


@model(scope="global")
class Comment(Model):
    post_id: Field[str]
    text: Field[str] = field(default="")
    post: One[Post] = belongs_to("post_id")


MODELS = (User, Tag, Profile, Follow, Post, Comment)


async def test_awaiting_a_relation_to_one_loads_it_once_and_remembers() -> None:
    async with a_node(*MODELS):
        ana = await User.create(handle="ana")
        post = await Post.create(author_id=ana.id)
        assert not post.author.is_loaded
        author = await post.author
        assert (author, author.handle) == (ana, "ana")
        assert post.author.is_loaded
        assert post.author.value is author
        assert await post.author is author
        assert await post.writer == ana


async def test_what_is_not_loaded_says_how_to_load_it() -> None:
    post = Post(author_id="1")
    with pytest.raises(debros.NotLoadedError) as caught:
        post.author.value  # noqa: B018 - the access raises
    assert caught.value.relation == "Post.author"
    assert "include(Post.author)" in str(caught.value)
    assert repr(post.author) == "<Post.author: not loaded>"
    with pytest.raises(debros.NotLoadedError):
        post.comments.count  # noqa: B018 - the access raises


@pytest.mark.parametrize("author_id", [None, "nobody"])
async def test_a_missing_target_is_none_or_not_found_as_declared(author_id: str | None) -> None:
    async with a_node(*MODELS):
        post = await Post.create(author_id=author_id)
        assert await post.maybe is None
        with pytest.raises(debros.NotFoundError) as caught:
            await post.author
        assert caught.value.model == "User"
        assert caught.value.ids == (() if author_id is None else (author_id,))
        ana = await User.create(handle="ana")
        assert await ana.profile is None
        with pytest.raises(debros.NotFoundError):
            await ana.badge


async def test_relations_to_many_have_their_order_and_limit() -> None:
    async with a_node(*MODELS):
        ana = await User.create(handle="ana")
        await Post.create_many([{"author_id": ana.id, "likes": n} for n in (1, 3, 2)])
        assert [post.likes for post in await ana.posts] == [3, 2, 1]
        assert [post.likes for post in await ana.top] == [3]
        assert ana.posts.count == 3
        assert await ana.posts.query().where(Post.likes > 1).count() == 2
        assert [post.likes for post in await ana.top.query().order_by(Post.likes.asc()).all()] == [1, 2, 3]


async def test_has_one_and_through_and_decorated_relations_lead_to_their_records() -> None:
    async with a_node(*MODELS):
        ana, bo = await User.create_many([{"handle": "ana"}, {"handle": "bo"}])
        profile = await Profile.create(user_id=ana.id)
        mine, other = await Post.create_many([{"author_id": ana.id}, {"author_id": bo.id}])
        first, _ = await Comment.create_many([{"post_id": mine.id}, {"post_id": other.id}])
        assert await ana.badge == profile
        assert await ana.comments == [first]
        assert await ana.comments.query().all() == [first]
        assert await mine.replies == [first]
        assert await (await first.post).author == ana


async def test_setting_the_key_forgets_what_was_loaded() -> None:
    async with a_node(*MODELS):
        ana, bo = await User.create_many([{"handle": "ana"}, {"handle": "bo"}])
        post = await Post.create(author_id=ana.id)
        await post.author
        await post.maybe
        post.author_id = bo.id
        assert not post.author.is_loaded
        assert await post.author == bo
        await post.refresh()
        assert not post.author.is_loaded
        assert await post.author == ana


async def test_a_merged_key_forgets_what_was_loaded() -> None:
    async with a_node(*MODELS):
        ana, bo = await User.create_many([{"handle": "ana"}, {"handle": "bo"}])
        post = await Post.create(author_id=ana.id)
        await post.author
        await (await Post.get(post.id)).update(author_id=bo.id)
        await post.update(likes=3)
        assert post.author_id == bo.id
        assert await post.author == bo


async def test_a_many_to_many_over_a_junction_is_added_to_and_removed_from() -> None:
    async with a_node(*MODELS):
        ana, bo, cy = await User.create_many([{"handle": name} for name in ("ana", "bo", "cy")])
        await ana.following
        await ana.following.add(bo, cy)
        await ana.following.add(bo, bo)
        assert not ana.following.is_loaded
        assert {user.handle for user in await ana.following} == {"bo", "cy"}
        assert await Follow.count() == 2
        assert [user.handle for user in await bo.followers] == ["ana"]
        assert await ana.following.query().where(User.handle == "cy").all() == [cy]
        await ana.following.remove(bo)
        await ana.following.remove(bo, ana)
        assert await ana.following == [cy]
        assert await bo.refresh() == bo
        assert await bo.followers == []


async def test_a_many_to_many_over_ids_is_added_to_and_removed_from() -> None:
    async with a_node(*MODELS):
        ana, bo, cy = await User.create_many([{"handle": name} for name in ("ana", "bo", "cy")])
        red, blue = await Tag.create_many([{"name": "red"}, {"name": "blue"}])
        await ana.tags.add(blue, red, blue)
        await ana.friends.add(cy, bo)
        assert (ana.tag_ids, ana.friend_ids) == ([blue.id, red.id], {bo.id, cy.id})
        assert [tag.name for tag in await ana.tags] == ["blue", "red"]
        assert [user.handle for user in await ana.friends] == ["bo", "cy"]
        assert await ana.tags.query().count() == 2
        await ana.tags.remove(blue)
        await ana.friends.remove(cy)
        found = await User.get(ana.id)
        assert (found.tag_ids, found.friend_ids) == ([red.id], {bo.id})
        assert await ana.tags == [red]
        found.tag_ids = []
        assert await found.tags == []
        assert await found.tags.query().all() == []


async def test_other_relations_are_not_added_to() -> None:
    async with a_node(*MODELS):
        ana = await User.create(handle="ana")
        post = await Post.create(author_id=None)
        with pytest.raises(debros.RelationError, match="has_many"):
            await ana.posts.add(post)
        with pytest.raises(debros.RelationError, match="leads to User"):
            await ana.following.add(post)  # type: ignore[arg-type]  # wrong on purpose
        with pytest.raises(debros.RelationError, match="save the User"):
            await ana.following.add(User(handle="new"))
        with pytest.raises(debros.RelationError, match="save this User first"):
            await User(handle="new").following.add(ana)
        with pytest.raises(debros.RelationError):
            await ana.comments.remove()


async def test_included_relations_are_there_without_awaiting() -> None:
    async with a_node(*MODELS):
        ana = await User.create(handle="ana")
        await Post.create_many([{"author_id": ana.id}, {"author_id": ana.id}])
        posts = await Post.query().include(Post.author.include(User.posts)).all()
        assert posts[0].author.value is posts[1].author.value
        assert set(posts[0].author.value.posts.value) == set(posts)
        assert await User.where(User.posts.any(Post.likes == 0)).count() == 1


async def test_relations_are_followed_on_the_node_of_the_record() -> None:
    async with a_node(*MODELS) as one, a_node(*MODELS) as other:
        with one.current():
            ana = await User.create(handle="ana")
            post = await Post.create(author_id=ana.id)
        with other.current():
            assert await post.author == ana
            assert await ana.posts == [post]
            await ana.following.add(ana)
            assert await Follow.count() == 0
        with one.current():
            assert await Follow.count() == 1


def test_relations_compare_in_queries_only() -> None:
    assert repr(User.posts) == "User.posts"
    assert repr(Post.writer) == "Post.writer"
