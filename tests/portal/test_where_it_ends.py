"""What ends a call, a thread or the node never leaves a caller waiting, nor ends what others use."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import copy_context
from typing import Any

import pytest
import trio

import debros
import debros.asyncio
from debros import ClosedError, Field, Model, model

SOON_S = 20


@model(name="EndingNote")
class Note(Model):
    title: Field[str]


async def leaves() -> None:
    await trio.lowlevel.checkpoint()
    sys.exit(3)


async def passes() -> None:
    await trio.lowlevel.checkpoint()


def test_a_call_that_exits_exits_its_caller_and_the_node_goes_on() -> None:
    with debros.blocking(":memory:", models=[Note]) as db:
        with pytest.raises(SystemExit):
            db.run(leaves())
        assert db.run(Note.count()) == 0


def test_in_asyncio_too() -> None:
    async def main() -> None:
        async with debros.asyncio.open(":memory:", models=[Note]) as db:
            with pytest.raises(SystemExit):
                await db.run(leaves())
            assert await db.run(Note.count()) == 0

    asyncio.run(main())


def test_a_thread_that_goes_on_calling_while_the_node_is_closed_is_told_each_time() -> None:
    found: list[type[BaseException]] = []
    waiting = threading.Event()

    async def waits() -> None:
        waiting.set()
        await trio.sleep_forever()

    def calls() -> None:
        for awaitable in (waits(), *(passes() for _ in range(200))):
            try:
                db.run(awaitable)
            except ClosedError as error:
                found.append(type(error))
            finally:
                awaitable.close()

    with debros.blocking(":memory:", models=[Note]) as db:
        thread = threading.Thread(target=calls, daemon=True)
        thread.start()
        waiting.wait(SOON_S)
    thread.join(SOON_S)
    assert not thread.is_alive()
    assert found == [ClosedError] * 201


def test_a_forked_process_is_told_that_the_node_is_not_in_it() -> None:
    with debros.blocking(":memory:", models=[Note]) as db:
        db.run(Note.create(title="a"))
        read, write = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12: there are threads, which is the point
            child = os.fork()
        if child == 0:  # pragma: no cover  # in another process
            said = b"nothing"
            threading.Timer(SOON_S, lambda: os._exit(1)).start()
            awaitable = Note.count()
            try:
                db.run(awaitable)
            except ClosedError as error:
                said = str(error).encode()
            finally:
                os.write(write, said)
                os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            said = pipe.read().decode()
        os.waitpid(child, 0)
        assert "forked" in said
        assert db.run(Note.count()) == 1


def test_a_notebook_holds_a_node_open_from_cell_to_cell_each_with_a_context_of_its_own() -> None:
    with pytest.raises(AttributeError, match=r"no 'run' here.*with debros\.blocking.*stack\.close\(\)"):
        debros.blocking(":memory:", models=[Note]).run(Note.count())  # type: ignore[attr-defined]  # what is tried
    stack = ExitStack()

    def cell(function: Callable[[], Any]) -> Any:
        return copy_context().run(function)

    db = cell(lambda: stack.enter_context(debros.blocking(":memory:", models=[Note])))
    made = cell(lambda: db.run(Note.create(title="a")))
    assert [note.title for note in cell(lambda: db.run(Note.all()))] == ["a"]
    made.title = "b"
    cell(lambda: db.run(made.save()))
    assert [note.title for note in cell(lambda: list(db.iterate(Note.query().stream())))] == ["b"]
    cell(stack.close)
    late = passes()
    with pytest.raises(ClosedError):
        db.run(late)
    late.close()
