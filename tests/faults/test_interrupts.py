"""Ctrl-C strikes anywhere, and a program that goes on behind it finds its node whole: what was acknowledged is there, and nothing is half done.

trio raises `KeyboardInterrupt` in the code that happens to run, ours too. Here the signal comes at calls all over the framework.
"""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import trio
import trio.lowlevel

import debros
from debros import Field, Model, field, model
from tests.support.stories import forget_view

CALLS = 120  # at which the signal comes, one in each run
PARTS = 6
PACKAGE = str(Path(debros.__file__).parent)


@model(name="Leaf")
class Leaf(Model):
    text: Field[str] = field(index=True)
    slug: Field[str | None] = field(default=None, unique=True)
    n: Field[int] = field(default=0, merge="counter")


class Calls:
    """Counts calls of the framework's functions, and lets the signal come at one of them."""

    def __init__(self, at: int | None) -> None:
        self.count = 0
        self.has_struck = False
        self._at = at

    def __call__(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            self.count += 1
            if self.count == self._at:
                sys.settrace(None)
                self.has_struck = True
                signal.raise_signal(signal.SIGINT)
        return None

    def __enter__(self) -> Calls:
        sys.settrace(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)


async def story(db: debros.Debros, shown: dict[str, str | None]) -> None:
    """Write and read in many ways; `shown` has the texts that were acknowledged by id, `None` for what was deleted."""
    first = await Leaf.create(id="first", text="a", slug="one")
    shown["first"] = "a"
    assert await Leaf.where(Leaf.text == "a").count() == 1
    await first.update(text="b")
    shown["first"] = "b"
    await Leaf.create_many([{"id": f"many-{n}", "text": "m"} for n in range(40)])
    shown.update({f"many-{n}": "m" for n in range(40)})
    async with db.transaction():
        await Leaf.create(id="inside-1", text="i")
        assert await Leaf.where(Leaf.text == "i").count() == 1
        await Leaf.create(id="inside-2", text="i")
    shown["inside-1"] = shown["inside-2"] = "i"
    await Leaf.increment("many-1", n=2)
    await (await Leaf.get("many-0")).delete()
    shown["many-0"] = None
    assert len(await Leaf.where(Leaf.text == "m").order_by(Leaf.n.desc()).all()) == 39
    await Leaf.upsert("first", text="c")
    shown["first"] = "c"


async def interrupted(home: Path, at: int | None) -> int:
    """Tell the story with a signal at one call, go on in the same node, and return how many calls there were."""
    shown: dict[str, str | None] = {}
    async with debros.open(home, models=[Leaf], app="leaves", durability="process", flush_rows=10) as db:
        calls, was_struck = Calls(at), False
        try:
            with calls:
                await story(db, shown)
            await trio.lowlevel.checkpoint()  # where a signal is raised that came while nobody could take it
        except KeyboardInterrupt:
            was_struck = True
        assert was_struck == calls.has_struck  # some runs take a few calls less
        await shows(shown)
        await Leaf.create(id="behind", text="z", slug="two")
        assert await Leaf.where(Leaf.text == "z").count() == 1
        fingerprint = await db.fingerprint()
    forget_view(home)
    async with debros.open(home, models=[Leaf], app="leaves") as db:
        assert await db.fingerprint() == fingerprint
        await shows(shown)
    return calls.count


async def shows(shown: dict[str, str | None]) -> None:
    for id, text in shown.items():
        found = await Leaf.get_or_none(id)
        if id != "first":  # whose next text may be written, and not acknowledged
            assert (found and found.text) == text or (id == "many-0" and text is not None and found is None), id
        else:
            assert found is not None
    inside = [await Leaf.get_or_none(f"inside-{n}") is None for n in (1, 2)]
    assert inside[0] == inside[1]


# The signal finds a coroutine between its making and its first step, too.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("part", range(PARTS))
def test_a_node_is_whole_behind_a_signal_that_comes_anywhere(part: int, tmp_path: Path) -> None:
    total = trio.run(interrupted, tmp_path / "whole", None)
    for n in range(part, CALLS, PARTS):
        trio.run(interrupted, tmp_path / str(n), 1 + n * (total - 1) // CALLS)
    gc.collect()  # what such a coroutine says of itself when it goes belongs to this test
