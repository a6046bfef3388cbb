"""A home and the processes that have it: one at a time, and what was acknowledged outlives each of them.

The writer is killed at random moments, `kill -9`, again and again; a home that it left is opened as if nothing were.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import IO, Literal

import pytest

import debros
from debros.replica.verify import Progress, verify_home
from tests.support.programs import ROOT, run_python
from tests.support.stories import MODELS, Item, Memo, Tally, forget_view

TASKS = 4
GOES = 3  # of so many items of a task the last one is deleted
WRITER = f"""
import sys, trio, debros
from tests.support.stories import MODELS, Item, Memo, Tally

def tell(kind, id):
    print(kind, id, flush=True)

async def write(name):
    for n in range(100_000):
        id = f"{{name}}-{{n}}"
        item = await Item.create(id=id, title=id, text="x" * 200)
        tell("item", id)
        await Tally.increment("t", n=1)
        tell("tally", id)
        await item.update(note=id)
        tell("note", id)
        if n % {GOES} == {GOES} - 1:
            await item.delete()
            tell("gone", id)

async def write_both(db, name):
    for n in range(100_000):
        id = f"{{name}}-{{n}}"
        async with db.transaction():
            await Item.create(id=id, title=id)
            await Memo.create(id=id, text=id)
        tell("both", id)

async def main(home, durability, name):
    async with debros.open(home, models=MODELS, durability=durability, flush_rows=40, max_segment_bytes=65536) as db:
        async with trio.open_nursery() as nursery:
            for task in range({TASKS}):
                nursery.start_soon(write, f"{{name}}-{{task}}")
            nursery.start_soon(write_both, db, f"{{name}}-both")

trio.run(main, *sys.argv[1:])
"""


@dataclass
class Told:
    """What the writers were told, over all rounds."""

    items: set[str] = field(default_factory=set)
    notes: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    both: set[str] = field(default_factory=set)
    tallied: int = 0
    killed: int = 0

    @property
    def going(self) -> set[str]:
        """What a writer was deleting when it was killed, or was about to: there, or gone and not told so."""
        return {id for id in self.notes - self.gone if int(id.rpartition("-")[2]) % GOES == GOES - 1}

    def take(self, line: str) -> None:
        kind, id = line.split()
        if kind == "tally":
            self.tallied += 1
        else:
            {"item": self.items, "note": self.notes, "gone": self.gone, "both": self.both}[kind].add(id)


@contextmanager
def a_writer(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as writer:
        assert writer.stdout is not None
        try:
            yield writer, writer.stdout
        finally:
            writer.kill()


async def check(home: Path, told: Told) -> None:
    async with debros.open(home, models=MODELS):
        items = {item.id: item for item in await Item.all()}
        assert told.items - told.gone - told.going <= items.keys()
        assert len(told.going) <= TASKS * told.killed
        assert not told.gone & items.keys()
        assert {id for id in told.notes if id in items and items[id].note != id} == set()
        memos = {memo.id for memo in await Memo.all()}
        assert told.both <= memos
        assert {id for id in items if "both" in id} == memos
        tally = await Tally.get_or_none("t")
        assert told.tallied <= (tally.n if tally else 0) <= told.tallied + TASKS * told.killed
        title = f"after kill number {told.killed}"
        await Item.create(id=title.replace(" ", "-"), title=title)


@pytest.mark.parametrize(("durability", "rounds"), [("disk", 8), ("process", 8)])
async def test_what_a_killed_process_acknowledged_is_there(
    durability: Literal["disk", "process"], rounds: int, tmp_path: Path
) -> None:
    random, told, home = Random(durability), Told(), tmp_path / "home"
    for round in range(rounds):
        with a_writer(str(home), durability, str(round)) as (writer, lines):
            for _ in range(random.randrange(1, 250)):
                told.take(lines.readline())
            writer.kill()
            for line in lines:  # said before it died
                if line.endswith("\n"):
                    told.take(line)
        told.killed += 1
        if round % 3 == 2:
            forget_view(home)
        await check(home, told)
    assert told.items
    assert told.both
    assert not [finding for finding in verify_home(home) if not isinstance(finding, Progress)]


async def test_a_second_process_is_refused_at_once_and_told_which_home(tmp_path: Path) -> None:
    opens = "import sys, trio, debros\nasync def main():\n    async with debros.open(sys.argv[1], models=[]): pass\ntrio.run(main)"
    home = tmp_path / "home"
    async with debros.open(home, models=MODELS):
        await Item.create(id="a", title="mine")
        refused = run_python("-c", opens, str(home), cwd=tmp_path)
        assert refused.returncode != 0
        assert f"StoreLockedError: {home} is open already, here or in another process" in refused.stderr
        await Item.create(id="b", title="still mine")
    allowed = run_python("-c", opens, str(home), cwd=tmp_path)
    assert (allowed.returncode, allowed.stderr) == (0, "")
