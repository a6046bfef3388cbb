"""The cache never serves a stale row, keeps to its budgets, and can be looked at."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import debros
from debros import Debros, Identity, QueryError
from debros.query.cache import ResultCache
from tests.support.blog import blog
from tests.support.forum import DAY, Comment, Follow, Note, Post, User, a_forum


def hits(db: Debros) -> int:
    return db.cache.queries.stats().hits


async def test_a_second_look_reads_nothing_and_gives_records_of_its_own() -> None:
    node = blog()
    query = node.query("Post").where("author_id", "ana").cache(60)
    first = await query.all()
    node.reads.clear()
    again = await node.query("Post").where("author_id", "ana").cache(60).all()  # written anew
    assert node.reads == []
    assert [row.id for row in again] == [row.id for row in first]
    assert again[0] is not first[0]
    assert await query.count() == len(first)
    assert len(node.reads) == 1
    node.time = 60.1
    await query.all()
    assert len(node.reads) == 2


async def test_everything_that_a_terminal_asks_is_kept_and_nothing_found_too() -> None:
    async with a_forum() as db:
        query = Post.where(Post.likes > 1).cache()
        nothing = Post.where(Post.likes > 99).cache()

        async def ask() -> list[Any]:
            return [
                [post.id for post in await query.all()], await query.count(), await query.exists(), await query.sum("likes"),
                await query.min("likes"), await query.select("title").all(), (await query.limit(3).page()).next,
                (await query.paginate(1, 3)).total, await query.group_by("author_id").aggregate(debros.count()),
                await nothing.all(), await nothing.first(), await nothing.exists(),
            ]  # fmt: skip

        first = await ask()
        before = hits(db)
        assert await ask() == first
        assert hits(db) - before == 13
        assert db.cache.queries.stats().misses == 12  # paginate asks for the count that was asked for


async def test_no_write_of_any_kind_leaves_a_stale_row() -> None:
    async with a_forum() as db:
        query = Post.where(Post.likes >= 0).include(Post.author, Post.comments).with_count(Post.comments).cache()

        async def seen() -> Any:
            posts = await query.all()
            assert [p.to_dict(relations=True) for p in posts] == [
                p.to_dict(relations=True) for p in await query.no_cache().all()
            ]
            return [(post.id, post.likes, post.author.value.handle, post.comments.count) for post in posts]

        before = await seen()
        assert await seen() == before
        post = await Post.get("p01")
        await post.update(likes=50)
        assert await seen() != before
        await Comment.create(post_id="p01", user_id="u1", text="x", created_at=DAY)
        before = await seen()
        await (await User.get("u1")).update(handle="renamed")
        assert await seen() != before
        await (await User.get("u2")).delete()  # hides posts, by the effect of another model's row
        assert len(await seen()) == 8
        await (await User.get("u2", deleted=True)).restore()
        assert len(await seen()) == 12
        async with db.transaction():
            await post.update(likes=1)
            assert {id: likes for id, likes, _, _ in await seen()}["p01"] == 1
        assert {id: likes for id, likes, _, _ in await seen()}["p01"] == 1
        with pytest.raises(RuntimeError):  # noqa: PT012 - the error leaves the block
            async with db.transaction():
                await post.update(likes=77)
                await seen()
                raise RuntimeError
        assert {id: likes for id, likes, _, _ in await seen()}["p01"] == 1
        assert await Post.query().update(likes=3) == 12
        assert {likes for _, likes, _, _ in await seen()} == {3}
        await Post.query().delete()
        assert await seen() == []


async def test_what_a_condition_reads_in_other_models_counts() -> None:
    async with a_forum():
        by_comment = Post.where(Post.comments.any(Comment.text == "new")).cache()
        by_list = Post.where(Post.author_id.in_(User.where(User.handle == "new").select(User.id))).cache()
        by_other = Post.query().where_exists(Follow.where(Follow.follower_id == "new")).cache()
        followed = User.query().where_has("following", lambda q: q.where("handle", "new")).cache()
        for query in (by_comment, by_list, by_other, followed):
            assert await query.count() == 0
        await Comment.create(post_id="p00", user_id="u0", text="new", created_at=DAY)
        await (await User.get("u1")).update(handle="new")
        await Follow.create(follower_id="new", followee_id="u0")
        assert [await query.count() for query in (by_comment, by_list, by_other, followed)] == [1, 4, 12, 1]


async def test_a_revocation_is_not_served_from_before() -> None:
    admin, other = Identity.generate(), Identity.generate()
    async with a_forum(identity=admin, admins=[admin.did]) as db:
        async with db.acting_as(other):
            await Post.create(id="zz", author_id="u0", title="by another", created_at=DAY)
        query = Post.where(Post.id == "zz").cache()
        assert await query.exists()
        await db.revoke(other.did, keep=False)
        assert not await query.exists()
        await db.grant(other.did)
        assert await query.exists()


async def test_users_do_not_see_each_others_results() -> None:
    async with a_forum() as db:
        await Note.create(text="mine")
        query = Note.query().cache()
        assert [note.text for note in await query.all()] == ["mine"]
        other = Identity.generate()
        async with db.acting_as(other):
            assert await query.all() == []
            await Note.create(text="other")
            assert [note.text for note in await query.all()] == ["other"]
        assert [note.text for note in await query.all()] == ["mine"]


async def test_entries_go_by_model_query_tag_key_owner_record_relation_and_kind() -> None:
    async with a_forum() as db:
        await Note.create(text="mine")
        relation = User.posts

        async def fill() -> None:
            db.cache.clear()
            await Post.where(Post.likes == 1).cache(tags=["front", "new"]).all()
            await Post.where(Post.likes == 2).cache(key="two").all()
            await Note.query().cache().all()
            await User.where(User.id.in_(["u0", "u1"])).include(relation, User.following).cache().all()
            assert db.cache.stats().entries == 6

        for what, gone in (
            (Post, 3), (User, 2), (Follow, 1), (Post.where(Post.likes == 1), 1), (Post.where(Post.likes == 3), 0), ("front", 1),
            ("nothing", 0), (db.identity.did, 1), (Identity.generate().did, 0), (relation, 1), ("many_to_many", 1),
            ("has_many", 1), (await User.get("u0"), 2), (await User.get("u2"), 0),
        ):  # fmt: skip
            await fill()
            assert db.cache.invalidate(what) == gone, what
            assert db.cache.stats().entries == 6 - gone
        await fill()
        assert db.cache.invalidate(key="two") == 1
        with pytest.raises(QueryError, match="invalidate"):
            db.cache.invalidate(3)


async def test_tags_add_up_and_fresh_asks_once_more() -> None:
    async with a_forum() as db:
        query = Post.query().cache(tags="a").cache_tag("b", "c")
        await query.all()
        assert await query.fresh().count() == 12
        await query.all()
        await query.fresh().all()
        assert hits(db) == 1
        await query.all()
        assert hits(db) == 2
        assert db.cache.invalidate("c") == 2


async def test_statistics_popular_entries_warming_and_expiry() -> None:
    async with a_forum(query_cache_ttl_s=1000) as db:
        front, other = Post.where(Post.likes > 2), Post.query().limit(1).cache()
        assert await db.cache.warm(front, User.query().cache()) == 7
        for _ in range(3):
            await front.cache().all()
        await other.all()
        stats = db.cache.stats()
        assert (stats.requests, stats.hits, stats.misses, stats.hit_rate) == (6, 3, 3, 0.5)
        assert stats.models == {"Post": (5, 3), "User": (1, 0)}
        assert 0 < stats.bytes < stats.max_bytes
        assert (stats.max_entries, stats.evictions) == (2_000, 0)
        [popular] = db.cache.popular(1)
        assert (popular.models, popular.hits, popular.rows) == (("Post",), 3, 4)
        assert popular.bytes > 500
        assert db.cache.expire() == 0
        assert db.cache.queries.stats().entries == 3
        db.cache.clear()
        assert db.cache.stats().entries == 0
        assert db.cache.stats().hit_rate == 0.5


async def test_relations_have_a_cache_of_the_same_kind() -> None:
    async with a_forum() as db:
        for _ in range(2):
            users = await User.query().include(User.posts.cache(60), User.following).all()
            assert [len(user.posts.value) for user in users] == [4, 4, 4]
        assert db.cache.queries.stats().requests == 0
        stats = db.cache.relations.stats()
        assert (stats.requests, stats.hits, stats.models) == (2, 1, {"Post": (2, 1)})


async def test_a_preset_or_a_setting_turns_the_cache_off() -> None:
    async with a_forum(query_cache=0, relation_cache=0) as db:
        for _ in range(2):
            await Post.query().include(Post.author).cache().all()
        assert db.cache.stats().entries == db.cache.stats().hits == 0


class Counted:
    """A source that counts what it is asked."""

    def __init__(self) -> None:
        self.written = 0
        self.asked = 0

    async def fetch(self, sql: str, bindings: tuple[object, ...]) -> list[tuple[Any, ...]]:
        self.asked += 1
        return [(sql, self.written, "x" * 1000)]

    def revision(self, models: tuple[str, ...]) -> tuple[int, ...]:
        return (self.written,)

    def version(self) -> int:
        return self.written


async def ask(cache: ResultCache, source: Any, sql: str, ttl_s: float | None = None) -> Any:
    from debros.query.cache import Caching, Labels

    return (await cache.fetch(source, (sql, ()), Caching(ttl_s), ("M",), lambda: Labels(("M",)))).rows


async def test_the_least_recently_used_entry_goes_first_by_number_and_by_bytes() -> None:
    source = Counted()
    cache = ResultCache(lambda: 0.0, entries=2, max_bytes=1 << 20, ttl_s=9)
    for sql in ("a", "b", "a", "c", "a", "b"):  # b goes for c, then c for b
        await ask(cache, source, sql)
    assert source.asked == 4
    assert cache.stats().evictions == 2
    small = ResultCache(lambda: 0.0, entries=100, max_bytes=5_000, ttl_s=9)
    for n in range(10):
        await ask(small, source, f"q{n}")
    assert small.stats().bytes <= 5_000
    assert 0 < small.stats().entries < 4
    now = [0.0]
    timed = ResultCache(lambda: now[0], entries=100, max_bytes=1 << 20, ttl_s=9)
    await ask(timed, source, "a", 1.0)
    await ask(timed, source, "b")
    now[0] = 1.5
    assert timed.expire() == 1
    assert timed.stats().entries == 1
    tiny = ResultCache(lambda: 0.0, entries=100, max_bytes=500, ttl_s=9)
    assert await ask(tiny, source, "larger than all") == [("larger than all", 0, "x" * 1000)]
    assert tiny.stats().entries == 0


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["ask", "write", "wait", "short"])), max_size=30))
def test_an_answer_is_never_older_than_the_last_write(steps: list[tuple[str, str]]) -> None:
    import trio

    async def run() -> None:
        source, now = Counted(), [0.0]
        cache = ResultCache(lambda: now[0], entries=2, max_bytes=10_000, ttl_s=5)
        for sql, step in steps:
            if step == "write":
                source.written += 1
            elif step == "wait":
                now[0] += 3
            else:
                [(text, version, _)] = await ask(cache, source, sql, 1.0 if step == "short" else None)
                assert (text, version) == (sql, source.written)
        stats = cache.stats()
        assert stats.requests == stats.hits + stats.misses
        assert stats.misses == source.asked

    trio.run(run)


async def test_what_one_user_found_in_a_nested_query_is_not_served_to_another() -> None:
    async with a_forum() as db:
        await Note.create(id="p00", text="mine")
        noted = Post.where(Post.id.in_(Note.query().select(Note.id))).cache()
        for _ in range(2):
            assert [post.id for post in await noted.all()] == ["p00"]
        async with db.acting_as(Identity.generate()):
            for _ in range(2):
                assert await noted.all() == []
        assert [post.id for post in await noted.all()] == ["p00"]


async def test_an_order_by_chance_is_made_anew_though_results_are_kept() -> None:
    async with a_forum():
        query = Post.query().order_by_random().cache()
        assert len({tuple(post.id for post in await query.all()) for _ in range(5)}) > 1


async def test_the_same_query_object_finds_its_result_again_only_while_it_is_good() -> None:
    node = blog()
    query = node.query("Post").where("author_id", "ana").cache(60)
    await query.all()
    node.reads.clear()
    for _ in range(40):
        await query.all()
    assert node.reads == []
    assert node.cache.stats().hits == 40
    node.add("Comment", {"id": "c99", "post_id": "p0", "user_id": "bo", "text": "x", "at": 9})  # another model
    await query.all()
    assert node.reads == []
    node.cache.invalidate("nothing")
    node.cache.clear()
    await query.all()
    assert len(node.reads) == 1
    node.time = 61
    await query.all()
    assert len(node.reads) == 2
    node.add(
        "Post",
        {
            "id": "p77",
            "author_id": "ana",
            "title": "new",
            "likes": 1,
            "created_at": DAY,
            "tag_ids": [],
            "liker_ids": set(),
        },
    )
    assert "p77" in [row.id for row in await query.all()]
