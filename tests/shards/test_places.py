"""A shard in a store of its own: what is written and read is what it is without, and nothing is lost on the way there."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import trio
import trio.testing

import debros
from debros import Field, Index, Model, field, hash_shards, model, places
from debros.errors import (
    ConfigError,
    CursorError,
    ModelError,
    PartialResultError,
    ShardNotHeldError,
    StorageError,
    TransactionError,
)
from debros.home import replace_file
from debros.replica import indexing
from debros.replica.reading import Reader
from debros.shards.moving import Moving
from tests.support.sharded import START, Hashed, Plain, some_notes

MODELS = (Hashed, Plain)


def at(tmp_path: Path, *numbers: int) -> dict[str, dict[int, Path]]:
    return {"Hashed": {n: tmp_path / f"shard-{n}" for n in numbers}}


async def everything() -> list[tuple[Any, ...]]:
    rows = await Hashed.query().order_by(Hashed.at.asc(), Hashed.id.desc()).all()
    return [(row.id, row.author, row.likes, row.price, row.at, row.score) for row in rows]


async def test_a_placed_shard_has_a_log_a_view_and_a_directory_of_its_own(tmp_path: Path) -> None:
    async with debros.open(tmp_path / "home", models=MODELS, placement=at(tmp_path, 1, 3)) as db:
        await Hashed.create_many(some_notes())
        stats = await db.shards[Hashed].stats()
        there = {n: shard for n, shard in enumerate(stats) if shard.path}
        assert sorted(there) == [1, 3]
        assert stats.records == 40
        assert len(await everything()) == 40
    for n, shard in there.items():
        segment = (tmp_path / f"shard-{n}" / "log" / "000001.car").read_bytes()
        assert len(segment) > shard.bytes > 0
        assert (tmp_path / f"shard-{n}" / "view.sqlite").is_file()


async def test_what_is_written_into_placed_shards_is_there_after_reopening(tmp_path: Path) -> None:
    home, placement = tmp_path / "home", at(tmp_path, 0, 2)
    async with debros.open(home, models=MODELS, placement=placement) as db:
        await Hashed.create_many(some_notes())
        async with db.transaction():
            for note in await Hashed.where(Hashed.likes == 2).all():
                note.likes += 10
                await note.save()
        await (await Hashed.get("n007")).delete()
        before, digest = await everything(), await db.fingerprint()
    async with debros.open(home, models=MODELS, placement=placement) as db:
        assert not db.status().rebuilt
        assert (await everything(), await db.fingerprint()) == (before, digest)
        assert await (await Hashed.get("n003")).history()
    for folder in (home, tmp_path / "shard-0"):  # either view may go, and is made anew
        (folder / "view.sqlite").unlink()
        async with debros.open(home, models=MODELS) as db:
            assert (await everything(), await db.fingerprint()) == (before, digest)


async def test_a_shard_moves_while_it_is_written_and_read(tmp_path: Path) -> None:
    home, target = tmp_path / "home", tmp_path / "elsewhere"
    seen: list[Moving] = []
    async with debros.open(home, models=MODELS) as db:
        await Hashed.create_many(some_notes())
        full = max(
            range(4), key=lambda n: len([s for s in some_notes() if db.shards[Hashed].for_key(s["author"]) == n])
        )
        before = await everything()

        async def write() -> None:
            for n in range(20):
                await Hashed.create(id=f"w{n:02}", author="ana")
                rows = await Hashed.query().all()
                assert len(rows) == len({row.id for row in rows}) == 41 + n

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            for number in range(4):
                nursery.start_soon(
                    lambda number=number: db.shards[Hashed].move(
                        number, to=tmp_path / f"shard-{number}", progress=seen.append
                    )
                )
        await db.shards[Hashed].move(full, to=target)
        assert not (tmp_path / f"shard-{full}").exists(), "a store that was left is removed"
        after, digest = await everything(), await db.fingerprint()
        assert [row for row in after if row[0][0] == "n"] == before
        assert len(after) == 60
        assert {shard.path for shard in await db.shards[Hashed].stats()} == {
            str(target) if n == full else str(tmp_path / f"shard-{n}") for n in range(4)
        }
    assert {told.step for told in seen} == {"began", "copied", "switched", "followed", "cleaned"}
    async with debros.open(home, models=MODELS) as db:
        assert (await everything(), await db.fingerprint()) == (after, digest)
        assert not db.status().rebuilt
    (home / "view.sqlite").unlink()
    async with debros.open(home, models=MODELS) as db:
        assert (await everything(), await db.fingerprint()) == (after, digest)
        sql = 'SELECT count(*), sum(header < 1 << 56) FROM entries WHERE log IN (SELECT "_log" FROM "m_Hashed")'
        [(count, at_home)] = db.store.view.read(sql, ())
        assert count > 20
        assert not at_home, "what stayed behind in the home's log counts for nothing"


async def test_a_home_that_dies_at_any_step_of_a_move_has_everything_once_and_the_move_goes_on(tmp_path: Path) -> None:
    home, first, second = tmp_path / "home", tmp_path / "first", tmp_path / "second"
    places = (home, first, second)
    died: list[Path] = []

    def die(_: Any) -> None:
        died.append(tmp_path / f"died-{len(died)}")
        for place in places:
            if place.exists():
                shutil.copytree(place, died[-1] / place.name)

    async with debros.open(home, models=MODELS) as db:
        await Hashed.create_many(some_notes())
        async with db.transaction():
            for n in range(5):
                await Hashed.create(id=f"t{n}", author=f"author-{n}")
                await Plain.create(id=f"p{n}", author="ana")
        number = db.shards[Hashed].for_key("ana")
        before, digest = await everything(), await db.fingerprint()
        for target in (first, second):
            await db.shards[Hashed].move(number, to=target, progress=die)
            die(None)
    assert len(died) >= 12
    for n, snapshot in enumerate(died):
        for place in places:
            shutil.rmtree(place, ignore_errors=True)
            if (snapshot / place.name).exists():
                shutil.copytree(snapshot / place.name, place)
        async with debros.open(home, models=MODELS) as db:
            assert (await everything(), await db.fingerprint()) == (before, digest), f"after step {n}"
            assert await Plain.count() == 5
            await db.shards[Hashed].move(number, to=second)
            await Hashed.create(id="after", author="ana")
            assert len(await everything()) == len(before) + 1
            assert not first.exists()
        async with debros.open(home, models=MODELS) as db:
            assert {row[0] for row in await everything()} == {"after", *(row[0] for row in before)}


async def test_a_directory_that_vanished_is_told_with_the_cure_and_never_made_anew(tmp_path: Path) -> None:
    home, place, aside = tmp_path / "home", tmp_path / "shard-1", tmp_path / "aside"
    async with debros.open(home, models=MODELS, placement=at(tmp_path, 1)) as db:
        await Hashed.create_many(some_notes())
        whole = await everything()
        ours = {row[0] for row in whole if db.shards[Hashed].for_key(row[1]) == 1}
        author = next(row[1] for row in whole if row[0] in ours)
    place.rename(aside)
    for opening in range(3):
        if opening == 1:
            place.mkdir()  # the disk is not mounted: its mount point is there
        if opening == 2:
            (home / "view.sqlite").unlink()
        async with debros.open(home, models=MODELS, placement=at(tmp_path, 1)) as db:
            with pytest.raises(PartialResultError, match=r"is not at .*shard-1: .*bring the directory back"):
                await Hashed.count()
            rows = await Hashed.query().allow_partial().all()
            assert {row.id for row in rows} == {row[0] for row in whole} - ours
            assert not rows.coverage.complete
            with pytest.raises(ShardNotHeldError, match="bring the directory back"):
                await Hashed.create(author=author)
            assert not (await db.shards[Hashed].stats())[1].held
            health = await db.health()
            assert health["stores"].state == "bad"
            assert "shard-1" in health["stores"].reason
            await Plain.create(id=f"meanwhile-{opening}", author="ana")
        assert not any(place.iterdir() if place.exists() else ())
    shutil.rmtree(place)
    aside.rename(place)
    async with debros.open(home, models=MODELS, placement=at(tmp_path, 1)) as db:
        assert await everything() == whole
        assert await Plain.count() == 3
        await Hashed.create(id="new", author=author)
    place.rename(aside)
    async with debros.open(home, models=MODELS, placement={"Hashed": {1: aside}}) as db:  # it was carried elsewhere
        assert len(await everything()) == len(whole) + 1
    async with debros.open(home, models=MODELS) as db:
        assert len(await everything()) == len(whole) + 1


async def test_another_store_in_the_place_is_not_taken_for_the_shards(tmp_path: Path) -> None:
    for name in ("one", "two"):
        async with debros.open(tmp_path / name, models=MODELS, placement={"Hashed": {0: tmp_path / f"of-{name}"}}):
            await Hashed.create_many(some_notes())
    shutil.rmtree(tmp_path / "of-one")
    (tmp_path / "of-two").rename(tmp_path / "of-one")
    async with debros.open(tmp_path / "one", models=MODELS):
        with pytest.raises(PartialResultError, match="another store lies there"):
            await Hashed.count()


async def test_a_record_of_the_stores_that_is_gone_or_damaged_is_told(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with debros.open(home, models=MODELS, placement=at(tmp_path, 0)):
        await Hashed.create_many(some_notes())
    told = (home / "stores.json").read_text()
    for text in ("{", "[]", json.dumps({"format": 2})):
        (home / "stores.json").write_text(text)
        with pytest.raises(StorageError, match=r"stores\.json"):
            async with debros.open(home, models=MODELS):
                pass
    (home / "stores.json").unlink()
    with pytest.raises(StorageError, match=r"stores\.json, which says where, is gone"):
        async with debros.open(home, models=MODELS):
            pass
    (home / "stores.json").write_text(told)
    async with debros.open(home, models=MODELS):
        assert len(await everything()) == 40


async def test_a_wrong_placement_is_refused(tmp_path: Path) -> None:
    home, taken = tmp_path / "home", tmp_path / "taken"
    taken.mkdir()
    (taken / "a file").write_text("somebody's")
    bad: list[tuple[dict[str, Any], str]] = [
        ({"Hashd": {0: tmp_path / "a"}}, "no sharded model.*did you mean 'Hashed'"),
        ({"Plain": {0: tmp_path / "a"}}, "no sharded model"),
        ({"Hashed": {9: tmp_path / "a"}}, "has no shard 9"),
        ({"Hashed": {0: taken}}, "not empty"),
    ]
    for placement, text in bad:
        with pytest.raises(ConfigError, match=text):
            async with debros.open(home, models=MODELS, placement=placement):
                pass
    async with debros.open(home, models=MODELS) as db:
        await Hashed.create_many(some_notes())
        full = db.shards[Hashed].for_key("ana")
        with pytest.raises(ModelError, match="has no shard 4"):
            await db.shards[Hashed].move(4, to=tmp_path / "a")
        with pytest.raises(ConfigError, match="not empty"):
            await db.shards[Hashed].move(full, to=taken)
        async with db.transaction():
            with pytest.raises(TransactionError):
                await db.shards[Hashed].move(full, to=tmp_path / "a")
    with pytest.raises(ConfigError, match=r"has records in the home.*move"):
        async with debros.open(home, models=MODELS, placement=at(tmp_path, full)):
            pass
    async with debros.open(home, models=MODELS) as db:
        await db.shards[Hashed].move(full, to=tmp_path / "a")
    with pytest.raises(ConfigError, match=r"lies in .*a, not in .*move"):
        async with debros.open(home, models=MODELS, placement=at(tmp_path, full)):
            pass
    with pytest.raises(ConfigError, match="a home in memory"):
        async with debros.open(":memory:", models=MODELS, placement=at(tmp_path, 0)):
            pass
    assert sorted(path.name for path in taken.iterdir()) == ["a file"]


async def test_a_long_query_that_meets_a_move_sees_every_record_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with debros.open(tmp_path / "home", models=MODELS, placement=at(tmp_path, 0), shard_threads=1) as db:
        await Hashed.create_many(some_notes())
        monkeypatch.setattr(Reader, "quick", lambda *_: None)
        offload, begun, go = type(db.env).offload_until_cancelled, trio.Event(), trio.Event()

        async def held(env: Any, function: Any, *args: Any, stop: Any) -> Any:
            begun.set()
            await go.wait()
            return await offload(env, function, *args, stop=stop)

        monkeypatch.setattr(type(db.env), "offload_until_cancelled", held)
        found: list[int] = []

        async def ask(query: Any) -> None:
            found.append(len(await query.all()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, Hashed.query())  # read store by store
            nursery.start_soon(ask, Hashed.query().order_by_random(1))  # by one statement
            await begun.wait()
            await trio.testing.wait_all_tasks_blocked()
            for number in range(4):
                await db.shards[Hashed].move(number, to=tmp_path / f"moved-{number}")
            go.set()
        assert found == [40, 40]
        for query in (Hashed.query(), Hashed.query().order_by_random(1)):  # on connections that were kept
            assert len(await query.all()) == 40


async def test_a_query_that_waited_for_its_turn_while_a_shard_moved_sees_every_record_once(tmp_path: Path) -> None:
    async with debros.open(tmp_path / "home", models=MODELS, placement=at(tmp_path, 0), concurrent_queries=1) as db:
        await Hashed.create_many(some_notes())
        found: list[int] = []

        async def ask() -> None:
            with patch.object(Reader, "quick", lambda *_: None):
                found.append(len(await Hashed.query().all()))

        async with trio.open_nursery() as nursery, db.store.reader.places:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            await db.shards[Hashed].move(0, to=tmp_path / "moved-0")
            await db.shards[Hashed].move(1, to=tmp_path / "moved-1")
            assert not found, "it waits for its turn"
        assert found == [40]


@pytest.mark.parametrize("older", ["home", "shard-0"])
async def test_views_of_which_one_lost_its_newest_flush_are_brought_together(tmp_path: Path, older: str) -> None:
    home, view = tmp_path / "home", tmp_path / older / "view.sqlite"
    async with debros.open(home, models=MODELS, placement=at(tmp_path, 0)):
        await Hashed.create_many(some_notes(20))
    before = view.read_bytes()
    async with debros.open(home, models=MODELS) as db:
        await Hashed.create_many([{**note, "id": f"m{note['id']}"} for note in some_notes(20)])
        for note in await Hashed.where(Hashed.likes == 1).all():
            await note.update(likes=7)
        whole, digest = await everything(), await db.fingerprint()
    view.write_bytes(before)
    for _ in range(2):
        async with debros.open(home, models=MODELS) as db:
            assert (await everything(), await db.fingerprint()) == (whole, digest)
            assert not db.status().rebuilt
            for row in await Hashed.where(Hashed.likes == 7).all():
                assert len(await row.history()) == 2


async def test_a_new_declaration_reaches_the_stores_of_shards(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with debros.open(home, models=MODELS, placement=at(tmp_path, 0, 1)):
        await Hashed.create_many(some_notes())
        before = {row[0]: row[1] for row in await everything()}

    @model(name="Hashed", sharding=hash_shards("author", 4), indexes=[Index("score")])
    class Indexed(Model):  # the same fields, other indexes
        author: Field[str]
        likes: Field[int] = field(default=0, index=True)
        price: Field[Decimal | None] = field(default=None)
        at: Field[datetime] = field(default=START)
        score: Field[float] = field(default=0.0)

    @model(name="Hashed", sharding=hash_shards("author", 4))
    class Tagged(Model):  # other fields
        author: Field[str]
        tags: Field[list[str]] = field(default_factory=list, index=True)

    for declared in (Indexed, Tagged, Hashed, Indexed):
        async with debros.open(home, models=[declared]) as db:
            while db.store.building:
                await trio.testing.wait_all_tasks_blocked()
            found = {row.id: row.author for row in await declared.all() if not row.id.startswith("tagged")}
            assert found == before
            if declared is Tagged:
                for n in range(8):
                    await Tagged.create(id=f"tagged-{n}", author=f"author-{n}", tags=["a", f"t{n}"])
                assert await Tagged.where(Tagged.tags.contains("a")).count() == 8
                assert await Tagged.where(Tagged.tags.contains("t3")).count() == 1
                for number in range(4):
                    await db.shards[Tagged].move(number, to=tmp_path / f"moved-{number}")
                assert await Tagged.where(Tagged.tags.contains("a")).count() == 8
                assert await Tagged.where(Tagged.tags.contains("t3")).count() == 1
    async with debros.open(home, models=[Plain]):  # without the model
        pass
    async with debros.open(home, models=MODELS):
        assert len(await everything()) == 48


async def test_a_store_that_goes_while_the_node_is_open_is_told_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with debros.open(tmp_path / "home", models=MODELS, placement=at(tmp_path, 0, 1)) as db:
        await Hashed.create_many(some_notes())

        def fail(*_: Any) -> Any:
            raise StorageError("disk I/O error")

        monkeypatch.setattr(Reader, "quick", fail)
        with pytest.raises(StorageError, match="disk I/O error"):
            await Hashed.all()
        (tmp_path / "shard-1").rename(tmp_path / "gone")
        for ask in (Hashed.all, Hashed.count):
            with pytest.raises(PartialResultError, match=r"is not at .*shard-1") as refused:
                await ask()
            assert refused.value.missing == (db.shards[Hashed]._shards.address(1),)
        with pytest.raises(StorageError):
            await Plain.all()


async def test_cursors_of_events_outlive_a_move(tmp_path: Path) -> None:
    async with debros.open(tmp_path / "home", models=MODELS) as db:
        await Hashed.create_many(some_notes(10))
        cursors = []
        for n in range(4):
            await Hashed.create(id=f"c{n}", author=f"author-{n}")
            cursors.append(db.events.cursor("Hashed"))
        for to in ("first", "second"):
            for number in range(4):
                await db.shards[Hashed].move(number, to=tmp_path / f"{to}-{number}")
            for n, cursor in enumerate(cursors):
                async with db.events.subscribe(Hashed, since=cursor) as events:
                    assert [event.id for event in await events.backlog()] == [f"c{m}" for m in range(n + 1, 4)]


async def test_cursors_from_before_stores_were_numbered_anew_are_refused_and_not_passed_over(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with debros.open(home, models=MODELS, placement=at(tmp_path, 0, 1)) as db:
        first, second = (next(f"a{n}" for n in range(99) if db.shards[Hashed].for_key(f"a{n}") == s) for s in (0, 1))
        for author in (first, second):
            await Hashed.create(author=author)
        cursor = db.events.cursor("Hashed")
        await Hashed.create(id="not told", author=first)
    async with debros.open(home, models=MODELS) as db, db.events.subscribe(Hashed, since=cursor) as events:
        assert [event.id for event in await events.backlog()] == ["not told"]
    (home / "view.sqlite").unlink()
    async with debros.open(home, models=MODELS) as db:
        with pytest.raises(CursorError, match="made anew"):
            await db.events.subscribe(Hashed, since=cursor).__aenter__()
        cursor = db.events.cursor("Hashed")
        await Hashed.create(id="later", author=first)
    async with debros.open(home, models=MODELS) as db, db.events.subscribe(Hashed, since=cursor) as events:
        assert [event.id for event in await events.backlog()] == ["later"]


@pytest.mark.parametrize("step", ["began", "copied", "switched", "followed", "cleaned", "record"])
async def test_what_fails_in_a_move_loses_no_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    home, target = tmp_path / "home", tmp_path / "target"
    acknowledged = {note["id"] for note in some_notes()}

    def fail(how_far: Moving) -> None:
        if how_far.step == step:
            raise RuntimeError("a careless callback")

    def refuse(path: Path, content: bytes) -> None:
        replace_file(path, content)
        if b'"placed"' in content:
            raise StorageError("written, but perhaps not for good")

    async with debros.open(home, models=MODELS) as db:
        await Hashed.create_many(some_notes())
        number = db.shards[Hashed].for_key("ana")
        if step == "record":
            monkeypatch.setattr(places, "replace_file", refuse)
        with pytest.raises((RuntimeError, StorageError)):
            await db.shards[Hashed].move(number, to=target, progress=fail)
        monkeypatch.undo()
        if step in ("switched", "record"):  # nobody knows where a write would be looked for
            with pytest.raises(StorageError, match="open the node again"):
                await Hashed.create(id="after", author="ana")
        else:
            await Hashed.create(id="after", author="ana")
            acknowledged.add("after")
    async with debros.open(home, models=MODELS) as db:
        assert {row.id for row in await Hashed.all()} == acknowledged
        await db.shards[Hashed].move(number, to=target)
        await Hashed.create(id="at last", author="ana")
    async with debros.open(home, models=MODELS):
        assert {row.id for row in await Hashed.all()} == {*acknowledged, "at last"}


async def test_a_store_that_was_left_and_cannot_be_removed_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, first, second = tmp_path / "home", tmp_path / "first", tmp_path / "second"

    def refuse(_: Any) -> None:
        raise PermissionError("not yours")

    async with debros.open(home, models=MODELS, placement={"Hashed": {0: first}}) as db:
        await Hashed.create_many(some_notes())
        monkeypatch.setattr(shutil, "rmtree", refuse)
        await db.shards[Hashed].move(0, to=second)
        assert (await db.health())["stores"].state == "degraded"
    async with debros.open(home, models=MODELS) as db:
        assert "not yours" in (await db.health())["stores"].reason
        assert await Hashed.count() == 40
    monkeypatch.undo()
    async with debros.open(home, models=MODELS) as db:
        assert (await db.health())["stores"].state == "good"
        assert not first.exists()


async def test_shards_move_more_often_than_there_are_numbers_for_stores(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with debros.open(home, models=MODELS) as db:
        await Hashed.create_many(some_notes())
        await db.shards[Hashed].move(1, to=tmp_path / "first")
        before = await everything()
        db.places._next = 127
        for turn in range(3):
            await db.shards[Hashed].move(0, to=tmp_path / f"turn-{turn}")
            await Hashed.create(id=f"w{turn}", author="ana")
        assert [place.number for place in db.places.placed()] == [1, 3]
        assert [row for row in await everything() if row[0][0] == "n"] == before
        digest = await db.fingerprint()
    async with debros.open(home, models=MODELS) as db:
        assert not db.status().rebuilt
        assert await db.fingerprint() == digest


async def test_a_long_query_that_waits_for_a_thread_sees_a_shard_that_moves_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with debros.open(tmp_path / "home", models=MODELS) as db:
        await Hashed.create_many(some_notes())
        reader, found = db.store.reader, list[int]()
        asked, moved, work = trio.Event(), trio.Event(), db.store.reader._work

        async def held_up(*arguments: Any) -> None:
            asked.set()
            await moved.wait()
            await work(*arguments)

        async def count() -> None:
            found.append(await Hashed.count())

        monkeypatch.setattr(reader, "quick", lambda *_: None)
        monkeypatch.setattr(reader, "_work", held_up)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            await asked.wait()
            await db.shards[Hashed].move(db.shards[Hashed].for_key("ana"), to=tmp_path / "first")
            moved.set()
        assert found == [40]


async def test_a_move_goes_on_only_where_no_other_store_lies_by_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise StorageError("the disk refused")

    async with debros.open(tmp_path / "home", models=MODELS) as db:
        await Hashed.create_many(some_notes())
        with monkeypatch.context() as patched:
            patched.setattr(db.places, "mark", refuse)
            with pytest.raises(StorageError, match="refused"):
                await db.shards[Hashed].move(0, to=tmp_path / "target")
        await db.shards[Hashed].move(1, to=tmp_path / "target")
        with pytest.raises(ConfigError, match="not empty"):
            await db.shards[Hashed].move(0, to=tmp_path / "target")
        await Hashed.create_many({"id": f"w{n}", "author": f"author-{n}"} for n in range(8))
        (tmp_path / "next").mkdir()
        (tmp_path / "next" / places.UNFINISHED).write_bytes(b"torn")
        await db.shards[Hashed].move(0, to=tmp_path / "next")
        before = await everything()
    async with debros.open(tmp_path / "home", models=MODELS):
        assert await everything() == before
        assert len(before) == 48


async def test_a_shard_moves_though_an_index_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tagged(index: bool) -> Any:
        @model(name="Tagged", sharding=hash_shards("author", 2))
        class Tagged(Model):
            author: Field[str]
            tags: Field[set[str]] = field(default_factory=set, index=index)

        return Tagged

    def refuse(*_: Any) -> None:
        raise StorageError("no room")

    async def found(of: Any) -> list[int]:
        await trio.testing.wait_all_tasks_blocked()
        return [await of.where(of.tags.contains(f"t{n}")).count() for n in range(3)]

    home, former, present = tmp_path / "home", tagged(index=False), tagged(index=True)
    async with debros.open(home, models=[former]):
        await former.create_many({"author": f"author-{n}", "tags": {f"t{n % 3}"}} for n in range(20))
    with monkeypatch.context() as patched:
        patched.setattr(indexing, "_build", refuse)
        async with debros.open(home, models=[present]) as db:
            assert await found(present) == [7, 7, 6]
            assert db.store.building
            await db.shards[present].move(0, to=tmp_path / "first")
            assert await found(present) == [7, 7, 6]
    async with debros.open(home, models=[present]) as db:
        assert await found(present) == [7, 7, 6]
        await db.shards[present].move(1, to=tmp_path / "second")
        assert await found(present) == [7, 7, 6]
        assert not db.store.building


async def test_new_records_share_nothing_with_those_of_a_store_that_is_away(tmp_path: Path) -> None:
    home, placement = tmp_path / "home", at(tmp_path, 1)
    async with debros.open(home, models=MODELS, placement=placement) as db:
        here, there = (next(f"a{n}" for n in range(99) if db.shards[Hashed].for_key(f"a{n}") == s) for s in (0, 1))
        for n in range(3):
            await (await Hashed.create(id=f"there-{n}", author=there)).update(likes=n + 1)
    (tmp_path / "shard-1").rename(tmp_path / "unplugged")
    async with debros.open(home, models=MODELS) as db:
        for n in range(3):
            await (await Hashed.create(id=f"here-{n}", author=here)).update(likes=5)
        for n in range(3):
            assert len(await (await Hashed.get(f"here-{n}")).history()) == 2
    (tmp_path / "unplugged").rename(tmp_path / "shard-1")
    async with debros.open(home, models=MODELS):
        assert sorted(row[2] for row in await everything()) == [1, 2, 3, 5, 5, 5]
        for id in ("here-0", "there-2"):
            assert len(await (await Hashed.get(id)).history()) == 2
