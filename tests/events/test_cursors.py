"""Cursors: whoever comes back with one is told exactly what was missed, from the log itself."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import debros
from debros import Field, Model, model
from tests.support.delivering import deliver
from tests.support.events import all_events, told
from tests.support.nodes import a_node
from tests.support.writing import AUTHORS, STEPS, Author, Post, write


@model(name="CursorNote")
class Note(Model):
    title: Field[str]


def facts(events: list[Any]) -> list[Any]:
    return [(e.kind, e.id, e.changes, e.row and e.row.to_dict(), e.author, e.at, e.origin, e.cursor) for e in events]


@settings(max_examples=30)
@given(st.lists(STEPS, min_size=1, max_size=12))
def test_a_resumed_subscription_is_told_exactly_what_it_missed(steps: list[Any]) -> None:
    async def main() -> None:
        async with a_node(Author, Post) as here, a_node(Author, Post) as there:
            for model_ in (Author, Post):
                assert await all_events(here, model_) == []
            async with here.events.subscribe(Post) as posts, here.events.subscribe(Author, on="conflict") as conflicts:
                with here.current():
                    for name in AUTHORS:
                        await Author.create(id=name, name=name)
                live: list[Any] = []
                await deliver(here, there)
                for where, operation, looks in steps:
                    with (here if where == "here" else there).current():
                        await write(operation)
                    if where == "there and back":
                        await deliver(there, here)
                    if looks:
                        live += await told(posts)
                await deliver(there, here)
                live += await told(posts)
                await told(conflicts)
            told_now = facts(live)
            assert facts(await all_events(here, Post)) == told_now  # the log says the same, from its start
            for n, event in enumerate(live):
                assert facts(await all_events(here, Post, since=event.cursor)) == told_now[n + 1 :]

    trio.run(main)


async def test_a_cursor_outlives_the_session_and_the_view(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with debros.open(home, app="notes", models=[Note]) as node:
        for n in range(5):
            await Note.create(title=str(n))
        second = (await all_events(node, Note))[1]
    for stale in home.glob("view.sqlite*"):
        stale.unlink()
    async with debros.open(home, app="notes", models=[Note]) as node:
        await Note.create(title="5")
        left = await all_events(node, Note, since=second.cursor)
        assert [event.row.title for event in left] == ["2", "3", "4", "5"]


async def test_a_subscriptions_own_cursor_goes_on_where_it_is() -> None:
    async with a_node(Note) as node:
        async with node.events.subscribe(Note) as events:
            assert events.cursor == "start"
            await Note.create_many([{"title": "a"}, {"title": "b"}])  # two events of one entry
            await anext(events)
            middle = events.cursor
            await anext(events)
            end = events.cursor
        assert [event.row.title for event in await all_events(node, Note, since=middle)] == ["b"]
        assert await all_events(node, Note, since=end) == []
        await Note.create(title="c")
        assert [event.row.title for event in await all_events(node, Note, since=end)] == ["c"]


async def test_cursors_of_other_homes_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    async with a_node(Note) as here, a_node(Note) as there:
        with here.current():
            await Note.create(title="a")
        await deliver(here, there)
        [event] = await all_events(here, Note)
        with pytest.raises(debros.CursorError, match="another home"):
            await all_events(there, Note, since=event.cursor)
        for damaged in ("", "x", "start ", event.cursor[:-4], event.cursor + "=", event.cursor + "AAAA", "é"):
            with pytest.raises(debros.CursorError, match="damaged"):
                await all_events(here, Note, since=damaged)
        with pytest.raises(debros.CursorError, match="text"):
            await all_events(here, Note, since=3)  # type: ignore[arg-type]  # that is the point


async def test_a_cursor_of_what_the_log_lost_is_refused(tmp_path: Path) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy"
    async with debros.open(home, app="notes", models=[Note]):
        await Note.create(title="kept")
    copytree(home / "log", copy)
    async with debros.open(home, app="notes", models=[Note]) as node:
        await Note.create(title="lost")
        lost = (await all_events(node, Note))[-1].cursor
    rmtree(home / "log")
    copytree(copy, home / "log")
    async with debros.open(home, app="notes", models=[Note]) as node:
        await Note.create(title="new")
        with pytest.raises(debros.CursorError):
            await all_events(node, Note, since=lost)
        assert [event.row.title for event in await all_events(node, Note)] == ["kept", "new"]


async def test_a_home_in_which_only_others_wrote_goes_on_from_its_cursor_after_a_restart(tmp_path: Path) -> None:
    async with a_node(Note) as there:
        with there.current():
            await Note.create(title="by another")
        async with debros.open(tmp_path, models=[Note]) as here:
            await deliver(there, here)
            [first] = await all_events(here, Note)
        with there.current():
            await Note.create(title="while away")
        async with debros.open(tmp_path, models=[Note]) as here:
            await deliver(there, here)
            [missed] = await all_events(here, Note, since=first.cursor)
            assert missed.changes["title"] == (None, "while away")
