"""Rows a few at a time: streams, batches, chunks, and collections that load when asked to."""

from __future__ import annotations

import pytest

from debros import Field, Identity, Model, QueryError, model
from tests.support.forum import Post, User, a_forum
from tests.support.nodes import a_node
from tests.support.tabular import Node, schema

ITEM = schema("Item", {"n": int | None, "text": str}, indexes=["n"])


def items(count: int = 1_000) -> Node:
    node = Node(ITEM)
    node.add("Item", *({"id": f"i{n:04}", "n": None if n % 10 == 0 else n % 7, "text": "x"} for n in range(count)))
    return node


async def test_a_stream_gives_what_all_gives_in_pages() -> None:
    node = items()
    for query in (
        node.query("Item"),
        node.query("Item").order_by("n", "desc"),
        node.query("Item").order_by("n").limit(450),
        node.query("Item").where("n", ">", 5),
        node.query("Item").select("id", "n").order_by("n"),
        node.query("Item").select("n").distinct(),
        node.query("Item").limit(0),
        node.query("Item").where("n", 99),
    ):
        every = await query.all()
        assert [row async for row in query.stream()] == every
        lists = [rows async for rows in query.batches(300)]
        assert [row for rows in lists for row in rows] == every
        assert all(0 < len(rows) <= 300 for rows in lists)


async def test_a_stream_reads_only_what_is_taken_and_begins_anew_each_time() -> None:
    node = items()
    stream = node.query("Item").stream()
    node.reads.clear()
    async for _ in stream:
        break
    assert len(node.reads) == 1
    assert len([row async for row in stream]) == 1_000
    batches = node.query("Item").batches(500)
    assert [len(rows) async for rows in batches] == [len(rows) async for rows in batches] == [500, 500]


async def test_an_iterator_goes_on_where_it_is() -> None:
    node = items(500)
    every = await node.query("Item").all()
    rows = aiter(node.query("Item").stream())
    first = await anext(rows)
    assert [first, *[row async for row in rows]] == every
    lists = aiter(node.query("Item").batches(200))
    begun = await anext(lists)
    assert [len(begun), *[len(part) async for part in lists]] == [200, 200, 100]


@model(scope="user", name="StreamDiary")
class Diary(Model):
    line: Field[str]


async def test_a_stream_is_of_whom_it_was_begun_for_whoever_goes_on_with_it() -> None:
    other = Identity.from_seed(bytes(32))
    async with a_node(Diary) as db:
        await Diary.create_many([{"line": f"mine {n}"} for n in range(5)])
        async with db.acting_as(other):
            await Diary.create_many([{"line": f"theirs {n}"} for n in range(5)])
        parts = aiter(Diary.query().batches(2))
        lines = [row.line for row in await anext(parts)]
        async with db.acting_as(other):
            lines += [row.line async for part in parts for row in part]
            assert [row.line async for row in Diary.query().stream()] == [f"theirs {n}" for n in range(5)]
        assert lines == [f"mine {n}" for n in range(5)]


async def test_rows_may_be_written_while_a_stream_is_read() -> None:
    async with a_forum() as db:
        seen = []
        async for post in Post.query().stream():
            seen.append(post.id)
            if post.id == "p03":
                await Post.create(id="p99", author_id="u0", title="late", created_at=post.created_at)
                await Post.create(id="p00x", author_id="u0", title="early", created_at=post.created_at)
            async with db.transaction():
                await post.update(likes=post.likes + 1)
        assert seen == [f"p{n:02}" for n in range(12)]  # one page was read: p99 came after it
        batches = [[post.id for post in rows] async for rows in Post.query().batches(5)]
        assert batches[-1][-1] == "p99"


async def test_a_stream_includes_relations() -> None:
    async with a_forum():
        authors = [post.author.value.handle async for post in Post.query().include(Post.author).stream()]
        assert authors == ["ana", "bo", "cy"] * 4


async def test_a_chunk_that_answers_false_is_the_last() -> None:
    async with a_forum():
        seen: list[int] = []

        async def take(rows: list[Post]) -> bool:
            seen.append(len(rows))
            return len(seen) < 2

        assert not await Post.query().chunk(5, take)
        assert seen == [5, 5]
        assert await Post.query().chunk(5, lambda rows: seen.append(len(rows)))
        assert seen == [5, 5, 5, 5, 2]


async def test_a_lazy_collection_loads_pages_when_asked() -> None:
    async with a_forum():
        rows = Post.query().order_by("id").lazy(5)
        assert rows.loaded_items == []
        assert not rows.is_completely_loaded
        assert [post.id for post in await rows.load_more()] == ["p00", "p01", "p02", "p03", "p04"]
        assert await rows.count() == 12
        assert len(rows.loaded_items) == 5
        assert [post.id for post in await rows.load_page(2)] == ["p05", "p06", "p07", "p08", "p09"]
        assert [post.id for post in await rows.load_page(1)] == ["p00", "p01", "p02", "p03", "p04"]
        found = await rows.find(lambda post: post.id == "p10")
        assert found is not None
        assert rows.is_completely_loaded
        assert await rows.find(lambda post: post.id == "nobody") is None
        assert len(await rows.load_all()) == 12
        assert await rows.load_more() == []
        assert await rows.load_page(9) == []
        assert [post.id for post in await rows.filter(lambda post: post.likes == 4)] == ["p04", "p09"]
        rows.clear()
        assert rows.loaded_items == []
        assert len(await rows.load_all()) == 12
        with pytest.raises(QueryError, match="page"):
            await rows.load_page(0)


async def test_related_records_load_lazily_too() -> None:
    async with a_forum():
        user = await User.get("u0")
        posts = user.posts.query().order_by("id").lazy(3)
        assert [post.id for post in await posts.load_more()] == ["p00", "p03", "p06"]
        assert [post.id for post in await posts.load_more()] == ["p09"]
        assert posts.is_completely_loaded
