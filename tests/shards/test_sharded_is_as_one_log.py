"""Whatever the sharding, a query gives what it gives over one log: rows, order, pages and aggregates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import debros
from tests.support.nodes import a_node
from tests.support.sharded import SHARDED, START, Plain

AUTHORS = ("ana", "eve", "cyra", "dee", "bo")
FIELDS = ("author", "likes", "at", "price", "score", "id")

notes = st.fixed_dictionaries({
    "author": st.sampled_from(AUTHORS),
    "likes": st.integers(-3, 3),
    "at": st.integers(0, 9).map(lambda days: START + timedelta(days=days)),
    "price": st.none() | st.integers(0, 8).map(lambda n: Decimal(n) / 4),
    "score": st.integers(-2, 2).map(lambda n: n / 2),
})  # fmt: skip
Build = Callable[[Any], Any]


def on(name: str, operator: str, value: Any) -> Build:
    return lambda query: query.where(name, operator, value)


values = {
    "author": st.sampled_from((*AUTHORS, "zoe")),
    "likes": st.integers(-4, 4),
    "at": st.integers(-1, 10).map(lambda days: START + timedelta(days=days)),
    "id": st.integers(0, 30).map(lambda n: f"n{n:03}"),
}
conditions = st.one_of([
    *[st.builds(on, st.just(name), st.sampled_from(("=", "!=", "<", "<=", ">", ">=")), of) for name, of in values.items()],
    *[st.builds(on, st.just(name), st.sampled_from(("in", "not in")), st.lists(of, max_size=3)) for name, of in values.items()],
])  # fmt: skip
orders = st.lists(st.tuples(st.sampled_from(FIELDS), st.sampled_from(("asc", "desc"))), max_size=2)


@st.composite
def questions(draw: st.DrawFn) -> Build:
    steps = draw(st.lists(conditions, max_size=2))
    either = draw(st.none() | st.tuples(conditions, conditions))
    ordered, limit, offset = draw(orders), draw(st.none() | st.integers(0, 6)), draw(st.integers(0, 4))

    def build(query: Any) -> Any:
        for step in steps:
            query = step(query)
        if either is not None:
            query = (
                query.where(lambda q: either[1](either[0](q)))
                if limit == 3
                else query.where(lambda q: _either(q, either))
            )
        for name, direction in ordered:
            query = query.order_by(name, direction)
        query = query.offset(offset) if offset and limit is not None else query
        return query if limit is None else query.limit(limit)

    return build


def _either(query: Any, either: tuple[Build, Build]) -> Any:
    first, second = (each(type(query)(query.subject)).condition for each in either)
    return query.where(first | second)


async def rows(query: Any) -> Any:
    return [row.to_dict() for row in await query.all()]


async def pages(query: Any) -> Any:
    query = query.offset(0)
    found, after = [], None
    for _ in range(20):
        page = await query.limit(3).page(after)
        found.append([row.id for row in page.rows])
        after = page.next
        if after is None:
            break
    return found


async def aggregates(query: Any) -> Any:
    of = query.columns
    found = [await query.count(), await query.exists()]
    for name in ("likes", "price", "score"):
        column = of.named(name)
        found += [await query.sum(column), await query.avg(column), await query.min(column), await query.max(column)]
    whole = query._but("orders", ())._but("at_most", None).offset(0)
    likes, author = of.named("likes"), of.named("author")
    sums = (
        debros.count(),
        debros.sum(likes),
        debros.avg(of.named("price")),
        debros.max(of.named("at")),
        debros.count(likes, distinct=True),
    )
    found.append(list(await whole.group_by(author).order_by(debros.count().desc()).limit(3).aggregate(*sums)))
    found.append(
        list(await whole.group_by(author, likes).having(debros.count() > 1).aggregate(debros.min(of.named("score"))))
    )
    found.append(list(await whole.select(author, likes).distinct().all()))
    return found


async def numbered(query: Any) -> Any:
    page = await query._but("at_most", None).offset(0).paginate(2, 4)
    return [row.id for row in page.rows], page.total, page.pages


ASKED: tuple[Callable[[Any], Awaitable[Any]], ...] = (rows, pages, aggregates, numbered)


@settings(max_examples=15)
@given(st.lists(notes, max_size=20), st.lists(questions(), min_size=1, max_size=4), st.data())
def test_any_sharding_answers_as_one_log_does(
    given_: list[dict[str, Any]], asked: list[Build], data: st.DataObject
) -> None:
    written = [{**note, "id": f"n{n:03}"} for n, note in enumerate(given_)]
    gone = data.draw(st.sets(st.sampled_from([note["id"] for note in written]), max_size=3)) if written else set()
    resized = data.draw(st.integers(0, len(written)))

    async def main() -> None:
        async with a_node(Plain, *SHARDED) as db:
            for model in (Plain, *SHARDED):
                await model.create_many(written[:resized])
                if model is not Plain:
                    shards = db.shards[model]
                    await shards.resize(
                        [START + timedelta(days=d) for d in (2, 6)] if model.__name__ == "Ranged" else 7
                    )
                await model.create_many(written[resized:])
                for id in sorted(gone):
                    await (await model.get(id)).delete()
            for ask in ASKED:
                for build in asked:
                    expected = await ask(build(Plain.query()))
                    for model in SHARDED:
                        assert await ask(build(model.query())) == expected, model.__name__

    trio.run(main)
