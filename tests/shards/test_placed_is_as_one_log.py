"""Wherever the shards lie, a query gives what it gives over one log, whether one thread reads all stores or each its own."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import debros
from debros.errors import DeadlineError, QueryError
from debros.replica.reading import Reader
from tests.shards.test_sharded_is_as_one_log import ASKED, Build, notes, questions
from tests.support.sharded import START, Hashed, Plain, Ranged, some_notes

MODELS = (Plain, Hashed, Ranged)


def late(*_: Any) -> None:
    """What a query gives that has taken too long on the loop."""


async def more(query: Any) -> Any:
    """Groups and values that are put together from each store's."""
    of = query.columns
    whole = query._but("orders", ())._but("at_most", None).offset(0)
    likes, author, price, at = (of.named(name) for name in ("likes", "author", "price", "at"))
    terms = (debros.sum(price), debros.avg(price), debros.min(price), debros.max(at))
    found = [list(await whole.group_by(price, author).order_by(author.desc()).limit(4).aggregate(*terms))]
    found.append(list(await whole.group_by(likes).aggregate(debros.avg(likes), debros.sum(of.named("score")))))
    found += [await whole.count_distinct(column) for column in (author, likes, price, at, of.named("score"))]
    found.append(list(await whole.select(author, likes).distinct().offset(1).limit(3).all()))
    found.append([row.id async for row in whole.stream()])
    return found


@settings(max_examples=8)
@given(st.lists(notes, max_size=16), st.lists(questions(), min_size=1, max_size=2), st.data())
def test_any_placement_answers_as_one_log_does(
    given_: list[dict[str, Any]], asked: list[Build], data: st.DataObject
) -> None:
    written = [{**note, "id": f"n{n:03}"} for n, note in enumerate(given_)]
    gone = data.draw(st.sets(st.sampled_from([note["id"] for note in written]), max_size=3)) if written else set()
    placed = {name: data.draw(st.sets(st.integers(0, n - 1), min_size=2)) for name, n in (("Hashed", 4), ("Ranged", 3))}
    moved = data.draw(st.sets(st.tuples(st.sampled_from((Hashed, Ranged)), st.integers(0, 2)), max_size=3))
    half = data.draw(st.integers(0, len(written)))

    async def main(folder: Path) -> None:
        placement = {name: {n: folder / f"{name}-{n}" for n in numbers} for name, numbers in placed.items()}

        def opened() -> Any:
            return debros.open(folder / "home", models=MODELS, durability="process", placement=placement)

        async with opened() as db:
            for model in MODELS:
                await model.create_many(written[:half])
            for model, number in sorted(moved, key=str):
                to = folder / f"{model.__name__}-{number}-moved"
                await db.shards[model].move(number, to=to)
                placement.setdefault(model.__name__, {})[number] = to
            for model in MODELS:
                await model.create_many(written[half:])
                for id in sorted(gone):
                    await (await model.get(id)).delete()
            await compare()
        async with opened():
            await compare()

    async def compare() -> None:
        for ask in (*ASKED, more):
            for build in asked:
                expected = await ask(build(Plain.query()))
                for model in (Hashed, Ranged):
                    assert await ask(build(model.query())) == expected, model.__name__
                    with patch.object(Reader, "quick", late):
                        assert await ask(build(model.query())) == expected, f"{model.__name__}, taken apart"

    with TemporaryDirectory() as folder:
        trio.run(main, Path(folder))


async def test_what_cannot_be_taken_apart_is_answered_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    placement = {"Hashed": {n: tmp_path / f"shard-{n}" for n in range(4)}}
    async with debros.open(tmp_path / "home", models=MODELS, placement=placement) as db:
        for model in (Plain, Hashed):
            await model.create_many(some_notes())
        for is_late in (False, True):
            if is_late:
                monkeypatch.setattr(Reader, "quick", late)
            assert [row.id for row in await Hashed.query().order_by_random(7).limit(5).all()] == [
                row.id for row in await Plain.query().order_by_random(7).limit(5).all()
            ]
            ids = [f"n{n:03}" for n in range(0, 80, 2)]
            assert len(await Hashed.where(Hashed.id.in_(ids)).all()) == 20
            assert await Hashed.where(Hashed.id.in_(ids)).count() == 20
            assert len(await Hashed.query().cache().all()) == 40
            first = (
                await Hashed.query().use_index("author", "-at").order_by(Hashed.author.asc(), Hashed.at.desc()).all()
            )
            assert [row.id for row in first] == [
                row.id for row in await Plain.query().order_by(Plain.author.asc(), Plain.at.desc()).all()
            ]
            plan = await Hashed.where(Hashed.author == "ana").explain()
            assert plan.strategy == "index"
            assert len(plan.shards) == 1
            async with db.transaction():
                await Hashed.create(id="inside", author="ana")
                assert await Hashed.count() == 41
                await (await Hashed.get("inside")).delete()


async def test_long_queries_of_several_stores_end_with_their_scope_and_tell_what_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    placement = {"Hashed": {n: tmp_path / f"shard-{n}" for n in range(4)}}
    async with debros.open(tmp_path / "home", models=MODELS, placement=placement, shard_threads=2) as db:
        await Hashed.create_many(
            [{"author": f"author-{n}", "likes": 2**62, "at": START + timedelta(days=n)} for n in range(8)]
        )
        monkeypatch.setattr(Reader, "quick", late)
        offload, begun = type(db.env).offload_until_cancelled, 0

        async def never(env: Any, function: Any, *args: Any, stop: Any) -> Any:
            nonlocal begun
            begun += 1
            await trio.sleep_forever()

        monkeypatch.setattr(type(db.env), "offload_until_cancelled", never)
        with trio.move_on_after(0.01) as scope:
            await Hashed.count()
        assert scope.cancelled_caught
        assert begun == 2, "no more than may be read at once"
        with pytest.raises(DeadlineError):
            await Hashed.query().timeout(0.01).all()
        monkeypatch.setattr(type(db.env), "offload_until_cancelled", offload)
        assert await Hashed.count() == 8
        assert await Hashed.query().sum(Hashed.likes) == 8 * 2**62
        having = Hashed.query().group_by(Hashed.score).having(debros.sum(Hashed.likes) > 1)
        with pytest.raises(QueryError, match="overflow"):
            await having.aggregate(debros.count())
