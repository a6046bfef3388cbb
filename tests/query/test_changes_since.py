"""`query.changes(since=)`: what changed while nobody listened comes first, joined, from the log itself."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import debros
from debros import Field, Identity, Model, One, belongs_to, field, migration, model
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


@settings(max_examples=30)
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


STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "drop", "keep", "grant"]), st.sampled_from("ab"), st.booleans()),
    min_size=2,
    max_size=8,
)


@settings(max_examples=20)
@given(STEPS)
def test_a_copy_goes_on_over_what_was_revoked_and_granted_meanwhile(steps: Any) -> None:
    async def main() -> None:
        query, ana, bo = Note.where(Note.n > 0), Identity.generate(), Identity.generate()
        copy: dict[str, int] = {}
        cursor = "start"
        async with a_node(Note, identity=ana, admins=[ana.did], open=True) as db:
            for what, id, looks in (*steps, ("look", "", True)):
                if what == "write":
                    async with db.acting_as(bo):
                        with suppress(debros.PermissionDeniedError):
                            await Note.upsert(id, title=id, n=1)
                elif what == "grant":
                    await db.grant(bo.did)
                elif what != "look":
                    await db.revoke(bo.did, keep=what == "keep")
                if looks:
                    async with query.changes(since=cursor) as changes:
                        for change in await told(changes):
                            take(copy, change)
                            cursor = change.cursor
                    assert copy == {note.id: note.n for note in await query.all()}

    trio.run(main)


async def test_records_that_a_revocation_took_away_meanwhile_are_removed_and_come_back_by_a_grant() -> None:
    ana, bo = Identity.generate(), Identity.generate()
    async with a_node(Note, identity=ana, admins=[ana.did], open=True) as db:
        async with Note.query().changes() as changes:
            async with db.acting_as(bo):
                await Note.create(id="b", title="by bo")
            await Note.create(id="a", title="by ana")
            cursor = [change.cursor for change in await told(changes)][-1]
        await db.revoke(bo.did, keep=False)
        async with Note.query().changes(since=cursor) as changes:
            [change] = await told(changes)
        assert (change.kind, change.row.id, change.row.title) == ("removed", "b", "by bo")
        await db.grant(bo.did)
        async with Note.query().changes(since=change.cursor) as changes:
            [change] = await told(changes)
        assert (change.kind, change.row.id) == ("added", "b")


@model(name="SinceTask", version="1.0.0")
class Task1(Model):
    title: Field[str]


@model(name="SinceTask", version="1.1.0")
class Task2(Model):
    title: Field[str]
    size: Field[int] = field(default=0)


SIZE = (
    migration("size", "1.1.0")
    .add_field("SinceTask", "size", default=0)
    .transform("SinceTask", up=lambda row: {**row, "size": len(row["title"])}, down=lambda row: row)
)


async def test_a_cursor_of_before_a_migration_of_the_model_is_refused(tmp_path: Path) -> None:
    async with debros.open(tmp_path, models=[Task1, Note]):
        await Task1.create(title="seven77")
        note = await Note.create(title="no part of it")
        async with Task1.query().changes(since="start") as changes:
            [change] = await told(changes)
        async with Note.query().changes(since="start") as changes:
            [other] = await told(changes)
    async with debros.open(tmp_path, models=[Task2, Note], migrations=[SIZE]) as db:
        await db.migrations.apply()
        with pytest.raises(debros.CursorError, match="before a migration"):
            async with Task2.where(Task2.size > 3).changes(since=change.cursor):
                pass
        await (await Note.get(note.id)).update(n=5)
        async with Note.query().changes(since=other.cursor) as changes:
            assert [change.row.n for change in await told(changes)] == [5]
        async with Task2.where(Task2.size > 3).changes(since="start") as changes:
            [change] = await told(changes)
        await db.migrations.rollback()
        with pytest.raises(debros.CursorError, match="before a migration"):
            async with Task2.query().changes(since=change.cursor):
                pass
