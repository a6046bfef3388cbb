"""`as_of` answers from the log as it was: the same as the present would have answered then."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from debros import Debros, Field, Identity, Model, QueryError, field, hash_shards, model
from debros.shards import past
from tests.support.forum import MODELS, Comment, Note, Post, User, a_forum
from tests.support.nodes import a_node

STEPS = st.lists(
    st.tuples(st.sampled_from(["create", "update", "delete", "restore", "user"]), st.integers(0, 3), st.integers(0, 9)),
    min_size=1,
    max_size=12,
)


async def shown() -> list[Any]:
    posts = await Post.query().include(Post.author, Post.comments).order_by(Post.likes.desc()).all()
    return [post.to_dict(relations=True) for post in posts]


async def shown_at(clock: int) -> list[Any]:
    posts = await Post.as_of(clock).include(Post.author, Post.comments).order_by(Post.likes.desc()).all()
    return [post.to_dict(relations=True) for post in posts]


async def step(db: Debros, kind: str, which: int, value: int) -> None:
    id = f"q{which}"
    post = await Post.get_or_none(id)
    if kind == "create" and post is None:
        if await User.get_or_none("u0") is None:
            return
        await Post.upsert(id, author_id=f"u{which % 3}", title=f"t{value}", created_at=datetime(2025, 1, 1, tzinfo=UTC))
    elif kind == "update" and post is not None:
        await post.update(likes=value, tags={str(value)})
    elif kind == "delete" and post is not None:
        await post.delete()
    elif kind == "user":
        user = await User.get("u1", deleted=True)
        await (user.delete() if value % 2 and not user.meta.is_deleted else user.restore())


@settings(max_examples=25)
@given(STEPS)
def test_every_moment_shows_later_what_it_showed_then(steps: list[tuple[str, int, int]]) -> None:
    async def run() -> None:
        async with a_node(*MODELS, durability="process") as db:
            await User.create_many([{"id": f"u{n}", "handle": str(n)} for n in range(3)])
            moments: list[tuple[int, list[Any]]] = []
            for kind, which, value in steps:
                try:
                    await step(db, kind, which, value)
                except LookupError:
                    continue
                clock = max(replica.clock for replica in db.store.by_number.values())
                moments.append((clock, await shown()))
            for clock, then in moments:
                assert await shown_at(clock) == then

    trio.run(run)


async def test_conditions_relations_and_aggregates_ask_the_past() -> None:
    async with a_forum():
        clock = (await User.get("u0")).meta.clock
        clock = max(clock, *[(await c).meta.clock for c in [Comment.get("c08"), Post.get("p11")]])
        await (await User.get("u0")).update(handle="renamed")
        await Comment.query().delete()
        past = Post.as_of(clock)
        assert await past.where(Post.author.any(User.handle == "ana")).count() == 4
        assert await Post.where(Post.author.any(User.handle == "ana")).count() == 0
        assert await past.where(Post.author_id.in_(User.where(User.handle == "ana").select(User.id))).count() == 4
        post = await past.with_count(Post.comments).where(Post.id == "p00").one()
        assert post.comments.count == 3
        assert (await post.author).handle == "ana"
        assert len(await post.comments) == 3
        assert len(await post.comments.query().all()) == 3
        assert await past.where(Post.id == "p00").include(Post.comments).exists()
        assert await Comment.as_of(clock).count() == 9
        assert (await past.explain()).rows_examined == 12
        assert [p.id async for p in past.stream()] == [f"p{n:02}" for n in range(12)]
        assert await past.cache().count() == 12


async def test_what_a_deletion_hid_then_is_hidden_in_the_past() -> None:
    async with a_forum() as db:
        before = max(replica.clock for replica in db.store.by_number.values())
        user = await User.get("u0")
        await user.delete()
        gone = user.meta.clock
        await user.restore()
        assert await Post.query().count() == 12
        assert await Post.as_of(gone).count() == 8
        assert await Post.as_of(before).count() == 12


async def test_times_have_zones_and_clocks_are_whole() -> None:
    async with a_forum():
        now = datetime.now(UTC)
        assert await Post.as_of(now.replace(year=now.year + 1)).count() == 12
        assert await Post.as_of(datetime(2001, 1, 1, tzinfo=UTC)).count() == 0
        assert await Post.as_of(datetime(1, 1, 1, tzinfo=UTC)).all() == []
        for wrong in (now.replace(tzinfo=None), -1, 2**63, True, "yesterday", 1.5):
            with pytest.raises(QueryError):
                Post.as_of(wrong)  # type: ignore[arg-type]  # wrong on purpose


async def test_each_user_sees_the_past_of_the_own_records() -> None:
    other = Identity.generate()
    async with a_forum() as db:
        note = await Note.create(text="mine")
        async with db.acting_as(other):
            second = await Note.create(text="other")
            await second.update(text="changed")
        clock = max(note.meta.clock, second.meta.clock)
        while db.env.now_us() // 1000 <= clock >> 16:  # the clocks of two logs agree to the millisecond only
            await trio.lowlevel.checkpoint()
        await note.delete()
        assert [n.text for n in await Note.as_of(clock).all()] == ["mine"]
        assert [n.text for n in await Note.as_of(clock).where_user(other.did).all()] == ["changed"]
        assert await Note.as_of(clock).all_users().count() == 2
        assert [n.text for n in await Note.as_of(clock).where(Note.meta.created_by == other.did).all_users().all()] == [
            "changed"
        ]


async def test_the_past_is_folded_once_and_cannot_be_changed() -> None:
    async with a_forum() as db:
        clock = (await Post.get("p11")).meta.clock
        first = await Post.as_of(clock).first()
        node = await db.past(clock)
        assert await db.past(clock) is node
        assert first is not None
        for change in (first.update(likes=9), first.delete()):
            with pytest.raises(QueryError, match="past"):
                await change
        with pytest.raises(QueryError, match="past"):
            async with node.transaction():
                pass
        assert (await Post.get(first.id)).likes == 0


async def test_a_fold_of_the_past_can_be_cancelled() -> None:
    async with a_forum() as db:
        for n in range(300):
            await Note.create(text=str(n))
        clock = (await Note.query().order_by("id", "desc").first_or_fail()).meta.clock
        with trio.CancelScope() as scope:
            scope.cancel()
            await db.past(clock)
        assert scope.cancelled_caught
        assert await Note.as_of(clock).count() == 300


@model(sharding=hash_shards("author", 3))
class Sharded(Model):
    author: Field[str]
    n: Field[int] = field(default=0)


async def test_sharded_models_have_a_past_and_live_queries_have_none() -> None:
    async with a_node(Sharded, durability="process"):
        for n in range(9):
            last = await Sharded.create(author=f"a{n}", n=n)
        await Sharded.query().update(n=100)
        assert sorted(row.n for row in await Sharded.as_of(last.meta.clock).where(Sharded.n < 100).all()) != []
        now = datetime.now(UTC)
        assert await Sharded.as_of(now.replace(year=now.year + 1)).where(Sharded.author == "a3").sum("n") == 100
        with pytest.raises(QueryError, match="past"):
            async with Sharded.as_of(last.meta.clock).live():
                pass


@model(scope="user")
class Diary(Model):
    text: Field[str] = field(default="")


async def test_logs_that_come_while_the_past_is_made_belong_to_it_or_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "AT_ONCE", 5)
    async with a_node(Sharded, Diary, durability="process") as db:
        for n in range(30):
            await Sharded.create(author="a", n=n)

        async def new_users() -> None:
            for _ in range(3):
                async with db.acting_as(Identity.generate()):
                    await Diary.create()
                db.store.flush()
                await trio.lowlevel.checkpoint()

        now = datetime.now(UTC)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(new_users)
            for _ in range(3):
                assert await Sharded.as_of(now.replace(year=now.year + 1)).count() == 30
        assert len(await Diary.as_of(now.replace(year=now.year + 1)).all_users().all()) == 3
