"""`db.pins` on one node, with a clock that the test sets: states, reasons, sweeps, metrics, and what survives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import pytest
import trio
import trio.testing

import debros
from debros import CeilingError, ContentError, ContentMissingError, Field, File, Model, field, model, popularity
from debros.blocks.files import MemoryFiles
from debros.env import SystemEnv
from debros.node import Debros
from debros.opening import open_node
from debros.pinning.rules import DAY_S, HOUR_S
from debros.pinning.told import Usage

SIZE = 10_000
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
NOWHERE = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"


@model(pinning=popularity(max_pins=3, copies=(0, 2)))
class Photo(Model):
    title: Field[str]
    picture: Field[File | None] = field(default=None)


@model(pinning=popularity(max_pins=3, copies=(2, 3)))
class Negative(Model):
    picture: Field[File]


@model()
class Paper(Model):
    scan: Field[File | None] = field(default=None)


class Clock(SystemEnv):
    """A wall clock that the test sets, and no threads."""

    def __init__(self) -> None:
        self.now_ms = 1_790_864_001_000

    def now_us(self) -> int:
        return self.now_ms * 1000

    def environ(self) -> Mapping[str, str]:
        return {}

    async def offload(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        return function(*args)

    def pass_(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)


@asynccontextmanager
async def a_node(
    home: Path | str = ":memory:", clock: Clock | None = None, **settings: object
) -> AsyncIterator[tuple[Debros, Clock]]:
    clock = clock or Clock()
    settings = {"sweep_s": 1e6, **settings}
    async with open_node(clock, None, home, models=[Photo, Negative, Paper], app="album", settings=settings) as db:
        await trio.testing.wait_all_tasks_blocked()  # the sweep at opening
        yield db, clock


async def picture(n: int) -> File:
    return await File.add(n.to_bytes(2, "big") * (SIZE // 2))


async def held(db: Debros, file: File, *peers: int) -> None:
    """Let peers say that they hold content."""
    ledger, _ = await db.pins.ready()
    item = ledger.find(file.link)
    assert item is not None
    for peer in peers:
        now = db.env.now_us() // 1000
        ledger.note_copy(item.n, bytes([peer]) * 32, now, now + int(DAY_S * 1000), b"receipt")


# -- table: methods ----------------------------------------------------------------------------------------------


async def test_added_content_is_pinned_and_stays_while_a_record_refers_to_it() -> None:
    async with a_node() as (db, clock):
        file = await picture(1)
        assert await db.pins.is_pinned(file.cid)
        paper = await Paper.create(scan=file)
        clock.pass_(100 * DAY_S)
        await db.pins.sweep()
        assert await file.read()
        assert "no rule" in await db.pins.why(file.cid)
        await paper.update(scan=None)
        await db.pins.sweep()
        clock.pass_(HOUR_S + 1)
        swept = await db.pins.sweep()
        assert (swept.evicted, swept.freed_bytes, swept.used_bytes) == (1, SIZE, 0)
        with pytest.raises(ContentMissingError):
            await file.read()


async def test_content_that_no_record_refers_to_has_an_hour() -> None:
    async with a_node() as (db, clock):
        file = await picture(1)
        clock.pass_(HOUR_S - 1)
        await db.pins.sweep()
        assert await db.pins.is_pinned(file.cid)
        clock.pass_(2)
        await db.pins.sweep()
        with pytest.raises(ContentMissingError):
            await db.pins.status(file.cid)


async def test_a_deleted_record_holds_on_to_nothing_and_one_that_shares_content_does() -> None:
    async with a_node() as (db, clock):
        file = await picture(1)
        one, two = await Paper.create(scan=file), await Paper.create(scan=file)
        await one.delete()
        clock.pass_(2 * HOUR_S)
        await db.pins.sweep()
        assert await file.read()
        clock.pass_(2 * HOUR_S)
        await two.delete()
        await db.pins.sweep()
        assert not await db.content.is_held(file.link)


async def test_the_least_popular_go_and_rows_that_point_to_them_stay_queryable() -> None:
    async with a_node() as (db, clock):
        photos = [await Photo.create(title=str(n), picture=await picture(n)) for n in range(5)]
        clock.pass_(2 * HOUR_S)
        for photo in photos[1:4]:
            assert photo.picture is not None
            await photo.picture.read()
        clock.pass_(2 * HOUR_S)
        swept = await db.pins.sweep()
        assert (swept.evicted, swept.waiting) == (2, 0)
        states = [(await db.pins.status(p.picture.cid)).state for p in photos if p.picture]
        assert states == ["unpinned", "pinned", "pinned", "pinned", "unpinned"]
        assert await Photo.count() == 5
        gone = await Photo.get(photos[0].id)
        assert gone.picture is not None
        assert "priority" in await db.pins.why(gone.picture.cid)
        with pytest.raises(ContentMissingError):
            await gone.picture.read()


async def test_what_was_used_within_the_hour_is_protected_and_force_overrides() -> None:
    async with a_node() as (db, _clock):
        photos = [await Photo.create(title=str(n), picture=await picture(n)) for n in range(5)]
        for photo in photos:
            assert photo.picture is not None
            await photo.picture.read()
        assert (await db.pins.sweep()).evicted == 0
        assert (await db.pins.sweep(force=True)).evicted == 2


async def test_nothing_goes_that_is_not_known_to_be_held_by_as_many_others_as_the_rule_asks() -> None:
    async with a_node() as (db, clock):
        negatives = [await Negative.create(picture=await picture(n)) for n in range(5)]
        clock.pass_(2 * DAY_S)
        swept = await db.pins.sweep()
        assert (swept.evicted, swept.waiting) == (0, 2)
        waiting = [n for n in negatives if (await db.pins.status(n.picture.cid)).state == "unpinning"]
        assert len(waiting) == 2
        assert "2 are needed" in await db.pins.why(waiting[0].picture.cid)
        await held(db, waiting[0].picture, 1)
        assert (await db.pins.sweep()).evicted == 0
        assert await db.content.is_held(waiting[0].picture.link)
        clock.pass_(2 * HOUR_S)
        await held(db, waiting[0].picture, 1, 2)
        swept = await db.pins.sweep()
        assert (swept.evicted, swept.waiting) == (1, 1)
        assert (await db.pins.sweep(force=True)).evicted == 0  # force needs one other at least
        await held(db, waiting[1].picture, 1)
        assert (await db.pins.sweep(force=True)).evicted == 1


async def test_a_receipt_counts_for_a_day() -> None:
    async with a_node() as (db, clock):
        for n in range(4):
            negative = await Negative.create(picture=await picture(n))
            await held(db, negative.picture, 1, 2)
        clock.pass_(DAY_S + 1)
        assert (await db.pins.sweep()).evicted == 0


async def test_pinned_by_hand_it_stays_and_unpinned_it_goes() -> None:
    async with a_node() as (db, clock):
        files = [await picture(n) for n in range(5)]
        for file in files:
            await Negative.create(picture=file)
        status = await db.pins.pin(files[0].cid)
        assert (status.state, status.by_hand) == ("pinned", True)
        clock.pass_(2 * DAY_S)
        await db.pins.sweep(force=True)
        assert await db.pins.is_pinned(files[0].cid)
        assert "by hand" in await db.pins.why(files[0].cid)
        status = await db.pins.unpin(files[0].cid)
        assert (status.state, status.by_hand) == ("unpinning", False)  # a record refers to it, and nobody else holds it
        await held(db, files[0], 1, 2)
        await db.pins.sweep()
        assert (await db.pins.status(files[0].cid)).state == "unpinned"


async def test_wanted_content_that_nobody_holds_is_pending_then_failed_and_reported() -> None:
    async with a_node() as (db, clock):
        status = await db.pins.pin(NOWHERE)
        assert status.state == "pending"
        for _ in range(6):
            await trio.testing.wait_all_tasks_blocked()
            clock.pass_(DAY_S)
            await db.content.bring_due()
        status = await db.pins.status(NOWHERE)
        assert (status.state, status.is_here) == ("failed", False)
        assert "no connected peer has it" in status.note
        assert status.next_try_s is not None
        assert (await db.pins.stats()).wanted_and_held_by_nobody == (NOWHERE,)
        assert not await db.pins.is_pinned(NOWHERE)


async def test_what_is_no_cid_or_not_known_is_a_clear_error() -> None:
    async with a_node() as (db, _):
        for call in (db.pins.pin, db.pins.unpin, db.pins.status, db.pins.why, db.pins.is_pinned):
            with pytest.raises(ContentError, match="not a CID"):
                await call("nonsense")
        for call in (db.pins.unpin, db.pins.status, db.pins.why):
            with pytest.raises(ContentMissingError):
                await call(NOWHERE)
        assert not await db.pins.is_pinned(NOWHERE)


# -- table: limits -------------------------------------------------------------------------------------------------


async def test_a_ceiling_smaller_than_what_may_not_go_is_a_clear_error_and_nothing_is_half_done() -> None:
    async with a_node(content_bytes=3 * SIZE) as (db, _clock):
        for n in range(3):
            await Paper.create(scan=await picture(n))
        with pytest.raises(CeilingError, match="content_bytes") as caught:
            await picture(7)
        assert (caught.value.ceiling, caught.value.needed) == (3 * SIZE, 4 * SIZE)
        assert (await db.pins.stats()).used_bytes == 3 * SIZE
        assert (await db.pins.sweep()).evicted == 0


async def test_adding_makes_room_by_letting_go_of_what_is_worth_least() -> None:
    async with a_node(content_bytes=3 * SIZE) as (db, clock):
        photos = []
        for n in range(8):
            photos.append(await Photo.create(title=str(n), picture=await picture(n)))
            clock.pass_(2 * HOUR_S)
            assert (await db.pins.stats()).used_bytes <= 3 * SIZE
        here = [p.title for p in photos if p.picture and await db.content.is_held(p.picture.link)]
        assert here[-1] == "7"
        assert len(here) in (2, 3)


# -- table: record access, metrics, stats --------------------------------------------------------------------------


async def test_accesses_by_files_and_by_queries_are_counted() -> None:
    async with a_node() as (db, clock):
        photo = await Photo.create(title="x", picture=await picture(1))
        paper = await Paper.create(scan=await picture(2))
        assert photo.picture is not None
        assert paper.scan is not None
        await photo.picture.read()
        await db.pins.sweep()
        assert (await db.pins.status(photo.picture.cid)).accesses == 1
        for _ in range(5):
            await Photo.get(photo.id)
        await Photo.all()
        await Paper.get(paper.id)
        await db.pins.sweep()
        status = await db.pins.status(photo.picture.cid)
        assert (status.accesses, round(status.score)) == (7, 7)
        clock.pass_(DAY_S)
        assert (await db.pins.status(photo.picture.cid)).score == pytest.approx(3.5, abs=0.1)
        assert (await db.pins.status(paper.scan.cid)).accesses == 0  # its model has no rule to count for


async def test_metrics_tell_all_that_the_table_lists() -> None:
    async with a_node(content_bytes=100 * SIZE) as (db, clock):
        empty = await db.pins.metrics()
        assert (empty.count, empty.average_bytes, empty.hit_rate, empty.most_accessed) == (0, 0.0, 0.0, None)
        files = [await picture(n) for n in range(3)]
        for file in files:
            await Photo.create(title="x", picture=file)
        other = await picture(9)
        await Paper.create(scan=other)
        clock.pass_(60)
        by_hand = await picture(8)
        await db.pins.pin(by_hand.cid)
        for _ in range(12):
            await files[0].read()
        await files[1].read()
        with pytest.raises(ContentMissingError):
            await File(NOWHERE, None, 12, None).read()
        m = await db.pins.metrics()
        assert (m.count, m.total_bytes, m.average_bytes) == (5, 5 * SIZE, SIZE)
        assert (m.oldest_s, m.newest_s) == (60, 0)
        assert m.most_accessed == Usage(files[0].cid, 12)
        assert m.least_accessed is not None
        assert m.least_accessed.accesses == 0
        assert m.by_strategy == {"popularity": 3, "none": 1, "by hand": 1}
        assert (m.hits, m.misses, m.hit_rate) == (13, 1, pytest.approx(13 / 14))
        assert m.utilisation == pytest.approx(0.05)
        assert 0.9 < m.storage_efficiency <= 1
        assert m.access_distribution == {"0": 3, "1-9": 1, "10-99": 1, "100+": 0}
        assert m.recent_activity == 2
        stats = await db.pins.stats()
        assert stats.models == {"Photo": 3, "Paper": 1}
        assert stats.states["pinned"] == 5


# -- table: cleanup every minute -----------------------------------------------------------------------------------


def test_a_sweep_runs_every_minute_of_the_nodes_clock_and_what_is_exact_in_virtual_time_is_decided() -> None:
    """A trace of uses, once an hour for three days: the decisions are those of the formula, at every minute."""

    class Virtual(Clock):
        def now_us(self) -> int:
            return self.now_ms * 1000 + int(trio.current_time() * 1_000_000)

    async def main() -> None:
        async with open_node(
            Virtual(), None, ":memory:", models=[Photo, Negative, Paper], app="album", config="testing"
        ) as db:
            files = [await picture(n) for n in range(5)]
            for file in files[1:4]:
                await file.read()
            for n, file in enumerate(files):
                await Photo.create(title=str(n), picture=file)
            for hour in range(6):
                await trio.sleep(HOUR_S)
                await files[hour % 3 + 1].read()
            assert (await db.pins.stats()).last_sweep is not None
            for n, file in enumerate(files):
                assert await db.pins.is_pinned(file.cid) == (n in (1, 2, 3))

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


# -- durability ----------------------------------------------------------------------------------------------------


async def test_pins_uses_and_references_are_there_again_after_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    async with a_node(tmp_path, clock) as (db, _):
        file = await picture(1)
        photo = await Photo.create(title="x", picture=file)
        await file.read()
        await db.pins.pin(NOWHERE)
    async with a_node(tmp_path, clock) as (db, _):
        status = await db.pins.status(file.cid)
        assert (status.state, status.accesses, status.model, status.size) == ("pinned", 1, "Photo", SIZE)
        assert (await db.pins.status(NOWHERE)).state == "pending"
        assert await (await Photo.get(photo.id)).picture.read()  # type: ignore[union-attr]


async def test_what_was_admitted_while_the_ledger_was_not_written_is_learned_at_opening(tmp_path: Path) -> None:
    clock = Clock()
    async with a_node(tmp_path, clock) as (db, _):
        file = await picture(1)
        before = (tmp_path / "pins.sqlite").read_bytes()
        wal = (tmp_path / "pins.sqlite-wal").read_bytes()
        await Paper.create(scan=file)
    for name, content in (("pins.sqlite", before), ("pins.sqlite-wal", wal)):  # as a kill would have left it
        (tmp_path / name).write_bytes(content)
    clock.pass_(10 * HOUR_S)
    async with a_node(tmp_path, clock) as (db, _):
        await db.pins.sweep()
        assert await db.pins.is_pinned(file.cid)


async def test_content_of_models_that_are_not_opened_stays(tmp_path: Path) -> None:
    clock = Clock()
    async with a_node(tmp_path, clock):
        file = await picture(1)
        await Paper.create(scan=file)
    (tmp_path / "pins.sqlite").unlink()  # even when all that was known is gone
    clock.pass_(10 * DAY_S)
    async with open_node(clock, None, tmp_path, models=[Photo], app="album", settings={"sweep_s": 1e6}) as db:
        await db.pins.sweep()
        clock.pass_(10 * DAY_S)
        await db.pins.sweep()
        assert await file.read()


async def test_a_ledger_that_is_no_ledger_is_told_and_kept(tmp_path: Path) -> None:
    (tmp_path / "pins.sqlite").write_bytes(b"rubbish" * 1000)
    async with open_node(Clock(), None, tmp_path, models=[Paper], app="album", settings={"sweep_s": 1e6}) as db:
        with pytest.raises(debros.StorageError, match=r"pins\.sqlite"):
            await db.pins.stats()
        assert await Paper.create() is not None  # the node itself goes on
    assert (tmp_path / "pins.sqlite").read_bytes()[:7] == b"rubbish"


async def test_a_disk_that_fails_while_content_is_added_leaves_nothing_half_done() -> None:
    from debros.testing.faults import FailingFiles

    for nth in range(1, 12):
        files = FailingFiles(MemoryFiles())
        async with open_node(Clock(), files, ":memory:", models=[Paper], app="album", settings={"sweep_s": 1e6}) as db:
            await trio.testing.wait_all_tasks_blocked()
            await db.pins.ready()
            files.arm(nth, on=("pwrite", "sync"))
            try:
                file = await picture(nth)
            except debros.StorageError:
                files.arm(())
                assert (await db.pins.stats()).states["pinned"] == 0
                continue
            files.arm(())
            assert await file.read()
