"""A view that is made anew has the indexes of one that grew with its log, though they are built when all rows are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest
import trio

import debros
from debros import Field, Index, Model, One, belongs_to, field, model
from debros.errors import StorageError
from debros.replica import opening


@model(scope="global", name="Shelf")
class Shelf(Model):
    name: Field[str] = field(unique=True)


@model(scope="global", name="Book", indexes=[Index("-pages", "title"), Index("facts.isbn")])
class Book(Model):
    title: Field[str]
    pages: Field[int] = field(default=0, index=True)
    tags: Field[set[str]] = field(default_factory=set, index=True)
    facts: Field[dict[str, str]] = field(default_factory=dict)
    shelf_id: Field[str | None] = field(default=None, index=True)
    shelf: One[Shelf | None] = belongs_to("shelf_id", on_delete="cascade")


MODELS: list[Any] = [Shelf, Book]


async def fill(home: Path) -> str:
    """Write shelves and books, change and delete some; return the fingerprint of what shows."""
    async with debros.open(home, models=MODELS) as db:
        shelves = [await Shelf.create(name=f"shelf {n}") for n in range(4)]
        for n in range(40):
            book = await Book.create(
                title=f"book {n}",
                pages=n,
                tags={f"t{n % 3}", "all"},
                facts={"isbn": str(n)},
                shelf_id=shelves[n % 4].id,
            )
            if n % 5 == 0:
                await book.update(pages=1000 + n, tags={"changed"})
            if n % 7 == 0:
                await book.delete()
        await shelves[1].delete()
        return await db.fingerprint()


async def test_a_view_whose_index_lost_an_entry_is_damaged_and_made_anew(tmp_path: Path) -> None:
    before = await fill(tmp_path)
    async with debros.open(tmp_path, models=MODELS) as db:
        db.store.view.db.execute("DELETE FROM entries")
        with pytest.raises(StorageError, match="no entry has the number 1"):
            db.store.entries.by_number(1)
    async with debros.open(tmp_path, models=MODELS) as db:
        assert db.status().rebuilt
        assert await db.fingerprint() == before


def statements(home: Path) -> dict[str, str]:
    """Return what SQLite has to say of each table, index and trigger of the view."""
    db = apsw.Connection(str(home / "view.sqlite"))
    try:
        return dict(db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall())
    finally:
        db.close()


async def answers() -> list[Any]:
    """Ask questions that each index answers."""
    return [
        [book.title for book in await Book.where(Book.pages >= 1000).order_by(Book.pages.desc()).all()],
        [book.title for book in await Book.where(Book.tags.contains("changed")).order_by("title").all()],
        [book.title for book in await Book.where(Book.facts.path("isbn") == "12").all()],
        await Book.where(~Book.shelf_id.is_null()).count(),
        [shelf.name for shelf in await Shelf.where(Shelf.name == "shelf 2").all()],
    ]


async def test_it_has_the_same_indexes_and_answers(tmp_path: Path) -> None:
    shown = await fill(tmp_path)
    grown = statements(tmp_path)
    async with debros.open(tmp_path, models=MODELS):
        answered = await answers()
    (tmp_path / "view.sqlite").unlink()
    async with debros.open(tmp_path, models=MODELS) as db:
        assert await db.fingerprint() == shown
        assert await answers() == answered
        assert not db.indexing
    assert statements(tmp_path) == grown


async def test_unique_values_and_effects_hold_while_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(tmp_path)
    (tmp_path / "view.sqlite").unlink()
    there: list[set[str]] = []

    def look(view: Any, builds: list[Any]) -> None:
        there.append({name for (name,) in view.db.execute("SELECT name FROM sqlite_master WHERE type = 'index'")})
        built(view, builds)

    built = opening.build_now
    monkeypatch.setattr(opening, "build_now", look)
    async with debros.open(tmp_path, models=MODELS):
        pass
    needed = {sql.split('"')[1] for sql in statements(tmp_path).values() if '"f_name"' in sql or '("f_shelf_id"' in sql}
    assert needed & {name for name in needed if name.startswith("i_")} <= there[0]
    assert not any(name.startswith("x_") for name in there[0])  # the tags came last


async def test_a_crash_before_they_are_built_leaves_them_to_the_next_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = await fill(tmp_path)
    grown = statements(tmp_path)
    (tmp_path / "view.sqlite").unlink()

    def crash(view: Any, builds: list[Any]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(opening, "build_now", crash)
        with pytest.raises(KeyboardInterrupt):
            await debros.open(tmp_path, models=MODELS).__aenter__()
    assert statements(tmp_path) != grown
    async with debros.open(tmp_path, models=MODELS) as db:
        while db.indexing:
            await trio.lowlevel.checkpoint()
        assert await db.fingerprint() == shown
    assert statements(tmp_path) == grown
