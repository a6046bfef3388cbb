"""The law of live queries: the rows on entry, and the changes since, are the query run afresh, whatever was written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import debros
from tests.support.delivering import deliver
from tests.support.live import Follower
from tests.support.nodes import a_node
from tests.support.writing import AUTHORS, STEPS, Author, Post, write

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


def shown(rows: list[Any], query: Any) -> list[Any]:
    found = [
        (row.id, row.to_dict(), row.author.value and row.author.value.to_dict() if query.loads else None)
        for row in rows
    ]
    return found if query.orders or query.at_most is not None or query.skipped else sorted(found)


@settings(max_examples=40)
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
