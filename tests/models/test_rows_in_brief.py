"""Records hold rows in brief; all of a row can be told later, as it was when it was read."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import debros
from debros import Field, Model, computed, field, model
from debros.node import Debros
from debros.replica.tables import Row


@model(name="brief_note")
class Note(Model):
    title: Field[str] = field(default="", max_length=3)
    likes: Field[int] = field(default=0, merge="counter")
    tags: Field[set[str]] = field(default_factory=set)
    colour: Field[str] = field(default="red", merge="keep")
    price: Field[Decimal] = field(default=Decimal(0), index=True)

    @computed(index=True)
    def shout(self) -> str:
        return self.title.upper()


IDS = ("a", "b", "c")
STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "add", "like", "delete", "look"]), st.sampled_from(IDS), st.integers(0, 3)),
    max_size=14,
)


def whole_rows(db: Debros) -> dict[str, Row]:
    """What the view itself has of the rows that show."""
    home = db.collection(Note.__schema__)
    return {row[0]: row for row in home.read(f'{home.table.select} WHERE "_hidden" = 0', ())}


def without_number(db: Debros, row: Row) -> Row:
    at = db.collection(Note.__schema__).table.doc_at
    return (*row[:at], *row[at + 1 :])


async def step(what: str, id: str, n: int) -> None:
    note = await Note.get_or_none(id)
    if what == "delete":
        if note is not None:
            await note.delete()
    elif what == "like":
        if note is not None:
            await Note.increment(id, likes=n)
    elif note is None:
        await Note(id=id, title=str(n), tags={str(n)}).save()
    elif what == "add":
        note.tags ^= {str(n)}
        note.colour = f"colour {n}"
        await note.save()
    elif what == "write":
        note.title = str(n)
        note.price = Decimal(n) / 4
        await note.save()


def in_a_node(check: Callable[[Debros], Any]) -> None:
    async def run() -> None:
        async with debros.open(":memory:", app="brief", models=[Note]) as db:
            await check(db)

    trio.run(run)


@settings(max_examples=40)
@given(STEPS)
def test_all_of_a_row_read_in_brief_is_what_it_was_when_it_was_read(steps: list[tuple[str, str, int]]) -> None:
    async def check(db: Debros) -> None:
        home = db.collection(Note.__schema__)
        read: list[tuple[Row, Row]] = []  # in brief, and whole, at the same time
        for what, id, n in steps:
            await step(what, id, n)
            now = whole_rows(db)
            for note in await Note.query().all():
                row: Any = note._row
                assert len(row) == home.table.brief_width, "a query reads in brief"
                assert home.whole(row) == now[note.id]
                read.append((row, now[note.id]))
        for brief, whole in read:
            assert without_number(db, home.whole(brief)) == without_number(db, whole)
            assert home.whole(whole) is whole

    in_a_node(check)


async def test_a_row_that_is_hidden_since_is_told_as_it_was() -> None:
    async with debros.open(":memory:", app="brief", models=[Note]) as db:
        await Note(id="a", title="x").save()
        [note] = await Note.query().all()
        await (await Note.get("a")).delete()
        assert not note.meta.is_deleted, "as of the version that the object holds"
        assert (await Note.get("a", deleted=True)).meta.is_deleted
        assert note.meta.cid == (await note.history())[0].cid
        assert len(whole_rows(db)) == 0


async def test_a_flag_is_told_as_it_was() -> None:
    async with debros.open(":memory:", app="brief", models=[Note]):
        await Note(id="a", title="x").save()
        [note] = await Note.query().all()
        await Note.increment("a", likes=2**62)
        await Note.increment("a", likes=2**62)  # beyond 64 bits
        [later] = await Note.query().all()
        assert not note.meta.flagged
        assert later.meta.flagged


async def test_what_a_query_found_ends_only_the_additions_it_saw() -> None:
    async with debros.open(":memory:", app="brief", models=[Note]):
        await Note(id="a", tags={"x"}).save()
        [seen] = await Note.query().all()
        other = await Note.get("a")
        other.tags.remove("x")
        await other.save()
        other.tags.add("x")  # anew, which `seen` does not know of
        await other.save()
        seen.tags.remove("x")
        await seen.save()
        assert (await Note.get("a")).tags == {"x"}


async def test_what_a_query_found_replaces_only_the_values_it_saw() -> None:
    async with debros.open(":memory:", app="brief", models=[Note]):
        await Note(id="a").save()
        [seen] = await Note.query().all()
        other = await Note.get("a")
        other.colour = "blue"
        await other.save()
        seen.colour = "green"
        await seen.save()
        assert set(await (await Note.get("a")).conflicts()) == {"colour"}, "blue was not seen, so it is not replaced"


async def test_inside_a_transaction_rows_are_read_whole() -> None:
    async with debros.open(":memory:", app="brief", models=[Note]) as db:
        async with db.transaction():
            await Note(id="a", title="x").save()
            [note] = await Note.query().all()
            assert note.meta.created_at is not None
            note.tags.add("y")
            await note.save()
        assert (await Note.get("a")).tags == {"y"}


async def edited_and_undone(db: Debros, note: Note) -> None:
    async with db.transaction():
        note.tags.remove("x")
        await note.save()
        _ = 1 // 0


async def test_a_record_that_was_read_before_a_transaction_is_edited_inside() -> None:
    async with debros.open(":memory:", app="brief", models=[Note]) as db:
        await Note(id="a", tags={"x", "y"}).save()
        [note] = await Note.query().all()
        with pytest.raises(ZeroDivisionError):
            await edited_and_undone(db, note)
        assert note.tags == {"y"}, "an edit stays, unsaved"
        async with db.transaction():
            await note.save()
        assert (await Note.get("a")).tags == {"y"}
