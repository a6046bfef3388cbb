"""Shards beside one log: the same documents in one log, over 4 shards and over 64, on one node; and a home of many users.

Top 20 reads all four shards in the order of an index; a point query says the key and is routed to one of 64. Durable
writers are 64 tasks, their creates going to four logs or to one. A home of users has a log for each of them.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

import trio

import debros
from bench.document import Documents
from bench.measure import Action, Line, against, in_turns
from bench.setting import Setting
from debros import Field, Index, Model, field, hash_shards, model
from debros.identity.keys import Identity

DOCUMENTS: Final = 20_000
QUERIES: Final = 50  # in one turn
TASKS: Final = 64
EACH: Final = 8  # creates of one task in a turn: with all tasks as many as move into the view once
OPENED_MS: Final = 100.0


class Note(Model):
    author_id: Field[str]
    title: Field[str]
    likes: Field[int] = field(default=0, index=True)


@model(scope="global", name="Whole", indexes=[Index("author_id", "likes")])
class Whole(Note):
    pass


@model(scope="global", name="Four", sharding=hash_shards("author_id", 4), indexes=[Index("author_id", "likes")])
class Four(Note):
    pass


@model(scope="global", name="Many", sharding=hash_shards("author_id", 64), indexes=[Index("author_id", "likes")])
class Many(Note):
    pass


@model(scope="user", name="Memo")
class Memo(Model):
    text: Field[str]


def notes(count: int, authors: list[str], seed: int) -> list[dict[str, Any]]:
    random = Random(seed)
    return [
        {"author_id": random.choice(authors), "title": f"note {n}", "likes": random.randrange(10**6)}
        for n in range(count)
    ]


async def _top(of: Any) -> None:
    for _ in range(QUERIES):
        assert len(await of.query().order_by(of.likes.desc()).limit(20).all()) == 20


async def _point(given: tuple[Any, list[str]]) -> None:
    of, authors = given
    for author in authors:
        assert await of.where(of.author_id == author).limit(1).all()


async def _total(of: Any) -> None:
    await of.query().group_by(of.author_id).aggregate(debros.count(), debros.sum(of.likes))


async def _write(given: tuple[Any, list[list[dict[str, Any]]]]) -> None:
    of, shares = given

    async def each(share: list[dict[str, Any]]) -> None:
        for values in share:
            await of.create(**values)

    async with trio.open_nursery() as nursery:
        for share in shares:
            nursery.start_soon(each, share)


async def measure(setting: Setting) -> list[Line]:
    """Return the lines: reads and writes over shards beside those over one log, and opening a home of many users."""
    authors = Documents(DOCUMENTS).authors
    random = Random(5)
    models = (Whole, Four, Many)
    async with debros.open(setting.homes.place(), models=models) as db:
        for of in models:
            for start in range(0, DOCUMENTS, 1000):
                await of.create_many(notes(1000, authors, start))

        def some(of: Any) -> tuple[Any, list[str]]:
            return of, random.sample(authors, QUERIES)

        def shares(of: Any) -> tuple[Any, list[list[dict[str, Any]]]]:
            db.store.flush()  # what the turn before has left is not this one's
            return of, [notes(EACH, authors, random.randrange(10**9)) for _ in range(TASKS)]

        actions = [
            *(Action(f"top {of.__name__}", QUERIES, _top, lambda of=of: of) for of in (Whole, Four)),
            *(Action(f"point {of.__name__}", QUERIES, _point, lambda of=of: some(of)) for of in (Whole, Many)),
            *(Action(f"total {of.__name__}", 1, _total, lambda of=of: of) for of in (Whole, Four)),
            *(Action(f"write {of.__name__}", TASKS * EACH, _write, lambda of=of: shares(of)) for of in (Whole, Four)),
        ]
        costs = await in_turns(actions, setting.rounds)
        assert db.status().logs == 1 + 4 + 64
    return [
        against("top 20 over 4 shards", costs["top Four"], "one log", costs["top Whole"], 1.3),
        against("point query routed to one of 64", costs["point Many"], "one log", costs["point Whole"], 1.2),
        against("groups and sums over 4 shards", costs["total Four"], "one log", costs["total Whole"], 1.2),
        against("durable create, 64 tasks, 4 shards", costs["write Four"], "one log", costs["write Whole"], 1.15),
        await _many_users(setting),
    ]


async def _many_users(setting: Setting) -> Line:
    users, home = 1_000 if setting.quick else 10_000, setting.homes.place()
    async with debros.open(home, models=[Memo], durability="process") as db:
        for n in range(users):
            async with db.acting_as(Identity.generate()):
                await Memo.create(text=str(n))

    async def reopen(_: Any) -> None:
        async with debros.open(home, models=[Memo]):
            pass

    cost = (await in_turns([Action("open", 1, reopen)], setting.rounds))["open"]
    opened_ms = cost.wall_us / 1000
    return Line(
        f"open a home of {users:,} users", opened_ms, "ms", target=f"<= {OPENED_MS:g} ms", met=opened_ms <= OPENED_MS
    )
