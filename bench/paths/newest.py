"""Top 20: `await Post.where(Post.author_id == a).order_by(Post.created_at.desc()).limit(20).all()`.

The query is written anew for each author and gives 20 typed objects; each author has about 100 documents. A record takes its
values from its row when one is looked at, so the same is measured with every value of every record looked at. Beside it:
apsw, the same question over the same index, 20 dicts with the same Python values. And the same question through
SQLAlchemy's ORM and through peewee, in the same rounds.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

from bench.document import Documents, Post
from bench.homes import opened
from bench.measure import Action, Cost, Line, against, in_turns, sync
from bench.peers import Peer, filled
from bench.peers.peewee_orm import Peewee
from bench.peers.sqlalchemy_orm import SqlAlchemy
from bench.setting import Setting
from bench.yardsticks import RawTable

QUERIES: Final = 50  # in one turn
FASTER: Final = 4.0  # than other libraries


async def newest(authors: list[str]) -> None:
    """Get the 20 newest documents of each author."""
    for author in authors:
        rows = await Post.where(Post.author_id == author).order_by(Post.created_at.desc()).limit(20).all()
        assert len(rows) == 20


async def every_value(authors: list[str]) -> None:
    """Get the 20 newest documents of each author, and look at every value."""
    for author in authors:
        for post in await Post.where(Post.author_id == author).order_by(Post.created_at.desc()).limit(20).all():
            _ = (
                post.id, post.author_id, post.title, post.body, post.tags, post.likes, post.rating, post.published,
                post.language, post.created_at,
            )  # fmt: skip


def _raw(table: RawTable) -> Any:
    def run(authors: list[str]) -> None:
        for author in authors:
            assert len(table.newest_of(author)) == 20

    return sync(run)


async def measure(setting: Setting) -> list[Line]:
    """Return the lines: beside apsw, beside other libraries."""
    home = await setting.homes.of(setting.size)
    table = setting.homes.raw(setting.size)
    peers: list[Peer] = [filled(kind, setting.homes.place(), setting.size)[0] for kind in (SqlAlchemy, Peewee)]
    random, authors = Random(4), Documents(setting.size).authors
    async with opened(home):
        actions = [
            Action("newest", QUERIES, newest, lambda: random.sample(authors, QUERIES)),
            Action("every value", QUERIES, every_value, lambda: random.sample(authors, QUERIES)),
            Action("raw", QUERIES, _raw(table), lambda: random.sample(authors, QUERIES)),
            *(Action(one.name, QUERIES, sync(one.newest_of), lambda: random.sample(authors, QUERIES)) for one in peers),
        ]
        costs = await in_turns(actions, setting.rounds)
    table.close()
    for one in peers:
        one.close()
    mine = costs["newest"]
    return [
        against("top 20 of an index, to objects", mine, "apsw to dicts", costs["raw"], 1.5),
        Line(
            "top 20 of an index, every value looked at", costs["every value"].us, "us", "apsw to dicts", costs["raw"].us
        ),
        *(_beside(mine, one.name, costs[one.name]) for one in peers),
    ]


def _beside(mine: Cost, name: str, theirs: Cost) -> Line:
    met = theirs.us >= FASTER * mine.us
    return Line("top 20, times faster", theirs.us / mine.us, "times", name, None, f">= {FASTER:g}", met)
