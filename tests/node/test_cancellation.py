"""Cancellation at every checkpoint of every public coroutine leaves store and memory as before, or as after."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import debros
from debros import Field, Identity, Many, Model, One, after_save, before_save, belongs_to, has_many, many_to_many, model
from debros import field as declared
from debros.blocks.files import MemoryFiles
from debros.env import SYSTEM
from debros.identity.did import did_of
from debros.models.relations import Related, RelatedMany
from debros.node import Debros
from debros.query.aggregates import Grouped
from debros.query.query import Query
from tests.support.cancelling import counted_checkpoints
from tests.support.stories import QuietEnv, a_node_on, forget_view, quick_directory

Work = Callable[[], Awaitable[object]]
ROOT = Identity.from_seed(bytes([9]) * 32)
OTHER = Identity.from_seed(bytes([8]) * 32)


@model(scope="global")
class Shelf(Model):
    label: Field[str] = declared(index=True)
    kept_ids: Field[set[str]] = declared(default_factory=set)
    books: Many[Book] = has_many("shelf_id")
    kept: Many[Book] = many_to_many(ids="kept_ids")
    lent: Many[Book] = many_to_many(through="Lending", local="shelf_id", remote="book_id")


@model(scope="global")
class Book(Model):
    title: Field[str]
    shelf_id: Field[str | None] = declared(default=None, index=True)
    tags: Field[set[str]] = declared(default_factory=set)
    n: Field[int] = declared(default=0, merge="counter")
    shelf: One[Shelf | None] = belongs_to("shelf_id", on_delete="cascade")

    @before_save
    async def tidy(self) -> None:
        await trio.lowlevel.checkpoint()
        self.title = self.title.strip()

    @after_save
    async def look_around(self) -> None:
        await trio.lowlevel.checkpoint()


@model(scope="global")
class Lending(Model):
    shelf_id: Field[str]
    book_id: Field[str]


@model(scope="user")
class Diary(Model):
    text: Field[str]


MODELS: tuple[type[Model], ...] = (Shelf, Book, Lending, Diary)


@dataclass
class Attempt:
    """A piece of work, and the records in whose memory it may leave traces."""

    work: Work
    records: tuple[Model, ...] = ()
    assigns: bool = False  # what it assigns stays, unsaved, when it is cancelled


async def a_shelf(books: int = 2) -> tuple[Shelf, list[Book]]:
    shelf = await Shelf.create(label="of tests")
    return shelf, [await Book.create(title=f"b {n}", shelf_id=shelf.id) for n in range(books)]


# -- the coroutines, by name --------------------------------------------------------------------------------------


async def create(db: Debros) -> Attempt:
    return Attempt(lambda: Book.create(title=" new "))


async def create_plain(db: Debros) -> Attempt:
    return Attempt(lambda: Shelf.create(label="new"))


async def save_new(db: Debros) -> Attempt:
    book = Book(title=" new ")
    return Attempt(book.save, (book,))


async def create_many(db: Debros) -> Attempt:
    books = [Book(title=f" {n} ") for n in range(3)]
    return Attempt(lambda: Book.create_many(books), tuple(books))


async def save(db: Debros) -> Attempt:
    _, (book, _) = await a_shelf()
    book.n += 3
    book.tags.add("x")
    book.title = " changed "
    return Attempt(book.save, (book,))


async def update(db: Debros) -> Attempt:
    _, (book, _) = await a_shelf()
    return Attempt(lambda: book.update(title="u", n=5), (book,), assigns=True)


async def delete(db: Debros) -> Attempt:
    _, (book, _) = await a_shelf()
    return Attempt(book.delete, (book,))


async def delete_cascade(db: Debros) -> Attempt:
    shelf, _ = await a_shelf(3)
    return Attempt(lambda: shelf.delete(cascade=True), (shelf,))


async def restore(db: Debros) -> Attempt:
    _, (book, _) = await a_shelf()
    await book.delete()
    return Attempt(book.restore, (book,))


async def refresh(db: Debros) -> Attempt:
    _, (book, _) = await a_shelf()
    return Attempt(book.refresh, (book,))


async def upsert_new(db: Debros) -> Attempt:
    id = db.env.random_bytes(8).hex()
    return Attempt(lambda: Shelf.upsert(id, label="upserted"))


async def upsert_old(db: Debros) -> Attempt:
    shelf, _ = await a_shelf()
    return Attempt(lambda: Shelf.upsert(shelf.id, label="upserted"))


async def get_or_create_new(db: Debros) -> Attempt:
    label = f"a-label-of-its-own {db.env.random_bytes(8).hex()}"
    return Attempt(lambda: Shelf.get_or_create({"label": label}, label=label))


async def get_or_create_old(db: Debros) -> Attempt:
    shelf, _ = await a_shelf()
    await shelf.update(label=shelf.id)
    return Attempt(lambda: Shelf.get_or_create(label=shelf.id))


async def increment(db: Debros) -> Attempt:
    _, (book, _) = await a_shelf()
    return Attempt(lambda: Book.increment(book.id, n=2))


async def add_ids(db: Debros) -> Attempt:
    shelf, books = await a_shelf()
    return Attempt(lambda: shelf.kept.add(*books), (shelf,))


async def remove_ids(db: Debros) -> Attempt:
    shelf, books = await a_shelf()
    await shelf.kept.add(*books)
    return Attempt(lambda: shelf.kept.remove(*books), (shelf,))


async def add_links(db: Debros) -> Attempt:
    shelf, books = await a_shelf()
    return Attempt(lambda: shelf.lent.add(*books), (shelf,))


async def remove_links(db: Debros) -> Attempt:
    shelf, books = await a_shelf()
    await shelf.lent.add(*books)
    return Attempt(lambda: shelf.lent.remove(*books), (shelf,))


async def transaction(db: Debros) -> Attempt:
    _, (book, _) = await a_shelf()

    async def work() -> None:
        async with db.transaction():
            await Diary.create(text="beside it")
            await book.update(title="in a transaction")
            await Book.query().where("title", "in a transaction").count()
            await Book.create(title="and another")

    return Attempt(work, (book,), assigns=True)


async def savepoint(db: Debros) -> Attempt:
    async def work() -> None:
        async with db.transaction():
            await Shelf.create(label="outer")
            with suppress(KeyError):
                async with db.transaction():
                    await Shelf.create(label="inner")
                    raise KeyError
            await Shelf.create(label="outer again")

    return Attempt(work)


async def acting_as(db: Debros) -> Attempt:
    async def work() -> None:
        async with db.acting_as(OTHER):
            await Diary.create(text="of another")

    return Attempt(work)


async def grant(db: Debros) -> Attempt:
    return Attempt(lambda: db.grant(OTHER.did))


async def revoke(db: Debros) -> Attempt:
    return Attempt(lambda: db.revoke(Identity.from_seed(db.env.random_bytes(32)).did))


async def revoke_device(db: Debros) -> Attempt:
    """A device that wrote to two logs."""
    owner = Identity.from_seed(db.env.random_bytes(32))
    device = owner.new_device()
    async with db.acting_as(device):
        await Shelf.create(label="of a device")
        await Diary.create(text="of a device")
        key = did_of(db.device().public)

    async def work() -> None:
        async with db.acting_as(owner):
            await db.revoke(key, keep=False)

    return Attempt(work)


async def update_query(db: Debros) -> Attempt:
    shelf, _ = await a_shelf(3)
    query = Book.where(Book.shelf_id == shelf.id)
    return Attempt(lambda: query.update(n=len(shelf.label)))


async def delete_query(db: Debros) -> Attempt:
    shelf, _ = await a_shelf(3)
    query = Book.where(Book.shelf_id == shelf.id)
    return Attempt(query.delete)


WRITES = (
    create, create_plain, save_new, create_many, save, update, delete, delete_cascade, restore, upsert_new, upsert_old,
    get_or_create_new, increment, add_ids, remove_ids, add_links, remove_links, transaction, savepoint, acting_as, grant,
    revoke, revoke_device, update_query, delete_query,
)  # fmt: skip


async def reads(db: Debros) -> dict[str, Work]:
    shelf, (book, other) = await a_shelf()
    query = Book.query().where("shelf_id", shelf.id)
    one = Book.query().where("id", book.id)

    async def the_books() -> object:
        return await shelf.books

    async def the_shelf() -> object:
        return await (await Book.get(book.id)).shelf

    return {
        "Model.get": lambda: Book.get(book.id),
        "Model.get_or_none": lambda: Book.get_or_none("nobody"),
        "Model.get_many": lambda: Book.get_many([other.id, book.id]),
        "Model.get_or_create": lambda: Shelf.get_or_create(id=shelf.id),
        "Model.find_one": lambda: Book.find_one(Book.title == "b 0"),
        "Model.all": Book.all,
        "Model.count": Book.count,
        "Model.refresh": book.refresh,
        "Model.history": book.history,
        "Model.blame": book.blame,
        "Model.conflicts": book.conflicts,
        "Query.all": query.all,
        "Query.find": query.include(Book.shelf).find,
        "Query.first": query.first,
        "Query.one": one.one,
        "Query.one_or_none": one.one_or_none,
        "Query.exists": query.exists,
        "Query.count": query.count,
        "Query.sum": lambda: query.sum(Book.n),
        "Query.avg": lambda: query.avg(Book.n),
        "Query.min": lambda: query.min(Book.title),
        "Query.max": lambda: query.max("title"),
        "Query.page": query.limit(1).page,
        "Query.paginate": lambda: query.paginate(1, 1),
        "Query.explain": query.explain,
        "Query.get": query.get,
        "Query.exec": query.exec,
        "Query.find_one": query.find_one,
        "Query.first_or_fail": query.with_count(Book.shelf).first_or_fail,
        "Query.find_or_fail": query.find_or_fail,
        "Query.average": lambda: query.average("n"),
        "Query.count_distinct": lambda: query.count_distinct("title"),
        "Query.chunk": lambda: query.chunk(1, lambda rows: True),
        "Query.to_arrow": query.to_arrow,
        "Query.to_pandas": query.to_pandas,
        "Grouped.aggregate": lambda: query.group_by(Book.title).aggregate(debros.count()),
        "Related.__await__": the_shelf,
        "RelatedMany.__await__": the_books,
        "Debros.owners": db.owners,
        "Debros.fingerprint": db.fingerprint,
        "Debros.past": lambda: db.past(2**62),
        "Debros.health": db.health,
        "Debros.audit": db.audit,
        "Debros.measured": lambda: db.measured(Book.count()),
    }


# -- what is before and after -------------------------------------------------------------------------------------


def shows(db: Debros) -> Counter[tuple[Any, ...]]:
    """All rows of all users, without what is new each time: ids, and what the log knows of them."""
    rows: Counter[tuple[Any, ...]] = Counter()
    for name, opened in db.store.models.items():
        table = opened.table
        for row in db.store.view.read(f'{table.select} WHERE "_hidden" = 0', ()):
            rows[(name, *(_alike(v) for v in row[1 : table.system_at]))] += 1
    return rows


def _alike(value: Any) -> Any:
    return (
        "id" if isinstance(value, str) and value.count("-") == 4 else type(value) if isinstance(value, bytes) else value
    )


def state(db: Debros) -> dict[str, Any]:
    """Everything that a write changes."""
    db.store.view.hide_provisional()
    db.store.flush()
    return {
        "end": db.store.log.end,
        "entries": db.store.entries.next_e,
        "heads": {replica.n: set(replica.heads) for replica in db.store.by_number.values() if replica.heads},
        "rows": shows(db),
    }


def memory(record: Model) -> dict[str, Any]:
    """What a record holds; its sets are copied, for they change in place."""
    return {name: set(v) if isinstance(v, set) else v for name, v in vars(record).items() if v or name[0] != "_"}


@asynccontextmanager
async def a_node(durability: Literal["disk", "process"], threads: bool) -> AsyncIterator[Debros]:
    with quick_directory() as folder:
        files = MemoryFiles()
        env: Any = SYSTEM if threads else QuietEnv()
        options: dict[str, Any] = {"env": env, "models": MODELS, "identity": ROOT, "admins": [ROOT.did]}
        async with a_node_on(files, folder, durability=durability, max_segment_bytes=1 << 20, **options) as db:
            yield db
            last, fingerprint = state(db), await db.fingerprint()
        forget_view(folder)
        async with a_node_on(files, folder, durability=durability, max_segment_bytes=1 << 20, **options) as db:
            assert (state(db)["rows"], await db.fingerprint()) == (last["rows"], fingerprint)


async def attempt_all(db: Debros, prepare: Callable[[Debros], Awaitable[Attempt]], *, busy: bool) -> tuple[int, int]:
    """Cancel at each checkpoint in turn; return how often nothing was written, and how often all of it."""
    deltas: list[tuple[int, Counter[tuple[Any, ...]], Counter[tuple[Any, ...]]]] = []
    undone = nth = 0
    with counted_checkpoints() as checkpoints:
        for nth in range(200):
            attempt = await prepare(db)
            before, held = state(db), [memory(record) for record in attempt.records]
            async with trio.open_nursery() as nursery:
                if busy:
                    nursery.start_soon(hold_the_log, db)
                    await wait_all_tasks_blocked()
                await checkpoints.run(attempt.work, nth)
            after = state(db)
            if after == before:
                undone += 1
                if not attempt.assigns:
                    assert [memory(record) for record in attempt.records] == held
                assert [record.is_new for record in attempt.records] == ["_row" not in one for one in held]
            else:
                deltas.append(
                    (
                        after["entries"] - before["entries"],
                        after["rows"] - before["rows"],
                        before["rows"] - after["rows"],
                    )
                )
                for record in attempt.records:
                    assert not record.is_new
                    assert record.changes == {}
            with trio.fail_after(10):
                assert (await Shelf.get((await Shelf.create(label="free")).id)).label == "free"
            if checkpoints.count <= nth:  # it came to its end
                break
    assert nth < 199
    assert deltas, "it never wrote"
    assert all(delta == deltas[-1] for delta in deltas)
    return undone, len(deltas)


async def hold_the_log(db: Debros) -> None:
    """Hold the writer's lock until nothing else can go on."""
    async with db.store.writer.exclusive():
        await wait_all_tasks_blocked()


@pytest.mark.parametrize("prepare", WRITES, ids=lambda prepare: prepare.__name__)
@pytest.mark.parametrize("durability", ["disk", "process"])
async def test_a_write_that_is_cancelled_anywhere_is_done_or_not(
    prepare: Callable[[Debros], Awaitable[Attempt]], durability: Literal["disk", "process"]
) -> None:
    async with a_node(durability, threads=False) as db:
        undone, done = await attempt_all(db, prepare, busy=False)
        assert undone >= 1
        assert done >= 1


@pytest.mark.parametrize("prepare", WRITES, ids=lambda prepare: prepare.__name__)
@pytest.mark.parametrize("durability", ["disk", "process"])
async def test_a_write_that_is_cancelled_while_others_hold_the_log_is_done_or_not(
    prepare: Callable[[Debros], Awaitable[Attempt]], durability: Literal["disk", "process"]
) -> None:
    async with a_node(durability, threads=False) as db:
        undone, done = await attempt_all(db, prepare, busy=True)
        assert undone >= 1
        assert done >= 1


@pytest.mark.parametrize("prepare", [create, transaction, delete_cascade], ids=lambda prepare: prepare.__name__)
async def test_a_write_whose_sync_is_in_a_thread_is_done_or_not(
    prepare: Callable[[Debros], Awaitable[Attempt]],
) -> None:
    async with a_node("disk", threads=True) as db:
        await attempt_all(db, prepare, busy=False)


@pytest.mark.parametrize("durability", ["disk", "process"])
@pytest.mark.parametrize("place", [0, 1, 2])  # in the queue: the first leads the others
async def test_a_saver_that_is_cancelled_takes_no_other_one_along(
    place: int, durability: Literal["disk", "process"]
) -> None:
    async with a_node(durability, threads=False) as db:
        with counted_checkpoints() as checkpoints:
            nth = 0
            while nth < 100:
                before = await Shelf.count()
                saved: list[int] = []

                async def save(n: int, nth: int = nth, saved: list[int] = saved) -> None:
                    if n == place:
                        await checkpoints.run(lambda: Shelf.create(label="cancelled"), nth)
                    else:
                        await Shelf.create(label="not cancelled")
                        saved.append(n)

                async with trio.open_nursery() as nursery, db.store.writer.exclusive():
                    for n in range(3):  # they queue in this order, and make one group
                        nursery.start_soon(save, n)
                        await wait_all_tasks_blocked()
                assert len(saved) == 2
                assert await Shelf.query().where("label", "not cancelled").count() == 2 * (nth + 1)
                assert await Shelf.count() - before in (2, 3)
                nth += 1
                if checkpoints.count < nth:
                    break
            assert nth < 100
        assert db.status().entries == await Shelf.count()


def awaited(owner: type) -> set[str]:
    """Names of what a class has that is awaited, or entered by `async with`."""
    found = {"__await__"} & vars(owner).keys()
    for name, value in ((n, v) for cls in owner.__mro__ for n, v in vars(cls).items() if n[0] != "_"):
        function = inspect.unwrap(getattr(value, "__func__", value)) if not isinstance(value, property) else None
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            found.add(name)
    return found


async def test_every_public_coroutine_is_cancelled_here() -> None:
    async with a_node("process", threads=False) as db:
        read = set(await reads(db))
    written = {
        "Model.create", "Model.create_many", "Model.save", "Model.update", "Model.delete", "Model.restore", "Model.upsert",
        "Model.increment", "RelatedMany.add", "RelatedMany.remove", "Debros.grant", "Debros.revoke", "Query.update",
        "Query.delete",
    }  # fmt: skip
    opened = {"Debros.transaction", "Debros.acting_as", "Debros.close"}
    opened |= {"Model.settled", "Debros.synced", "Debros.follow", "Debros.unfollow"}  # with peers: tests/sync
    opened |= {"Debros.export_car", "Debros.import_car"}  # tests/content
    elsewhere = {"Model.create", "RelatedMany.__await__"}  # of the metaclass, and inherited
    opened.add("Query.__await__")  # which only says what to await instead
    public = elsewhere | {
        f"{owner.__name__}.{name}"
        for owner in (Model, Query, Grouped, Related, RelatedMany, Debros)
        for name in awaited(owner)
    }
    assert public == read | written | opened


async def test_a_read_that_is_cancelled_changes_nothing() -> None:
    async with a_node("process", threads=False) as db:
        for name, work in (await reads(db)).items():
            before, nth = state(db), 0
            with counted_checkpoints() as checkpoints:
                for nth in range(100):
                    await checkpoints.run(work, nth)
                    if checkpoints.count <= nth:
                        break
            assert nth < 99, name
            assert state(db) == before, name
            assert await work() is not checkpoints, name


@pytest.mark.parametrize("threads", [False, True])
async def test_opening_and_closing_that_are_cancelled_leave_a_home_that_opens(threads: bool) -> None:
    made: set[str] = set()
    nth = 0
    env: Any = SYSTEM if threads else QuietEnv()
    files = MemoryFiles()
    with quick_directory() as folder, counted_checkpoints() as checkpoints:

        async def work() -> None:
            async with a_node_on(files, folder, env=env, models=MODELS):
                shelf = await Shelf.create(label="made")
                made.add(shelf.id)
                await trio.lowlevel.checkpoint()

        for nth in range(100):
            before = len(made)
            was_cancelled = await checkpoints.run(work, nth)
            with pytest.raises(debros.NoNodeError):
                debros.current_node()
            if checkpoints.count <= nth:
                break
            assert was_cancelled or len(made) > before
        assert nth < 99
        async with a_node_on(files, folder, env=env, models=MODELS):
            assert {shelf.id for shelf in await Shelf.all()} == made
