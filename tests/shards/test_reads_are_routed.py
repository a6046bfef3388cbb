"""A query reads the shards that its condition concerns, says which, and never gives less in silence."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import debros
from debros import Field, Many, Model, One, belongs_to, field, has_many, hash_shards, model
from debros.errors import ConfigError, PartialResultError, ShardNotHeldError
from debros.identity.keys import Identity
from debros.log.layout import of_hash
from tests.shards.test_writes_are_routed import Wall
from tests.support.nodes import a_node
from tests.support.sharded import START, ById, Hashed, Ranged, Sized, some_notes

ANA, EVE, CYRA = 1, 0, 3  # shards of the authors


@model(name="Writer", sharding=hash_shards("name", 4))
class Writer(Model):
    name: Field[str]
    books: Many[Book] = has_many("writer_id", order_by="-year")


@model(name="Book", sharding=hash_shards("writer_id", 4))
class Book(Model):
    writer_id: Field[str] = field(index=True)
    year: Field[int]
    writer: One[Writer] = belongs_to("writer_id", on_delete="cascade")


@pytest.mark.parametrize(
    ("query", "shards"),
    [
        (Hashed.query(), (0, 1, 2, 3)),
        (Hashed.where(Hashed.author == "ana"), (ANA,)),
        (Hashed.where("author", "eve"), (EVE,)),
        (Hashed.where(Hashed.author.in_(["ana", "cyra"])), (ANA, CYRA)),
        (Hashed.where(Hashed.author.in_([f"w{n}" for n in range(2000)])), (0, 1, 2, 3)),
        (Hashed.where(Hashed.author.in_([])), ()),
        (Hashed.where(Hashed.author.is_null()), ()),
        (Hashed.where(Hashed.author == "ana", Hashed.likes > 2), (ANA,)),
        (Hashed.where(Hashed.author == "ana", Hashed.author == "eve"), ()),
        (Hashed.where((Hashed.author == "ana") | (Hashed.author == "eve")), (EVE, ANA)),
        (Hashed.where((Hashed.author == "ana") | (Hashed.likes > 2)), (0, 1, 2, 3)),
        (Hashed.where(~(Hashed.author == "ana")), (0, 1, 2, 3)),
        (Hashed.where(Hashed.author > "ana"), (0, 1, 2, 3)),
        (Hashed.where(lambda q: q.where("author", "ana").or_where("author", "cyra")), (ANA, CYRA)),
        (Ranged.where(Ranged.at < START + timedelta(days=3)), (0,)),
        (Ranged.where(Ranged.at <= START + timedelta(days=3)), (0, 1)),
        (Ranged.where(Ranged.at >= START + timedelta(days=3)), (1, 2)),
        (Ranged.where(Ranged.at > START + timedelta(days=7)), (2,)),
        (Ranged.where(Ranged.at == START), (0,)),
        (Ranged.where(Ranged.at.between(START, START + timedelta(days=4))), (0, 1)),
        (Ranged.where(Ranged.at >= START + timedelta(days=3), Ranged.at < START + timedelta(days=6)), (1,)),
        (Ranged.where(Ranged.at > START + timedelta(days=5), Ranged.at < START + timedelta(days=4)), ()),
        (Sized.where(Sized.author.in_(["ana", "eve"])), (0,)),
        (ById.where(ById.id == "n001"), (of_hash("n001", 5),)),
    ],
    ids=lambda given: str(given) if isinstance(given, tuple) else "",
)
async def test_a_condition_on_the_key_reads_its_shards_only(query: Any, shards: tuple[int, ...]) -> None:
    async with a_node(Hashed, Ranged, Sized, ById):
        plan = await query.explain()
        assert plan.shards == shards
        assert plan.rows_examined == 0


async def test_a_query_for_an_owner_reads_the_owners_shard() -> None:
    bo = Identity.generate()
    async with a_node(Wall) as db:
        his = db.shards[Wall].for_key(bo.did)
        assert (await Wall.where(Wall.meta.owner == bo.did).explain()).shards == (his,)
        async with db.acting_as(bo):
            wall = await Wall.create(text="hi")
        assert (await Wall.where(Wall.id == wall.id).explain()).shards == (his,)
        assert [one.text for one in await Wall.where(Wall.meta.owner == bo.did).all()] == ["hi"]


async def test_coverage_says_which_shards_answered_at_which_heads() -> None:
    async with a_node(Hashed) as db:
        await Hashed.create_many(some_notes())
        one = (await Hashed.where(Hashed.author == "ana").all()).coverage
        everything = (await Hashed.all()).coverage
        stats = await db.shards[Hashed].stats()
        assert one.complete
        assert one.missing == ()
        assert list(one.heads) == [stats[ANA].address]
        assert list(everything.heads) == [shard.address for shard in stats]
        assert all(len(heads) == 1 for heads in everything.heads.values())
        before = one.heads[stats[ANA].address]
        note = await Hashed.create(author="ana")
        assert (await Hashed.where(Hashed.author == "ana").all()).coverage.heads == {
            stats[ANA].address: (note.meta.cid,)
        }
        assert before != (note.meta.cid,)


async def test_relations_lead_across_shards() -> None:
    async with a_node(Writer, Book):
        writers = [await Writer.create(id=f"w{n}", name=name) for n, name in enumerate(("ana", "eve", "cyra", "dee"))]
        for writer in writers:
            for year in (2001, 2003, 2002):
                await Book.create(writer_id=writer.id, year=year)
        found = await Writer.query().include(Writer.books.include(Book.writer)).order_by("name").all()
        assert [[book.year for book in writer.books.value] for writer in found] == [[2003, 2002, 2001]] * 4
        assert all(book.writer.value is writer for writer in found for book in writer.books.value)
        assert (await found[0].books)[0].year == 2003
        assert [w.name for w in await Writer.where(Writer.books.any(Book.year == 2002)).all()] == [
            "ana",
            "eve",
            "cyra",
            "dee",
        ]
        assert await Book.where(Book.writer_id.in_(Writer.where(Writer.name == "eve").select(Writer.id))).count() == 3
        await writers[1].delete()
        assert await Book.count() == 9, "a cascade reaches the children in all shards"
        await writers[1].restore()
        assert await Book.count() == 12


async def test_what_is_not_held_is_an_error_unless_allowed() -> None:
    async with a_node(Hashed, shards={"Hashed": [ANA, CYRA]}) as db:
        assert db.shards[Hashed].held == (ANA, CYRA)
        ana = await Hashed.create(author="ana")
        await Hashed.create(author="cyra", likes=4)
        missing = tuple(shard.address for shard in (await db.shards[Hashed].stats()) if not shard.held)
        assert len(missing) == 2
        for question in (
            Hashed.all(),
            Hashed.count(),
            Hashed.where(Hashed.author == "eve").first(),
            Hashed.query().sum("likes"),
        ):
            with pytest.raises(PartialResultError, match="allow_partial"):
                await question
        assert await Hashed.where(Hashed.author == "ana").count() == 1, "all that is asked for is here"
        assert (await Hashed.where(Hashed.author == "ana").all()).coverage.complete
        rows = await Hashed.query().allow_partial().all()
        assert [row.author for row in rows] == ["ana", "cyra"]
        assert (rows.coverage.complete, rows.coverage.missing) == (False, missing)
        assert await Hashed.query().allow_partial().sum(Hashed.likes) == 4
        grouped = await Hashed.query().allow_partial().group_by(Hashed.author).aggregate(debros.count())
        assert list(grouped) == [("ana", 1), ("cyra", 1)]
        assert not grouped.coverage.complete
        assert (await Hashed.get(ana.id)).author == "ana"
        with pytest.raises(ShardNotHeldError, match="does not hold shard 0"):
            await Hashed.create(author="eve")


async def test_of_what_may_lie_in_a_shard_that_is_not_held_nobody_says_that_it_is_not_there() -> None:
    async with a_node(Hashed, ById, shards={"Hashed": [ANA, CYRA], "ById": [0, 2]}) as db:
        ana = await Hashed.create(author="ana")
        for question in (
            Hashed.get("elsewhere"), Hashed.get_or_none("elsewhere"), Hashed.get_many([ana.id, "elsewhere"]),
            Hashed.get_many(["elsewhere"], missing_ok=True), Hashed.upsert("elsewhere", author="ana"),
        ):  # fmt: skip
            with pytest.raises(PartialResultError):
                await question
        assert await Hashed.query().allow_partial().count() == 1, "nothing was made that may be there already"
        assert (await Hashed.get_many([ana.id]))[0].author == "ana"
        await ana.delete()
        assert await Hashed.get_or_none(ana.id) is None, "it is known to be deleted"
        shards = db.shards[ById]
        here, there = (
            next(f"i{n}" for n in range(99) if (shards.for_key(f"i{n}") in (0, 2)) is held) for held in (True, False)
        )
        assert await ById.get_or_none(here) is None
        assert (await ById.upsert(here, author="ana")).id == here
        with pytest.raises(PartialResultError):
            await ById.get_or_none(there)


async def test_relations_to_what_is_not_held_are_errors_unless_allowed() -> None:
    async with a_node(Writer, Book, shards={"Book": [1]}):
        await Writer.create(id="w", name="ana")
        with pytest.raises(PartialResultError):
            await Writer.query().include(Writer.books).all()
        with pytest.raises(PartialResultError):
            await Writer.where(Writer.books.any()).count()
        assert await Writer.where(Writer.books.any()).allow_partial().count() == 0
        [writer] = await Writer.query().allow_partial().include(Writer.books).all()
        assert writer.books.value == []


@pytest.mark.parametrize("wrong", [{"Hashed": [-1]}, {"Hashed": "all"}, 3])
async def test_a_wrong_setting_of_what_is_held_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="shards"):
        async with a_node(Hashed, shards=wrong):
            pass


async def test_following_shards_decides_which_are_held() -> None:
    async with a_node(Hashed) as db:
        assert db.shards[Hashed].held == (0, 1, 2, 3)
        await db.follow(Hashed, shards=[ANA, CYRA])
        assert db.shards[Hashed].held == (ANA, CYRA)
        with pytest.raises(PartialResultError):
            await Hashed.count()
        await db.shards[Hashed].resize(5)
        assert db.shards[Hashed].held == (ANA, CYRA), "new shards are not followed by themselves"
        await db.follow(Hashed, shards=range(9))
        assert db.shards[Hashed].held == tuple(range(9))
        assert await Hashed.count() == 0
        with pytest.raises(ConfigError, match="no shard 9"):
            await db.follow(Hashed, shards=[9])


async def test_the_past_lacks_the_shards_that_are_not_held() -> None:
    async with a_node(Hashed, shards={"Hashed": [ANA]}):
        note = await Hashed.create(author="ana")
        clock = note.meta.clock
        assert await Hashed.as_of(clock).where(Hashed.author == "ana").count() == 1
        with pytest.raises(PartialResultError):
            await Hashed.as_of(clock).count()
