"""Writes of many records are made in turns with other tasks, and seen by nobody before all of it is."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio

import debros
from debros import (
    Field,
    Many,
    Model,
    NotFoundError,
    One,
    TransactionError,
    UniqueError,
    after_save,
    before_save,
    belongs_to,
    field,
    has_many,
    model,
)  # fmt: skip
from debros.errors import ClosedError, StorageError
from debros.node import Debros
from debros.replica.store import Store
from tests.support.cancelling import counted_checkpoints

Work = Callable[[], Awaitable[object]]


@model(scope="global", name="Shelf")
class Shelf(Model):
    label: Field[str] = field(unique=True)
    books: Many[Book] = has_many("shelf_id")


@model(scope="global", name="Book")
class Book(Model):
    title: Field[str] = field(index=True)
    tags: Field[set[str]] = field(default_factory=set)
    topics: Field[list[str]] = field(default_factory=list, index=True)
    likes: Field[int] = field(default=0, merge="counter", index=True)
    seen: Field[set[str]] = field(default_factory=set, merge="set")
    note: Field[str | None] = field(default=None, merge="keep")
    isbn: Field[str | None] = field(default=None, unique=True)
    shelf_id: Field[str | None] = field(default=None, index=True)
    shelf: One[Shelf | None] = belongs_to("shelf_id", on_delete="cascade")
    second_id: Field[str | None] = field(default=None)
    second: One[Shelf | None] = belongs_to("second_id", on_delete="set_null")


@model(scope="global", name="Hooked")
class Hooked(Model):
    title: Field[str]
    saved: Field[int] = field(default=0)

    @before_save
    def count(self) -> None:
        self.saved += 1

    @after_save
    async def look(self) -> None:
        await trio.lowlevel.checkpoint()


@model(scope="global", name="Plain")
class Plain(Model):
    """Of which no kept value asks for cells."""

    title: Field[str] = field(index=True)
    topics: Field[list[str]] = field(default_factory=list, index=True)
    seen: Field[set[str]] = field(default_factory=set, merge="set")
    likes: Field[int] = field(default=0, merge="counter", index=True)


MODELS: list[Any] = [Shelf, Book, Hooked, Plain]
COUNT = 60


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have few records be many."""
    monkeypatch.setattr("debros.replica.ahead.LARGE", 20)
    for name in (
        "debros.replica.ahead.TURN",
        "debros.replica.commit.TURN",
        "debros.models.bulk.TURN",
        "debros.models.saving.TURN",
    ):
        monkeypatch.setattr(name, 5)
    monkeypatch.setattr("debros.models.bulk._FEW", 5)
    monkeypatch.setattr("debros.replica.transaction.TURN", 5)
    monkeypatch.setattr("debros.replica.commit.MANY", 5)
    monkeypatch.setattr("debros.replica.commit.MAX_PART", 16)


def a_home(home: Path, **options: Any) -> Any:
    return debros.open(home, models=MODELS, durability="process", **options)


def given(n: int) -> dict[str, Any]:
    return {
        "title": f"t{n % 3}", "tags": {f"a{n % 4}", "b"}, "topics": [f"c{n % 2}"], "likes": n % 5,
        "seen": {f"s{n % 4}"} if n % 3 else set(), "note": None if n % 2 else "n", "isbn": str(n) if n % 4 else None,
    }  # fmt: skip


async def fill(count: int = COUNT) -> list[Shelf]:
    """Make shelves with books on them."""
    shelves = [await Shelf.create(label=f"s{n}") for n in range(3)]
    books = [given(n) | {"shelf_id": shelves[n % 3].id, "second_id": shelves[(n + 1) % 3].id} for n in range(count)]
    await Book.create_many(books)
    return shelves


class Others:
    """A task that does nothing but take its turns, and looks at something at each if asked to."""

    def __init__(self, look: Work | None = None) -> None:
        self.turns = 0
        self.seen: list[Any] = []
        self._look = look

    async def run(self) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            self.turns += 1
            if self._look is not None:
                self.seen.append(await self._look())

    async def during(self, work: Work) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.run)
            await trio.lowlevel.checkpoint()
            self.turns, self.seen = 0, []
            await work()
            nursery.cancel_scope.cancel()


async def update_all() -> int:
    return await Book.query().update(title="new", likes=9)


async def update_plain() -> int:
    await Plain.query().update(title="new", likes=9)
    return await Plain.where(Plain.likes == 9).update(topics=["n"])


async def delete_plain() -> int:
    await Plain.where(Plain.likes > 2).update(title="changed before")
    return await Plain.query().delete()


async def set_all() -> int:
    return await Book.query().update(seen={"z"}, note="m")


async def delete_all() -> int:
    return await Book.query().delete()


async def hook_all() -> int:
    return await Hooked.query().update(title="new")


async def in_a_transaction() -> None:
    async with debros.current_node().transaction():
        await Book.query().update(title="new")
        await Book.where(Book.likes == 1).delete()


async def create_more() -> None:
    await Book.create_many([given(n) | {"isbn": None} for n in range(COUNT)])


async def delete_shelves() -> None:
    await Shelf.create_many([{"label": f"more {n}"} for n in range(COUNT)])
    assert await Shelf.query().delete() >= COUNT


ALL: list[Callable[[], Awaitable[Any]]] = [
    update_all, update_plain, delete_plain, set_all, delete_all, hook_all, in_a_transaction, create_more, delete_shelves
]  # fmt: skip


async def prepare() -> None:
    await fill()
    await Hooked.create_many([{"title": f"t{n}"} for n in range(COUNT)])
    await Plain.create_many(
        {"title": f"t{n % 2}", "topics": [f"c{n % 2}"], "seen": {f"s{n % 4}"}, "likes": n % 5} for n in range(COUNT)
    )


def shown(db: Debros) -> dict[str, Any]:
    """All that the view has in its file, but for the numbers of documents, which a view made anew gives in its own order."""
    db.store.flush()
    read = db.store.view.read
    found: dict[str, Any] = {}
    for name in ("Shelf", "Book", "Hooked", "Plain"):
        table = db.store.models[name].table
        rows = read(table.select, ())
        docs = {row[table.doc_at]: row[0] for row in rows}
        found[name] = sorted((*row[: table.doc_at], *row[table.doc_at + 1 :]) for row in rows)
        found[f"touched {name}"] = sorted((docs[doc], e) for doc, e in read(f'SELECT doc, e FROM "t_{name}"', ()))
        for index in table.indexes():
            if index.fill:
                items = read(f'SELECT "value", "doc" FROM "{index.name}"', ())
                found[index.name] = sorted((value, docs[doc]) for value, doc in items)
    for name in ("entries", "effects", "logs", "tips", "keys"):
        found[name] = sorted(read(f"SELECT * FROM {name}", ()), key=repr)
    assert read("PRAGMA integrity_check", ()) == [("ok",)]
    return found


def forget_view(home: Path) -> None:
    for file in home.glob("view.sqlite*"):
        file.unlink()


@pytest.mark.parametrize("work", ALL, ids=lambda work: work.__name__)
async def test_what_comes_of_it_is_what_the_log_says(work: Work, tmp_path: Path) -> None:
    async with a_home(tmp_path / "a") as db:
        await prepare()
        await work()
        before = shown(db)
    forget_view(tmp_path / "a")
    async with a_home(tmp_path / "a") as db:
        assert shown(db) == before
        await work()  # and once more, on rows that several entries made
        before = shown(db)
    forget_view(tmp_path / "a")
    async with a_home(tmp_path / "a") as db:
        assert shown(db) == before


@pytest.mark.parametrize("work", [update_all, set_all, delete_all, create_more, hook_all], ids=lambda w: w.__name__)
async def test_other_tasks_have_their_turns_and_see_all_of_it_or_nothing(work: Work, tmp_path: Path) -> None:
    async with a_home(tmp_path) as db:
        await prepare()
        books = await Book.query().all()
        # a point read, a query and one that is cached
        one = books[7].id

        async def look() -> tuple[Any, ...]:
            rows = await Book.query().select(Book.title, Book.likes, Book.note).all()
            cached = await Book.query().cache(60).all()
            point = await Book.get_or_none(one)
            kinds = {(row[0] == "new", row[1] == 9, row[2] == "m") for row in rows}
            many = await Hooked.where(Hooked.saved == 2).count()
            own = None if point is None else (point.title == "new", point.note == "m")
            return len(rows), len(kinds) if work in (update_all, set_all) else 1, len(cached), own, many

        first = await look()
        others = Others(look)
        await others.during(work)
        last = await look()
        assert others.turns > 2 * COUNT // 5, "in each step of drafting, staging and folding"
        assert first != last
        assert set(others.seen) <= {first, last}
        assert others.seen.count(first) > COUNT // 5, "until then they saw what was"
        assert db.store.view.pending_rows == 0


async def test_a_node_in_memory_shows_it_in_one_step_and_leaves_turns_before(tmp_path: Path) -> None:
    async with debros.open(":memory:", models=MODELS):
        await prepare()
        others = Others(lambda: Book.where(Book.title == "new").count())
        await others.during(update_all)
        assert others.turns > COUNT // 5
        assert set(others.seen) <= {0, COUNT}
        with counted_checkpoints() as checkpoints:
            for nth in range(200):
                was_cancelled = await checkpoints.run(Book.where(Book.title == "new").delete, nth)
                assert await Book.query().count() == (COUNT if was_cancelled else 0)
                if not was_cancelled:
                    break
        assert nth > COUNT // 5


async def test_nobody_waits_for_longer_than_a_step_of_each_kind_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    fold_all = debros.replica.replica.Replica.fold_all

    def counted(self: Any, changes: Any, entry: Any) -> None:
        counts.append(len(changes))
        fold_all(self, changes, entry)

    async with a_home(tmp_path):
        await prepare()
        monkeypatch.setattr("debros.replica.replica.Replica.fold_all", counted)
        for work in ALL:
            await work()
    assert max(counts) <= 5
    assert sum(counts) > 6 * COUNT


@pytest.mark.parametrize("work", ALL, ids=lambda work: work.__name__)
async def test_a_cancellation_at_any_checkpoint_leaves_before_or_after(work: Work, tmp_path: Path) -> None:
    async with a_home(tmp_path) as db:
        await prepare()
        before = shown(db)
        with counted_checkpoints() as checkpoints:
            nth, after = 0, None
            while after is None:
                await checkpoints.run(work, nth)
                found = shown(db)
                if found != before:
                    after = found
                nth += 3
                assert nth < 400
        assert nth > 3 * 5, "it came to several checkpoints before it was written"
        if work is not delete_shelves:  # which makes some first
            assert not db.store.effects.unsettled
        await Book.create(title="goes on")
        last = shown(db)
    forget_view(tmp_path)
    async with a_home(tmp_path) as db:
        assert shown(db) == last


async def test_what_comes_later_knows_which_targets_went(tmp_path: Path) -> None:
    async with a_home(tmp_path) as db:
        shelves = await fill()
        await delete_shelves()
        assert await Book.query().count() == 0, "they went with their shelves"
        late = await Book.create(title="late", second_id=shelves[0].id)
        await Book.create(title="hidden", shelf_id=shelves[0].id)
        assert [(book.id, book.second_id) for book in await Book.query().all()] == [(late.id, None)]
        last = shown(db)
    forget_view(tmp_path)
    async with a_home(tmp_path) as db:
        assert shown(db) == last


async def test_what_is_refused_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    async with a_home(tmp_path) as db:
        await prepare()
        before, entries = shown(db), db.status().entries
        with pytest.raises(UniqueError):
            await Book.query().update(isbn="one for all")
        with pytest.raises(UniqueError):
            await Book.create_many([given(n) | {"isbn": f"x{n}"} for n in range(COUNT - 1)] + [given(1)])
        assert (shown(db), db.status().entries) == (before, entries)
        gone: list[object] = []

        held = trio.Event()

        async def update() -> None:
            await held.wait()
            with pytest.raises(NotFoundError):
                await update_all()
            gone.append(None)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(update)
            async with db.transaction():
                held.set()
                for _ in range(COUNT):  # it reads its records, and waits
                    await trio.lowlevel.checkpoint()
                await Book.where(Book.isbn == "1").delete()
        assert gone
        assert db.status().entries == entries + 1
        assert await Book.where(Book.title == "new").count() == 0


async def test_a_disk_that_takes_nothing_leaves_nothing_behind(tmp_path: Path) -> None:
    async with a_home(tmp_path) as db:
        await prepare()
        before = shown(db)
        log = db.store.log
        append, refused = log.append, StorageError("the disk is full")

        def refuse(*arguments: Any, **options: Any) -> Any:
            raise refused

        log.append = refuse  # type: ignore[method-assign]  # a disk that is full
        with pytest.raises(StorageError, match="full"):
            await update_all()
        log.append = append  # type: ignore[method-assign]  # and has room again
        assert shown(db) == before
        await update_all()
        assert await Book.where(Book.title == "new").count() == COUNT


async def test_a_view_that_takes_nothing_shows_what_is_in_the_log_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_home(tmp_path) as db:
        shelves = await fill()
        await shelves[0].delete()
        db.store.flush()
        with monkeypatch.context() as patch:

            def refuse(*arguments: Any) -> None:
                raise apsw.FullError("no room")

            patch.setattr("debros.replica.misread.mark", refuse)
            await update_all()
            assert db.store.flush_failure is not None, "it is on disk, so it is acknowledged"
        assert await Book.where(Book.title == "new").count() == await Book.query().count() > 0
        assert db.store.flush_failure is None
        last = shown(db)
    forget_view(tmp_path)
    async with a_home(tmp_path) as db:
        assert shown(db) == last


@pytest.mark.parametrize("work", [update_all, delete_shelves, in_a_transaction], ids=lambda work: work.__name__)
async def test_a_process_that_is_killed_meanwhile_leaves_all_of_it_or_nothing(work: Work, tmp_path: Path) -> None:
    copies: list[Path] = []

    async def copy() -> None:
        if len(copies) < 60:
            copies.append(tmp_path / f"copy {len(copies)}")
            shutil.copytree(tmp_path / "home", copies[-1])

    async with a_home(tmp_path / "home") as db:
        await prepare()
        if work is delete_shelves:
            await Shelf.create_many([{"label": f"more {n}"} for n in range(COUNT)])
            work = Shelf.query().delete
        await db.store.env.offload(db.store.log.sync)
        before = shown(db)
        await Others(copy).during(work)
        after = shown(db)
    outcomes = []
    for one in copies[::5]:
        async with a_home(one) as db:
            found = shown(db)
            assert found in (before, after)
            outcomes.append(found == after)
    assert sorted(outcomes) == outcomes
    assert not outcomes[0]


async def test_what_is_on_disk_and_was_not_shown_any_more_is_shown_by_the_next_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        async with a_home(tmp_path) as db:
            await fill()

            def die(*arguments: Any, **options: Any) -> None:
                raise RuntimeError("killed between the append and this")

            patch.setattr(Store, "admit", die)
            with pytest.raises(StorageError, match="open the node again"):
                await update_all()
            assert db.store.broken
    async with a_home(tmp_path) as db:
        assert await Book.where(Book.title == "new").count() == COUNT
        last = shown(db)
    forget_view(tmp_path)
    async with a_home(tmp_path) as db:
        assert shown(db) == last


async def test_a_node_that_is_closed_meanwhile_writes_all_of_it_or_nothing(tmp_path: Path) -> None:
    for turns in (1, 10, 30, 45):
        home = tmp_path / str(turns)
        outcomes: list[object] = []

        async def work(outcomes: list[object] = outcomes) -> None:
            try:
                outcomes.append(await update_all())
            except ClosedError as error:
                outcomes.append(error)

        async with trio.open_nursery() as nursery, a_home(home):
            await fill()
            with debros.current.choosing(node=debros.current_node()):
                nursery.start_soon(work)
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
        async with a_home(home):
            changed = await Book.where(Book.title == "new").count()
            assert changed == (COUNT if outcomes == [COUNT] else 0)


async def create_new() -> None:
    assert len(await Book.create_many([given(n) | {"isbn": None, "title": "new"} for n in range(COUNT)])) == COUNT


async def save_each() -> None:
    async with debros.current_node().transaction():
        for book in await Book.query().all():
            await book.update(title="new")


@pytest.mark.parametrize("work", [create_new, save_each], ids=lambda work: work.__name__)
async def test_a_node_that_is_closed_while_the_result_is_taken_does_not_say_that_nothing_was_written(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("debros.replica.transaction.TURN", 1)  # so that it is closed before it comes to the last record
    async with trio.open_nursery() as nursery, a_home(tmp_path) as db:
        await fill()
        entries = db.store.entries.next_e
        with debros.current.choosing(node=db):
            nursery.start_soon(work)
        while db.store.entries.next_e == entries:
            await trio.lowlevel.checkpoint()
        await db.store.aclose()
    async with a_home(tmp_path):
        assert await Book.where(Book.title == "new").count() == COUNT


class _Full:
    """A connection whose disk has no room for what is moved into the file."""

    def __init__(self, db: Any) -> None:
        self._db = db

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def wal_checkpoint(self, **_: Any) -> None:
        raise apsw.FullError("no room")


async def test_a_disk_that_fails_behind_the_write_is_told_of_and_the_write_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_home(tmp_path) as db:
        await fill()
        with monkeypatch.context() as patch:
            beside = db.store.view.beside
            patch.setattr(db.store.view, "beside", lambda: _Full(beside()))
            assert await update_all() == COUNT
        assert "no room" in db.status().last_failure
        assert await Book.where(Book.title == "new").count() == COUNT
        await Book.create(title="goes on")
        db.store.flush()
        assert not db.status().last_failure


async def test_others_write_before_or_behind_it(tmp_path: Path) -> None:
    async with a_home(tmp_path) as db:
        await fill()
        ids = [book.id for book in await Book.query().all()]
        order: list[str] = []

        async def write() -> None:
            await Book.increment(ids[-1], likes=1)
            order.append("one")

        async def all_of_them() -> None:
            await update_all()
            order.append("many")

        for turns in (0, 3, 20, 40):
            order.clear()
            await Book.query().update(likes=0, title="old")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(all_of_them)
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                nursery.start_soon(write)
            likes = (await Book.get(ids[-1])).likes
            assert likes in (9, 10), "a counter keeps both, where the other came behind the look at it"
            assert await Book.where(Book.title == "new").count() == COUNT
        last = shown(db)
    forget_view(tmp_path)
    async with a_home(tmp_path) as db:
        assert shown(db) == last


async def test_inside_a_transaction_others_have_turns_and_those_inside_write_before_or_behind_it(
    tmp_path: Path,
) -> None:
    async with a_home(tmp_path) as db:
        await prepare()
        first = (await Book.query().all())[0]
        title = first.title
        others = Others(lambda: Book.where(Book.title == "new").count())

        async def work() -> None:
            async with db.transaction():
                async with trio.open_nursery() as inside:
                    inside.start_soon(update_all)
                    for _ in range(COUNT // 5 + 4):  # it is amid writing
                        await trio.lowlevel.checkpoint()

                    async def change_first() -> None:
                        async with db.transaction():
                            await first.update(title="last")
                            assert await Book.where(Book.title == "new").count() == COUNT - 1, "all of it was there"

                    inside.start_soon(change_first)
                assert await Book.where(Book.title == "new").count() == COUNT - 1

        async def turns() -> None:
            outside.start_soon(others.run)
            await work()
            outside.cancel_scope.cancel()

        async with trio.open_nursery() as outside:
            outside.start_soon(turns)
        assert title != "last"
        assert others.turns > 2 * COUNT // 5
        assert set(others.seen) <= {0, COUNT - 1}
        assert (await Book.get(first.id)).title == "last"


async def test_a_transaction_takes_none_of_what_was_refused_or_cancelled_amid(tmp_path: Path) -> None:
    async with a_home(tmp_path) as db:
        await prepare()
        before, entries = shown(db), db.status().entries
        with counted_checkpoints() as checkpoints:
            for nth in range(0, 200, 4):
                async with db.transaction():
                    await Hooked.create(title="stays")
                    was_cancelled = await checkpoints.run(update_all, nth)
                    with pytest.raises(UniqueError):
                        await Book.query().update(isbn="one for all")
                    assert await Book.where(Book.title == "new").count() == (0 if was_cancelled else COUNT)
                    if not was_cancelled:
                        await Book.query().update(title="old", likes=0)
                    await Book.where(Book.title == "old").delete()
                entries += 1
                assert db.status().entries == entries
                if not was_cancelled:
                    break
                assert shown(db)["Book"] == before["Book"]
            assert nth > 8
        last = shown(db)
    forget_view(tmp_path)
    async with a_home(tmp_path) as db:
        assert shown(db) == last


async def test_a_savepoint_that_ends_amid_a_write_of_many_dooms_the_transaction(tmp_path: Path) -> None:
    async with a_home(tmp_path) as db:
        await prepare()
        entries = db.status().entries

        async def work() -> None:
            async with db.transaction(), trio.open_nursery() as inside, db.transaction():
                inside.start_soon(update_all)
                for _ in range(COUNT // 5 + 4):  # it is amid writing
                    await trio.lowlevel.checkpoint()

        with pytest.raises(ExceptionGroup) as caught:
            await work()
        assert caught.group_contains(TransactionError)
        assert db.status().entries == entries
        assert await Book.where(Book.title == "new").count() == 0


async def test_a_deletion_of_all_that_a_record_has_leaves_others_their_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("debros.models.deleting._FEW", 3)
    async with a_home(tmp_path):
        shelves = await fill()
        others = Others(lambda: Book.query().count())

        async def work() -> None:
            await shelves[0].delete(cascade=True)

        await others.during(work)
        assert others.turns > COUNT // 3 // 3
        assert set(others.seen) <= {COUNT, COUNT - COUNT // 3}


async def test_live_queries_and_events_are_told_once(tmp_path: Path) -> None:
    async with a_home(tmp_path) as db:
        await fill()
        async with (
            Book.where(Book.title == "new").live() as view,
            db.events.subscribe(Book, on={"update"}) as events,
        ):
            await update_all()
            with trio.move_on_after(5):
                added = {(await anext(view)).row.id for _ in range(COUNT)}
                told = [(await anext(events)).id for _ in range(COUNT)]
        assert len(added) == COUNT
        assert sorted(told) == sorted(added)
