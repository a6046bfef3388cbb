"""The blocking facade: the same node, from synchronous code."""

from __future__ import annotations

import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import debros
from debros import Field, Model, field, model


@model(name="PortalNote")
class Note(Model):
    title: Field[str]
    n: Field[int] = field(default=0)


@model(scope="user", name="PortalDiary")
class Diary(Model):
    text: Field[str]


@model(write="owner", name="PortalOwned")
class Owned(Model):
    text: Field[str]


MODELS = [Note, Diary, Owned]


def test_awaitables_go_through_run_and_plain_things_are_used_as_they_are() -> None:
    with debros.blocking(":memory:", models=MODELS) as db:
        note = db.run(Note.create(title="a"))
        assert db.run(Note.get(note.id)) == note
        assert db.run(Note.where(Note.title == "a").all())[0].title == "a"
        assert db.node.status().entries == 1


def write_and_raise(db: debros.Blocking, write: Callable[[], Any]) -> None:
    with db.using(db.node.transaction()):
        db.run(write())
        raise ZeroDivisionError


def test_a_transaction_is_entered_by_using_and_undone_by_a_raise() -> None:
    with debros.blocking(":memory:", models=MODELS) as db:
        with db.using(db.node.transaction()):
            note = db.run(Note.create(title="a"))
            db.run(note.update(title="b"))
            with pytest.raises(ZeroDivisionError):
                write_and_raise(db, lambda: note.update(title="c"))
            assert note.title == "c"
            assert note.is_changed("title")
        assert db.node.status().entries == 1
        assert db.run(Note.get(note.id)).title == "b"
        with pytest.raises(ZeroDivisionError):
            write_and_raise(db, lambda: Note.create(title="never"))
        assert db.run(Note.count()) == 1


def test_an_identity_chosen_by_using_holds_for_constructors_too() -> None:
    ana = debros.Identity.generate()
    with debros.blocking(":memory:", models=MODELS) as db:
        with db.using(db.node.acting_as(ana)):
            db.run(Diary.create(text="hers"))
            owned = Owned(text="hers")
            assert owned.id.endswith(ana.tag)
            db.run(owned.save())
        assert db.run(Diary.count()) == 0
        assert Owned(text="mine").id.endswith(db.node.identity.tag)


def test_async_iterators_are_iterated_and_live_views_followed() -> None:
    with debros.blocking(":memory:", models=MODELS) as db:
        db.run(Note.create_many([{"title": str(n)} for n in range(5)]))
        assert [note.title for note in db.iterate(Note.query().stream())] == list("01234")
        for note in db.iterate(Note.query().stream()):
            assert note.title == "0"
            break
        with db.using(Note.query().live()) as view:
            db.run(Note.create(title="5"))
            for change in db.iterate(view):
                assert change.row.title == "5"
                break


@asynccontextmanager
async def a_nursery() -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        yield nursery


def test_blocks_with_nurseries_inside_are_left_in_order() -> None:
    with debros.blocking(":memory:", models=MODELS) as db:
        with db.using(a_nursery()) as nursery:
            done: list[int] = []

            async def task() -> None:
                done.append(await Note.count())

            async def start() -> None:
                nursery.start_soon(task)

            db.run(start())
        assert done == [0]


def test_errors_reach_the_caller_and_the_node_goes_on() -> None:
    with debros.blocking(":memory:", models=MODELS) as db:
        with pytest.raises(debros.NotFoundError):
            db.run(Note.get("nobody"))
        other = debros.Identity.generate()
        with (
            pytest.raises(debros.TransactionError),
            db.using(db.node.transaction()),
            db.using(db.node.acting_as(other)),
        ):
            pass
        assert db.run(Note.count()) == 0


def test_threads_have_transactions_of_their_own() -> None:
    with debros.blocking(":memory:", models=MODELS) as db:
        seen: list[int] = []
        with db.using(db.node.transaction()):
            db.run(Note.create(title="a"))
            other = threading.Thread(target=lambda: seen.append(db.run(Note.count())))
            other.start()
            other.join()
            assert db.run(Note.count()) == 1
        assert seen == [0]


def test_an_interrupt_cancels_what_is_waited_for() -> None:
    ended: list[str] = []
    caller = threading.get_ident()

    async def forever() -> None:
        try:
            signal.pthread_kill(caller, signal.SIGINT)
            await trio.sleep_forever()
        except trio.Cancelled:
            ended.append("cancelled")
            raise

    with debros.blocking(":memory:", models=MODELS) as db:
        with pytest.raises(KeyboardInterrupt):
            db.run(forever())
        assert ended == ["cancelled"]
        assert db.run(Note.count()) == 0


def test_what_keeps_a_node_from_opening_is_raised_and_a_closed_one_says_so(tmp_path: Path) -> None:
    with pytest.raises(debros.ConfigError), debros.blocking("", models=MODELS):
        pass
    with debros.blocking(tmp_path, app="a", models=MODELS) as db:
        with pytest.raises(debros.StoreLockedError), debros.blocking(tmp_path, app="a", models=MODELS):
            pass
        db.run(Note.create(title="kept"))
    counting = Note.count()
    with pytest.raises(debros.ClosedError):
        db.run(counting)
    counting.close()
    with debros.blocking(tmp_path, app="a", models=MODELS) as db:
        assert db.run(Note.count()) == 1
