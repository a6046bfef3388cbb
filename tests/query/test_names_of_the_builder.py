"""The builder's names mean what the expressions beside them mean, on the same rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

import debros
from debros import NotFoundError, Query, QueryError, UnknownFieldError
from tests.support.forum import Comment, Note, Post, User, a_forum

Spelled = tuple[Callable[[], Any], Callable[[], Any]]

SAME: dict[str, Spelled] = {
    "where value": (lambda: Post.query().where("likes", 3), lambda: Post.where(Post.likes == 3)),
    "where group": (
        lambda: Post.query().where(lambda q: q.where("likes", 3).or_where("likes", 4)),
        lambda: Post.where((Post.likes == 3) | (Post.likes == 4)),
    ),
    "or_where": (lambda: Post.query().where("likes", 3).or_where("likes", "=", 4), lambda: Post.where(Post.likes.in_([3, 4]))),
    "or_where group": (
        lambda: Post.query().where("likes", 3).or_where(lambda q: q.where("likes", 4).where("author_id", "u0")),
        lambda: Post.where((Post.likes == 3) | ((Post.likes == 4) & (Post.author_id == "u0"))),
    ),
    "and_": (lambda: Post.query().where("likes", 3).and_("author_id", "u0"), lambda: Post.where(Post.likes == 3, Post.author_id == "u0")),
    "or_": (lambda: Post.query().where("likes", 3).or_("likes", 4), lambda: Post.where(Post.likes.in_([3, 4]))),
    "not_": (lambda: Post.query().not_("likes", 3), lambda: Post.where(~(Post.likes == 3))),
    "group": (lambda: Post.query().group(lambda q: q.where("likes", 1)), lambda: Post.where(Post.likes == 1)),
    "where_in": (lambda: Post.query().where_in("likes", [1, 2]), lambda: Post.where(Post.likes.in_([1, 2]))),
    "where_not_in": (lambda: Post.query().where_not_in("likes", [1, 2]), lambda: Post.where(Post.likes.not_in([1, 2]))),
    "where_null": (lambda: Post.query().where_null("body"), lambda: Post.where(Post.body.is_null())),
    "where_not_null": (lambda: Post.query().where_not_null("body"), lambda: Post.where(Post.body.is_not_null())),
    "where_between": (lambda: Post.query().where_between("likes", 1, 3), lambda: Post.where(Post.likes.between(1, 3))),
    "where_not": (lambda: Post.query().where_not("likes", ">", 2), lambda: Post.where(~(Post.likes > 2))),
    "where_like": (lambda: Post.query().where_like("title", "%o%"), lambda: Post.where(Post.title.like("%o%"))),
    "where_ilike": (lambda: Post.query().where_ilike("title", "é%"), lambda: Post.where(Post.title.ilike("é%"))),
    "where_date": (
        lambda: Post.query().where_date("created_at", ">=", date(2025, 6, 1)),
        lambda: Post.where(Post.created_at.date >= date(2025, 6, 1)),
    ),
    "where_date_between": (
        lambda: Post.query().where_date_between("created_at", date(2025, 2, 10), date(2025, 6, 1)),
        lambda: Post.where(Post.created_at.date.between(date(2025, 2, 10), date(2025, 6, 1))),
    ),
    "where_year": (lambda: Post.query().where_year("created_at", 2026), lambda: Post.where(Post.created_at.year == 2026)),
    "where_year op": (lambda: Post.query().where_year("created_at", "<", 2026), lambda: Post.where(Post.created_at.year < 2026)),
    "where_month": (lambda: Post.query().where_month("created_at", 2), lambda: Post.where(Post.created_at.month == 2)),
    "where_day": (lambda: Post.query().where_day("created_at", ">", 10), lambda: Post.where(Post.created_at.day > 10)),
    "where_array_contains": (lambda: Post.query().where_array_contains("tags", "t1"), lambda: Post.where(Post.tags.contains("t1"))),
    "where_array_length": (lambda: Post.query().where_array_length("tags", ">=", 2), lambda: Post.where(Post.tags.length >= 2)),
    "where_object_has_key": (lambda: Post.query().where_object_has_key("place", "city"), lambda: Post.where(Post.place.has_key("city"))),
    "where_object_path": (
        lambda: Post.query().where_object_path("place", "at.zip.0", ">", 1015),
        lambda: Post.where(Post.place.path("at.zip.0") > 1015),
    ),
    "where_has": (
        lambda: Post.query().where_has("comments", lambda q: q.where("user_id", "u1")),
        lambda: Post.where(Post.comments.any(Comment.user_id == "u1")),
    ),
    "where_doesnt_have": (lambda: Post.query().where_doesnt_have("comments"), lambda: Post.where(Post.comments.none())),
    "where_exists": (lambda: Post.query().where_exists("comments"), lambda: Post.where(Post.comments.any())),
    "where_not_exists": (lambda: Post.query().where_not_exists("comments"), lambda: Post.where(Post.comments.none())),
    "where_column": (lambda: Post.query().where_column("title", "<", "author_id"), lambda: Post.where(Post.title < Post.author_id)),
    "where_raw": (lambda: Post.query().where_raw("{likes} * 2 > ?", [5]), lambda: Post.where(Post.likes >= 3)),
    "order_by_desc": (lambda: Post.query().order_by_desc("likes"), lambda: Post.query().order_by(Post.likes.desc())),
    "order_by_multiple": (
        lambda: Post.query().order_by_multiple(["author_id", ("likes", "desc")]),
        lambda: Post.query().order_by(Post.author_id.asc(), Post.likes.desc()),
    ),
    "order_by_raw": (
        lambda: Post.query().order_by_raw("{likes} % ?", "desc", [3]).limit(2),
        lambda: Post.where(Post.likes.in_([2])),
    ),
    "take": (lambda: Post.query().take(3), lambda: Post.query().limit(3)),
    "skip": (lambda: Post.query().skip(9), lambda: Post.query().offset(9)),
    "clone": (lambda: Post.query().where("likes", 1).clone(), lambda: Post.where(Post.likes == 1)),
    "reset": (lambda: Post.query().where("likes", 1).limit(1).reset(), lambda: Post.query()),
    "op =": (lambda: Post.query().where("likes", "eq", 1), lambda: Post.where(Post.likes == 1)),
    "op !=": (lambda: Post.query().where("likes", "<>", 1).where("likes", "ne", 2), lambda: Post.where(Post.likes.not_in([1, 2]))),
    "op >": (lambda: Post.query().where("likes", "gt", 1), lambda: Post.where(Post.likes > 1)),
    "op >=": (lambda: Post.query().where("likes", "gte", 1), lambda: Post.where(Post.likes >= 1)),
    "op <": (lambda: Post.query().where("likes", "lt", 1), lambda: Post.where(Post.likes < 1)),
    "op <=": (lambda: Post.query().where("likes", "lte", 1), lambda: Post.where(Post.likes <= 1)),
    "op between": (lambda: Post.query().where("likes", "between", (1, 2)), lambda: Post.where(Post.likes.between(1, 2))),
    "op in": (lambda: Post.query().where("likes", "in", [1, 2]), lambda: Post.where(Post.likes.in_([1, 2]))),
    "op not in": (lambda: Post.query().where("likes", "not in", [1, 2]), lambda: Post.where(Post.likes.not_in([1, 2]))),
    "op is null": (lambda: Post.query().where("body", "is null", True), lambda: Post.where(Post.body == None)),  # noqa: E711 - what it is about
    "op is not null": (lambda: Post.query().where("body", "is not null", True), lambda: Post.where(Post.body != None)),  # noqa: E711 - as above
    "op like": (lambda: Post.query().where("title", "like", "H%"), lambda: Post.where(Post.title.like("H%"))),
    "op not like": (lambda: Post.query().where("title", "not like", "H%"), lambda: Post.where(~Post.title.like("H%"))),
    "op ilike": (lambda: Post.query().where("title", "ilike", "h%"), lambda: Post.where(Post.title == "Hello")),
    "op not ilike": (lambda: Post.query().where("title", "not ilike", "h%"), lambda: Post.where(Post.title != "Hello")),
    "op regex": (lambda: Post.query().where("title", "regex", "^[HW]"), lambda: Post.where(Post.title.in_(["Hello", "World"]))),
    "op startswith": (lambda: Post.query().where("title", "startswith", "a_"), lambda: Post.where(Post.title == "a_b%c")),
    "op endswith": (lambda: Post.query().where("title", "endswith", "b%c"), lambda: Post.where(Post.title == "a_b%c")),
    "op icontains": (lambda: Post.query().where("title", "icontains", "ZÜ"), lambda: Post.where(Post.title == "zürich")),
    "op includes": (lambda: Post.query().where("tags", "includes", "t1"), lambda: Post.where(Post.tags.contains("t1"))),
    "op includes any": (lambda: Post.query().where("tags", "includes any", ["t1", "t2"]), lambda: Post.where(Post.tags.contains_any(["t1", "t2"]))),
    "op includes all": (lambda: Post.query().where("tags", "includes all", ["t1", "all"]), lambda: Post.where(Post.tags.contains("t1"))),
    "op has key": (lambda: Post.query().where("place", "has key", "n"), lambda: Post.where(Post.place.has_key("n"))),
    "any_of": (lambda: Post.where(debros.any_of(Post.likes == 1, Post.likes == 2)), lambda: Post.where(Post.likes.in_([1, 2]))),
    "any_of one": (lambda: Post.where(debros.any_of(Post.likes == 1)), lambda: Post.where(Post.likes == 1)),
    "any_of none": (lambda: Post.where(~debros.any_of()), lambda: Post.query()),
    "all_of": (lambda: Post.where(debros.all_of(Post.likes > 1, Post.likes < 4)), lambda: Post.where(Post.likes.between(2, 3))),
    "all_of none": (lambda: Post.where(debros.all_of()), lambda: Post.query()),
    "join": (lambda: Post.query().join("comments"), lambda: Post.where(Post.comments.any())),
    "left_join": (lambda: Post.query().left_join("author"), lambda: Post.query()),
    "hint": (lambda: Post.query().hint("front page"), lambda: Post.query()),
    "use_index": (lambda: Post.query().use_index("likes").where("likes", 2), lambda: Post.where(Post.likes == 2)),
    "timeout": (lambda: Post.query().timeout(60), lambda: Post.query()),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
async def test_a_name_of_the_builder_means_its_expression(name: str) -> None:
    builder, expression = SAME[name]
    async with a_forum():
        found, expected = await builder().all(), await expression().all()
        assert [row.id for row in found] == [row.id for row in expected]
        assert expected
        assert type(builder()) is Query


async def test_users_are_chosen_by_where_user_in_too() -> None:
    async with a_forum() as db:
        await Note.create(text="mine")
        other = debros.Identity.generate()
        async with db.acting_as(other):
            await Note.create(text="other")
        assert [note.text for note in await Note.query().where_user_in([other.did]).all()] == ["other"]
        assert await Note.query().where_user_in([other.did, db.identity.did]).count() == 2


async def test_an_exists_of_another_query_decides_for_all_rows() -> None:
    async with a_forum():
        assert await Post.query().where_exists(User.where(User.handle == "ana")).count() == 12
        assert await Post.query().where_exists(User.where(User.handle == "nobody")).count() == 0
        assert await Post.query().where_not_exists(User.where(User.handle == "nobody").limit(1)).count() == 12
        assert await Post.query().where_exists(User.query().limit(0)).count() == 0


async def test_other_names_of_the_terminals_give_the_same() -> None:
    async with a_forum():
        query = Post.query().where("author_id", "u0")
        every = await query.all()
        assert await query.get() == await query.exec() == await query.find() == await query.find_or_fail() == every
        assert await query.find_one() == await query.first() == await query.first_or_fail() == every[0]
        assert await query.average("likes") == await query.avg(Post.likes)
        assert await query.count_distinct("likes") == len({post.likes for post in every})
        assert await query.count_distinct(Post.body) == len({post.body for post in every} - {None})
        nothing = query.where("likes", 99)
        for fails in (nothing.first_or_fail, nothing.find_or_fail):
            with pytest.raises(NotFoundError):
                await fails()


async def test_the_sql_of_a_query_and_what_is_bound_can_be_looked_at() -> None:
    async with a_forum():
        query = Post.query().where("title", "'; DROP TABLE m_Post; --").limit(3)
        assert "DROP" not in query.to_sql()
        assert query.get_parameters() == ("'; DROP TABLE m_Post; --", 3)


async def test_random_orders_are_all_rows_and_a_seed_fixes_them() -> None:
    async with a_forum():
        every = {post.id for post in await Post.all()}
        seeded = [[post.id for post in await Post.query().order_by_random(seed).all()] for seed in range(5)]
        assert all(set(ids) == every for ids in seeded)
        assert len({tuple(ids) for ids in seeded}) == 5
        assert [post.id for post in await Post.query().order_by_random(3).all()] == seeded[3]
        by_chance = {tuple(post.id for post in await Post.query().order_by("random").all()) for _ in range(4)}
        assert len(by_chance) > 1
        paged = [post.id async for post in Post.query().order_by_random(3).stream()]
        assert paged == seeded[3]
        with pytest.raises(QueryError, match="random"):
            await Post.query().order_by_random().page()
        with pytest.raises(QueryError, match="seed"):
            Post.query().order_by_random("x")  # type: ignore[arg-type]  # wrong on purpose


async def test_names_of_relations_may_come_with_what_narrows_them() -> None:
    async with a_forum():
        posts = (
            await Post.query().with_({"comments": lambda q: q.where("user_id", "u1").order_by("text", "desc")}).all()
        )
        assert [c.text for c in posts[0].comments.value] == ["comment 4"]
        users = await User.query().load_nested("posts.comments", lambda q: q.order_by("text", "desc").limit(1)).all()
        texts = [[c.text for c in post.comments.value] for post in users[0].posts.value if post.comments.value]
        assert texts == [["comment 7"], ["comment 8"]]
        assert (await Post.query().load("author", ["likers"]).first_or_fail()).author.value.handle == "ana"
        for wrong in (lambda q: None, lambda q: q.select("id"), lambda q: q.offset(1)):
            with pytest.raises(QueryError, match="comments"):
                Post.query().with_({"comments": wrong})


async def test_a_batch_runs_several_queries() -> None:
    async with a_forum():
        batch = Query.batch().add("few", Post.query().limit(2)).add("users", User.query())
        found = await batch.execute()
        assert {name: len(rows) for name, rows in found.items()} == {"few": 2, "users": 3}
        with pytest.raises(QueryError, match="few"):
            batch.add("few", User.query())


async def test_a_fallback_answers_where_the_query_fails() -> None:
    async with a_forum() as db:
        errors: list[Exception] = []

        def instead(error: Exception) -> list[Post]:
            errors.append(error)
            return []

        query = Post.where(Post.author.any()).fallback(instead)
        assert len(await query.all()) == 12
        assert not errors
        broken = Post.query().where_raw("abs(?) > 0", [-(2**63)]).fallback(instead)
        assert await broken.first() is None
        assert [str(error) for error in errors] == ["the query fails on its values: integer overflow"]
        assert db.status().last_failure == ""


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Post.query().where("likes", "~", 1),
        lambda: Post.query().where("likes", "is null", 1),
        lambda: Post.query().where_year("title", 3),
        lambda: Post.query().where_year("created_at"),
        lambda: Post.query().where_array_length("tags", ">=", "2"),
        lambda: Post.query().where_array_contains("title", 1),
        lambda: Post.query().where_column("title", "like", "author_id"),
        lambda: Post.query().order_by_raw("{likes}", "up"),
        lambda: Post.query().take(-1),
        lambda: Post.query().skip(-1),
        lambda: Post.query().timeout(0),
        lambda: Post.query().fallback("x"),
        lambda: Post.query().use_index("title"),
        lambda: Post.query().where_user_in(["did:key:x"]),
        lambda: debros.any_of(Post.likes == 1, True),
        lambda: debros.all_of("likes"),
        lambda: Post.query().cache(0),
        lambda: Post.query().cache(-1),
        lambda: Post.query().cache(True),
        lambda: Post.query().cache(tags=[1]),
        lambda: Post.query().batches(0),
        lambda: Post.query().offset(1).stream(),
        lambda: Post.query().order_by("random", "up").order_by("nothing"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_where_it_is_written(wrong: Callable[[], Any]) -> None:
    with pytest.raises(QueryError):
        wrong()


def test_names_that_nobody_declared_are_refused() -> None:
    for wrong in (
        lambda: Post.query().where_object_path("plase", "a", 1),
        lambda: Post.query().with_count("coments"),
        lambda: Post.query().join("coments"),
        lambda: Post.query().where_exists("coments"),
        lambda: Post.query().where_raw("{lik} > 1"),
    ):
        with pytest.raises(UnknownFieldError):
            wrong()


async def test_counting_relations_takes_one_lookup_each() -> None:
    async with a_forum():
        posts = await Post.query().with_count("comments", Post.likers).with_count(Post.author).order_by("id").all()
        expected = {post.id: len(await Comment.where(Comment.post_id == post.id).all()) for post in posts}
        assert {post.id: post.comments.count for post in posts} == expected
        assert [post.likers.count for post in posts] == [len(post.liker_ids) for post in posts]
        assert not posts[0].comments.is_loaded
        users = await User.query().with_count(User.following, User.received, User.posts).all()
        assert [user.following.count for user in users] == [2, 0, 0]
        assert [user.posts.count for user in users] == [4, 4, 4]
        assert sum(user.received.count for user in users) == 9
        narrowed = await Post.query().with_count(Post.comments.where(Comment.user_id == "u1")).first_or_fail()
        assert narrowed.comments.count == 1
        deep = await User.query().include(User.posts.with_count(Post.comments)).first_or_fail()
        assert [post.comments.count for post in deep.posts.value] == [0, 0, 2, 3]
        with pytest.raises(QueryError, match="no relations"):
            await Post.query().with_count("comments").select("id").all()
