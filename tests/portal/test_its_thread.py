"""A node lives in one thread: what may be asked from anywhere is answered there, and nothing else gets in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

import debros
from debros import Field, Model, model
from debros.env import SystemEnv
from debros.errors import ClosedError, NoNodeError
from tests.support.threads import in_thread


@model(name="ThreadNote")
class Note(Model):
    title: Field[str]


@model(scope="user", name="ThreadDiary")
class Diary(Model):
    text: Field[str]


MODELS = [Note, Diary]


def test_what_the_log_knows_of_a_record_is_told_to_any_thread(tmp_path: Path) -> None:
    with debros.blocking(tmp_path, models=MODELS, row_cache=1) as db:
        made = db.run(Note.create(title="a"))
        [note] = db.run(Note.where(Note.title == "a").all())
        assert in_thread(lambda: note.meta.cid) == note.meta.cid == made.meta.cid
        one, other = db.run(Diary.create(text="x")), db.run(Diary.all())[0]
        assert in_thread(lambda: one == other) is True
        assert in_thread(lambda: db.node.status().entries) == 2
        assert in_thread(lambda: db.node.metrics().entries) == 2
        assert in_thread(db.node.sync_status) == []


def test_the_view_is_for_the_nodes_thread_alone(tmp_path: Path) -> None:
    with debros.blocking(tmp_path, models=MODELS) as db:
        with pytest.raises(NoNodeError, match="lives in a loop of its own"):
            db.node.store.view.read("SELECT 1", ())
        node = db.node
    with pytest.raises(ClosedError):
        node.status()


async def test_a_record_is_looked_at_in_the_threads_of_a_program_on_trio(tmp_path: Path) -> None:
    async with debros.open(tmp_path, models=MODELS, row_cache=1) as db:
        note = await Note.create(title="a")
        assert await trio.to_thread.run_sync(lambda: note.meta.cid) == note.meta.cid
        assert isinstance(in_thread(lambda: db.store.view.read("SELECT 1", ())), NoNodeError)


async def test_while_a_thread_closes_the_node_others_are_told_so(tmp_path: Path) -> None:
    async with debros.open(tmp_path, models=MODELS) as db:
        view = db.store.view
        view.thread.take_to_close()
        assert isinstance(in_thread(lambda: view.read("SELECT 1", ())), ClosedError)
        view.thread.take()


async def test_tasks_find_a_node_closed_before_a_thread_begins_to_close_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[BaseException] = []
    offload = SystemEnv.offload

    async def look_first(self: SystemEnv, function: Any, *args: Any) -> Any:
        if (
            function == db.store.close
        ):  # its thread may begin at any moment, and would share the connection with this one
            for look in (lambda: Note.get(note.id), db.audit, Note.count, db.fingerprint):
                try:
                    with db.current():
                        await look()
                except BaseException as error:
                    found.append(error)
        return await offload(self, function, *args)

    async with debros.open(tmp_path, models=MODELS):
        note = await Note.create(title="a")
    async with debros.open(tmp_path, models=MODELS) as db:  # which has nothing in memory
        monkeypatch.setattr(SystemEnv, "offload", look_first)
    assert [type(error) for error in found] == [ClosedError] * 4


def test_a_loop_of_its_own_does_not_wait_for_the_nodes() -> None:
    async def look(note: Note) -> None:
        with pytest.raises(NoNodeError, match="lives in a loop of its own"):
            _ = note.meta

    with debros.blocking(":memory:", models=MODELS) as db:
        trio.run(look, db.run(Note.create(title="a")))
