"""`query.changes(since=)`: what changed while nobody listened comes first, joined, from the log itself."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import debros
from debros import Field, Model, One, belongs_to, field, model
from tests.support.events import told
from tests.support.nodes import a_node


@model(name="SinceNote")
class Note(Model):
    title: Field[str]
    n: Field[int] = field(default=0)


@model(name="SinceChild")
class Child(Model):
    note_id: Field[str | None] = field(default=None)
    note: One[Note | None] = belongs_to("note_id", on_delete="cascade")


WRITES = st.tuples(st.sampled_from("abcd"), st.sampled_from([0, 1, 2, 3, None]))


async def write(id: str, n: int | None) -> None:
    if n is not None:
        note = await Note.get_or_none(id)
        if note is not None:
            await note.update(n=n)
        elif await gone(id) is not None:
            await (await Note.get(id, deleted=True)).restore()
        else:
            await Note.create(id=id, title=id, n=n)
    elif (note := await Note.get_or_none(id)) is not None:
        await note.delete()


async def gone(id: str) -> Any:
    try:
        return await Note.get(id, deleted=True)
    except debros.NotFoundError:
        return None


@settings(max_examples=30, deadline=None)
@given(st.lists(WRITES, max_size=8), st.lists(WRITES, max_size=8), st.lists(WRITES, max_size=4))
def test_a_copy_that_goes_on_from_a_cursor_is_the_query_run_afresh(first: Any, meanwhile: Any, after: Any) -> None:
    async def main() -> None:
        query = Note.where(Note.n > 0)
        async with a_node(Note):
            copy: dict[str, int] = {}
            cursor = "start"
            async with query.changes() as changes:
                for one in first:
                    await write(*one)
                for change in await told(changes):
                    take(copy, change)
                    cursor = change.cursor
            for one in meanwhile:
                await write(*one)
            async with query.changes(since=cursor) as changes:
                for one in after:
                    await write(*one)
                for change in await told(changes):
                    take(copy, change)
            assert copy == {note.id: note.n for note in await query.all()}

    trio.run(main)


def take(copy: dict[str, int], change: Any) -> None:
    if change.kind == "removed":
        copy.pop(change.row.id, None)
    else:
        copy[change.row.id] = change.row.n


async def test_a_cursor_in_the_middle_of_a_batch_tells_the_rest_again() -> None:
    async with a_node(Note):
        async with Note.query().changes() as changes:
            await Note.create_many([{"id": "a", "title": "a"}, {"id": "b", "title": "b"}])
            middle = (await anext(changes)).cursor
            end = (await anext(changes)).cursor
        async with Note.query().changes(since=middle) as changes:
            assert [change.row.id for change in await told(changes)] == ["a", "b"]
        async with Note.query().changes(since=end) as changes:
            assert await told(changes) == []


async def test_what_the_log_alone_does_not_tell_is_refused() -> None:
    async with a_node(Note, Child):
        for query in (Note.query().limit(3), Child.query(), Note.query().offset(1)):
            with pytest.raises(debros.QueryError, match="live"):
                async with query.changes(since="start"):
                    pass
        with pytest.raises(debros.CursorError):
            async with Note.query().changes(since="nonsense"):
                pass
