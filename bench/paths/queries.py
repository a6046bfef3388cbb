"""Queries at growing sizes and in different shapes, beside Python's sqlite3 and other libraries in the same rounds.

Indexed equality with order and limit at each size, beside what SQLite alone grows by; `include` of a `belongs_to` for 100 rows beside two raw queries with
dict building; counts over an index, few rows and many, beside the same over the view's own table, and over one whose index holds
neither ids nor anything else that keeps its order total; a filter that no index helps, over 100,000 documents, beside
SQLAlchemy's ORM; a kept result; 10,000 parents with children.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final

import trio

import debros
from bench.document import Documents, Post
from bench.homes import opened
from bench.measure import Action, Cost, Line, against, in_turns, sync
from bench.peers import filled
from bench.peers.django_orm import Django
from bench.peers.peewee_orm import Peewee
from bench.peers.sqlalchemy_orm import SqlAlchemy
from bench.setting import Setting
from debros import Debros, Field, Many, Model, One, belongs_to, field, has_many, model

QUERIES: Final = 50
_NEWEST: Final = "SELECT * FROM m_Post WHERE f_author_id = ? AND _hidden = 0 ORDER BY f_created_at DESC LIMIT 20"
SCANNED: Final = 100_000  # documents
COUNTS: Final = 500  # in one turn
WIDE_COUNTS: Final = 100
INCLUDES: Final = 30
ROWS: Final = 100  # whose relation is included
PARENTS: Final = 10_000
GROWTH: Final = 1.5
"""What a query by an index may cost at the largest size, by what it costs at the smallest."""


@model(name="bench_author")
class Author(Model):
    name: Field[str]
    books: Many[Book] = has_many("author_id")


@model(name="bench_book")
class Book(Model):
    author_id: Field[str] = field(index=True)
    title: Field[str]
    written_at: Field[datetime]
    author: One[Author] = belongs_to("author_id")


async def measure(setting: Setting) -> list[Line]:
    """Return the lines: growth, include, count, scan, what is kept, many parents."""
    return [
        *await _relations(setting), *await _documents(setting), *await _growth(setting), await _cancelled(setting),
    ]  # fmt: skip


def plain(path: Path) -> sqlite3.Connection:
    """Return a connection as Python has it, with the page cache of the view's."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA mmap_size = 1073741824")
    return db


async def _cancelled(setting: Setting) -> Line:
    """Return how long a query over all documents, seconds of regular expressions, outlives its scope."""
    late: list[float] = []
    async with opened(await setting.homes.of(setting.largest)):
        runaway = Post.where(Post.body.matches("(o|g)*(l|e)+x$") | Post.title.matches("(a|b|c)*d+e*f$"))
        for _ in range(5):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(runaway.all)
                    await trio.sleep(0.2)  # it runs beside the loop by now
                    began = time.perf_counter()
                    scope.cancel()
            assert scope.cancelled_caught, "the query was no runaway"
            late.append((time.perf_counter() - began) * 1000)
    worst = max(late)
    return Line("a runaway query outlives its scope by", worst, "ms", "", None, "<= 100 ms", worst <= 100)


async def _newest(authors: list[str]) -> None:
    for author in authors:
        await Post.where(Post.author_id == author).order_by(Post.created_at.desc()).limit(20).all()


async def _growth(setting: Setting) -> list[Line]:
    """Return what the newest 20 of an author cost at each size, beside the smallest, all in turns; authors have about 100 documents.

    Beside it the same for the same statement through `sqlite3`, over the same file.
    """
    homes = {size: await setting.homes.of(size) for size in setting.sizes}
    async with AsyncExitStack() as stack:
        actions: list[Action] = []
        for size, home in homes.items():
            node = await stack.enter_async_context(opened(home))
            raw = stack.enter_context(closing(plain(home / "view.sqlite")))
            authors, random = Documents(size).authors, Random(5)

            def some(authors: list[str] = authors, random: Random = random) -> list[str]:
                return random.choices(authors, k=QUERIES)

            async def ours(authors: list[str], node: Debros = node) -> None:
                with node.current():
                    await _newest(authors)

            def theirs(authors: list[str], raw: sqlite3.Connection = raw) -> None:
                for author in authors:
                    raw.execute(_NEWEST, (author,)).fetchall()

            actions += [Action(f"ours {size}", QUERIES, ours, some), Action(f"raw {size}", QUERIES, sync(theirs), some)]
        costs = await in_turns(actions, setting.rounds)
    least, *larger = setting.sizes
    return [
        line
        for size in larger
        for line in (
            against(
                f"top 20 of an index, {size:,} documents", costs[f"ours {size}"], f"{least:,} documents",
                costs[f"ours {least}"], GROWTH,
            ),
            Line(
                "the same by sqlite3, over the same file", costs[f"raw {size}"].us, "us", f"{least:,} documents",
                costs[f"raw {least}"].us,
            ),
        )
    ]  # fmt: skip


async def _documents(setting: Setting) -> list[Line]:
    size = SCANNED
    home, table = await setting.homes.of(size), setting.homes.raw(size)
    raw, same = plain(table.path), plain(home / "view.sqlite")
    peers = [filled(kind, setting.homes.place(), size)[0] for kind in (SqlAlchemy, Peewee, Django)]
    authors, random = Documents(size).authors, Random(6)

    def some() -> list[str]:
        return random.choices(authors, k=COUNTS)

    async def count(given: list[str]) -> None:
        for author in given:
            await Post.where(Post.author_id == author).count()

    def raw_count(given: list[str]) -> None:
        for author in given:
            raw.execute("SELECT count(*) FROM posts WHERE author_id = ?", (author,)).fetchone()

    def same_count(given: list[str]) -> None:
        for author in given:
            same.execute("SELECT count(*) FROM m_Post WHERE _hidden = 0 AND f_author_id = ?", (author,)).fetchone()

    def lows() -> list[int]:
        return [random.randrange(1, 990) for _ in range(WIDE_COUNTS)]

    async def count_wide(given: list[int]) -> None:
        for low in given:
            await Post.where(Post.likes.between(low, low + 9)).count()

    def raw_count_wide(given: list[int]) -> None:
        for low in given:
            raw.execute("SELECT count(*) FROM posts WHERE likes BETWEEN ? AND ?", (low, low + 9)).fetchone()

    def same_count_wide(given: list[int]) -> None:
        text = "SELECT count(*) FROM m_Post WHERE _hidden = 0 AND f_likes BETWEEN ? AND ?"
        for low in given:
            same.execute(text, (low, low + 9)).fetchone()

    async def matching(_: object) -> None:
        assert len(await Post.where(Post.rating > 4.0).all()) > size // 10

    async with opened(home):
        one = Post.where(Post.author_id == authors[0]).order_by(Post.created_at.desc()).limit(1).cache(3600)
        many = Post.where(Post.author_id == authors[0]).order_by(Post.created_at.desc()).limit(51).cache(3600)
        wide = len(await many.all())
        await one.all()

        async def hit_one(_: object) -> None:
            for _ in range(1000):
                await one.all()

        async def hit_many(_: object) -> None:
            for _ in range(200):
                await many.all()

        costs = await in_turns(
            [
                Action("count", COUNTS, count, some), Action("raw count", COUNTS, sync(raw_count), some),
                Action("same count", COUNTS, sync(same_count), some),
                Action("wide count", WIDE_COUNTS, count_wide, lows),
                Action("raw wide count", WIDE_COUNTS, sync(raw_count_wide), lows),
                Action("same wide count", WIDE_COUNTS, sync(same_count_wide), lows),
                Action("hit one", 1000, hit_one), Action("hit many", 200, hit_many),
            ],
            setting.rounds,
        )  # fmt: skip
        scanning = [
            ("scan", matching), *((peer.name, sync(lambda _, peer=peer: peer.matching(4.0))) for peer in peers),
        ]  # fmt: skip
        scans, still = [
            await in_turns(
                [Action(name, 1, scan, collects=collects) for name, scan in scanning], max(5, setting.rounds // 4)
            )
            for collects in (True, False)
        ]
    raw.close()
    same.close()
    table.close()
    for peer in peers:
        peer.close()
    kept, further = costs["hit one"], (costs["hit many"].us - costs["hit one"].us) / (wide - 1)
    return [
        *counted("100", costs["count"], costs["same count"], costs["raw count"]),
        *counted(f"{size // 100:,}", costs["wide count"], costs["same wide count"], costs["raw wide count"]),
        Line("a kept result of one row", kept.us, "us", "", None, "<= 5 us", kept.us <= 5),
        Line("each further row of a kept result", further, "us", "", None, "<= 1 us", further <= 1),
        *(scanned(size, peer.name, scans, "") for peer in peers),
        *(scanned(size, peer.name, still, ", the collector off") for peer in peers),
    ]  # fmt: skip


def scanned(size: int, peer: str, costs: dict[str, Cost], how: str) -> Line:
    """Return the line of a filter that no index helps. It has a target as programs run, which is with the collector on."""
    faster = costs[peer].us / costs["scan"].us
    has_target = peer == SqlAlchemy.name and not how
    return Line(
        f"filter over {size:,} documents, times faster{how}", faster, "times", peer, None,
        ">= 5" if has_target else "", faster >= 5 if has_target else None,
    )  # fmt: skip


def counted(rows: str, mine: Cost, same: Cost, narrow: Cost) -> list[Line]:
    """Return the lines of a count, beside SQLite over the same index, and over one of a table that keeps nothing for a log."""
    name = f"count of {rows} rows over an index"
    return [against(name, mine, "sqlite3", same, 1.5), Line(name, mine.us, "us", "sqlite3, narrower index", narrow.us)]


async def _relations(setting: Setting) -> list[Line]:
    home = setting.homes.place()
    async with debros.open(home, app="bench", models=[Author, Book], durability="process") as db:
        start = datetime(2025, 1, 1, tzinfo=UTC)
        authors = [{"id": f"a{n:05}", "name": f"author {n}"} for n in range(PARENTS)]
        await Author.create_many(authors)
        books = [
            {"id": f"b{n:05}", "author_id": f"a{n % PARENTS:05}", "title": f"title {n}", "written_at": start}
            for n in range(2 * PARENTS)
        ]
        await Book.create_many(books)
        read = plain(home / "view.sqlite")

        async def included(_: object) -> None:
            for n in range(INCLUDES):
                rows = (
                    await Book.where(Book.id >= f"b{n:05}")
                    .order_by(Book.id.asc())
                    .limit(ROWS)
                    .include(Book.author)
                    .all()
                )
                assert len(rows) == ROWS

        def raw(_: object) -> None:
            for n in range(INCLUDES):
                names = ("id", "author_id", "title", "written_at")
                found = read.execute(
                    "SELECT id, f_author_id, f_title, f_written_at FROM m_bench_book WHERE _hidden = 0 AND id >= ? ORDER BY id LIMIT ?",
                    (f"b{n:05}", ROWS),
                ).fetchall()
                made: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in found]
                ids = [one["author_id"] for one in made]
                marks = ",".join("?" * len(ids))
                others = read.execute(
                    f"SELECT id, f_name FROM m_bench_author WHERE _hidden = 0 AND id IN ({marks})", ids
                )
                by_id = {id: {"id": id, "name": name} for id, name in others}
                for one in made:
                    one["author"] = by_id[one["author_id"]]

        async def many(_: object) -> None:
            assert len(await Author.query().include(Author.books).all()) == PARENTS

        await db.fingerprint()  # which moves all that waits into the view
        costs = await in_turns(
            [Action("include", INCLUDES, included), Action("raw", INCLUDES, sync(raw))], setting.rounds
        )
        parents = (await in_turns([Action("parents", PARENTS, many)], max(3, setting.rounds // 4)))["parents"]
    read.close()
    return [
        against("include a belongs_to, 100 rows", costs["include"], "two of sqlite3, dicts", costs["raw"], 2.0),
        Line("10,000 parents with children, each parent", parents.us, "us"),
    ]
