"""`save(if_unchanged=True)` refuses whenever anything came since the record was loaded, and only then."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from debros import Field, Identity, Model, One, belongs_to, field, model
from debros.current import choosing
from debros.errors import ConflictError
from debros.node import Debros
from debros.opening import open as open_node
from tests.support.copying import carry


@model(scope="global")
class Shelf(Model):
    """Where books stand."""

    name: Field[str] = field(default="")


@model(scope="global")
class Book(Model):
    """What two people edit."""

    title: Field[str] = field(default="")
    pages: Field[int] = field(default=0)
    read: Field[int] = field(default=0, merge="counter")
    tags: Field[set[str]] = field(default_factory=set)
    shelf_id: Field[str | None] = field(default=None)
    shelf: One[Shelf | None] = belongs_to("shelf_id", on_delete="set_null")


ADMIN, BO = (Identity.from_seed(bytes([n]) * 32) for n in (1, 2))
Edit = Callable[[Book], Awaitable[Book]]
EDITS: tuple[Edit, ...] = (
    lambda book: book.update(title="b"),
    lambda book: book.update(read=3),
    lambda book: book.update(tags={"b"}),
)


@asynccontextmanager
async def two_nodes() -> AsyncIterator[tuple[Debros, Debros]]:
    shared = {"models": [Shelf, Book], "open": True, "admins": [ADMIN.did]}
    async with (
        open_node(":memory:", identity=ADMIN, **shared) as here,  # type: ignore[arg-type]  # of several types
        open_node(":memory:", identity=BO, **shared) as there,  # type: ignore[arg-type]  # as above
    ):
        yield here, there


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("edited", [False, True])  # whether the book was before: its row has no state or has one
async def test_an_edit_that_comes_late_is_no_less_one(edit: Edit, edited: bool) -> None:
    async with two_nodes() as (here, there):
        with choosing(node=here):
            book = await Book.create(title="a")
            if edited:
                await book.update(pages=1)
        await carry(here, there)
        with choosing(node=there):
            await edit(await Book.get(book.id))
        with choosing(node=here):
            await book.update(pages=2)  # newer than theirs, which is not here yet
            [by_query], by_id = await Book.query().all(), await Book.get(book.id)
        await carry(there, here)
        for loaded in (by_query, by_id):
            loaded.pages = 3
            with pytest.raises(ConflictError):
                await loaded.save(if_unchanged=True)
        with choosing(node=here):
            [fresh] = await Book.query().all()
            fresh.pages = 3
            await fresh.save(if_unchanged=True)


async def test_what_a_revocation_takes_away_has_changed() -> None:
    async with two_nodes() as (here, there):
        with choosing(node=here):
            book = await Book.create(title="a")
        await carry(here, there)
        with choosing(node=there):
            await (await Book.get(book.id)).update(title="b")
        with choosing(node=here):
            await book.update(pages=2)
            await carry(there, here)
            loaded = await Book.get(book.id)
            await here.revoke(BO.did, keep=False)
            loaded.pages = 3
            with pytest.raises(ConflictError):
                await loaded.save(if_unchanged=True)


@pytest.mark.parametrize("deleted_first", [False, True])
async def test_an_effect_of_another_record_writes_nothing_to_this(deleted_first: bool) -> None:
    async with two_nodes() as (here, _):
        with choosing(node=here):
            shelf = await Shelf.create()
            await Book.create(title="a", shelf_id=shelf.id)
            if deleted_first:
                await shelf.delete()
            [loaded] = await Book.query().all()
            await (shelf.restore() if deleted_first else shelf.delete())
            loaded.title = "b"
            await loaded.save(if_unchanged=True)
            assert [one.title for one in await Book.all()] == ["b"]
