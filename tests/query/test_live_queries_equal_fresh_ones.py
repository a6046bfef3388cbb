"""The law of live queries: the rows on entry, and the changes since, are the query run afresh, whatever was written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Annotated, Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import debros
from debros import Field, Ge, Many, Model, One, belongs_to, field, has_many, model
from tests.support.delivering import deliver
from tests.support.live import Follower
from tests.support.nodes import a_node


@model(name="LiveAuthor")
class Author(Model):
    name: Field[str] = field(unique=True)
    posts: Many[Post] = has_many("author_id", order_by="-likes")


@model(name="LivePost")
class Post(Model):
    author_id: Field[str | None] = field(index=True, default=None)
    likes: Field[Annotated[int, Ge(0)]] = field(default=0, merge="counter", index=True)
    title: Field[str | None] = field(default=None)
    author: One[Author | None] = belongs_to("author_id", on_delete="cascade")


AUTHORS = ("ana", "bo")
CONDITIONS: tuple[Callable[[Any], Any], ...] = (
    lambda query: query,
    lambda query: query.where(Post.author_id == "ana"),
    lambda query: query.where(Post.author_id.in_(["ana", "bo"])),
    lambda query: query.where(Post.likes > 1),
    lambda query: query.where(Post.author_id == "bo", Post.likes <= 2),
    lambda query: query.where((Post.title == None) | ~(Post.likes == 1)),  # noqa: E711 - a condition, not a comparison
    lambda query: query.where(Post.author.any(Author.name == "ana")),
    lambda query: query.where(Post.author_id.in_(Author.where(Author.name != "bo").select(Author.id))),
)
ORDERS: tuple[Callable[[Any], Any], ...] = (
    lambda query: query,
    lambda query: query.order_by(Post.likes.desc()),
    lambda query: query.order_by(Post.title.desc(), Post.likes.asc()),
    lambda query: query.order_by(Post.author_id.asc()),
)
LIMITS = ((None, 0), (3, 0), (2, 1), (1, 0), (0, 0), (None, 2))


@st.composite
def queries(draw: st.DrawFn) -> Any:
    query = draw(st.sampled_from(ORDERS))(draw(st.sampled_from(CONDITIONS))(Post.query()))
    limit, offset = draw(st.sampled_from(LIMITS))
    query = query if limit is None else query.limit(limit)
    query = query.offset(offset) if offset else query
    return query.include(Post.author) if draw(st.booleans()) else query


IDS = st.sampled_from(["p1", "p2", "p3", "p4", "p5", "p6"])
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "author_id": st.sampled_from([*AUTHORS, None]),
        "likes": st.integers(0, 3),
        "title": st.sampled_from([None, "a", "b"]),
    },
)
POSTS = st.tuples(st.just("post"), IDS, FIELDS)
TURN = st.sampled_from(["delete", "restore"])
GONE = st.tuples(TURN, st.just(Post), IDS) | st.tuples(TURN, st.just(Author), st.sampled_from(AUTHORS))
NAMES = st.tuples(st.just("name"), st.sampled_from(AUTHORS), st.sampled_from(["ana", "bo", "cy"]))
STEPS = st.tuples(
    st.sampled_from(["here", "there", "there and back"]), st.one_of(POSTS, GONE, POSTS, NAMES), st.booleans()
)


async def write(operation: tuple[Any, ...]) -> None:
    """Do what is asked, if it can be done."""
    match operation:
        case "post", id, values:
            known = await Post.get_or_none(id)
            if known is not None:
                await known.update(**values)
            elif (await past(Post, id)) is None:
                await Post.create(id=id, **values)
        case "name", id, name:
            try:
                await Author.upsert(id, name=name)
            except debros.UniqueError:
                return
        case kind, model_, id:
            found = await past(model_, id)
            if found is not None and kind == "delete" and not found.meta.is_deleted:
                await found.delete()
            elif found is not None and kind == "restore" and found.meta.is_deleted:
                try:
                    await found.restore()
                except debros.UniqueError:
                    return


async def past(model_: Any, id: str) -> Any:
    try:
        return await model_.get(id, deleted=True)
    except debros.NotFoundError:
        return None


def shown(rows: list[Any], query: Any) -> list[Any]:
    found = [
        (row.id, row.to_dict(), row.author.value and row.author.value.to_dict() if query.loads else None)
        for row in rows
    ]
    return found if query.orders or query.at_most is not None or query.skipped else sorted(found)


@settings(max_examples=40, deadline=None)
@given(st.lists(queries(), min_size=6, max_size=6), st.integers(0, 5), st.lists(STEPS, min_size=2, max_size=12))
def test_rows_and_changes_are_the_query_run_afresh(asked: list[Any], posts: int, steps: list[Any]) -> None:
    async def main() -> None:
        async with a_node(Author, Post) as here, a_node(Author, Post) as there, AsyncExitStack() as stack:
            with here.current():
                for name in AUTHORS:
                    await Author.create(id=name, name=name)
                for n in range(1, posts + 1):
                    await Post.create(id=f"p{n}", author_id=AUTHORS[n % 2], likes=n % 4)
                await deliver(here, there)
                followers = [(query, Follower(await stack.enter_async_context(query.live()))) for query in asked]
            for where, operation, looks in steps:
                with (here if where == "here" else there).current():
                    await write(operation)
                if where == "there and back":
                    await deliver(there, here)
                if looks:
                    await check(here, followers)
            await deliver(there, here)
            await check(here, followers)

    async def check(here: debros.Debros, followers: list[Any]) -> None:
        for query, follower in followers:
            await follower.catch_up()
            with here.current():
                fresh = shown(await query.all(), query)
            assert shown(follower.copy, query) == fresh
            assert shown(follower.view.rows, query) == fresh

    trio.run(main)
