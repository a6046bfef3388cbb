"""Migrations: the lift of one document, 100,000 documents migrated while somebody reads, and how fast the command starts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import Any, Final

import trio

import debros
from bench.fresh import Watch
from bench.measure import Line
from bench.setting import Setting
from debros import Field, Model, field, migration, model
from debros.migrations.lifter import Lifter
from debros.migrations.stages import steps_of
from debros.models.declare import schema_of
from debros.replica.cells import Document

TIMES: Final = 20_000
PER_SECOND: Final = 20_000
HELP_S: Final = 0.3
GROWTH_MB: Final = 50.0


@model(name="bench_page", version="1.0.0")
class Page(Model):
    title: Field[str] = field(index=True)
    text: Field[str] = field(default="")
    views: Field[int] = field(default=0, merge="counter")


@model(name="bench_page", version="1.4.0")
class PageNow(Model):
    title: Field[str] = field(index=True)
    body: Field[str] = field(default="")
    size: Field[int] = field(default=0, index=True)
    lang: Field[str] = field(default="")
    views: Field[int] = field(default=0, merge="counter")


def sized(row: dict[str, Any]) -> dict[str, Any]:
    row["size"] = len(row["body"])
    return row


STEPS: Final = (
    migration("one", "1.1.0").rename_field("bench_page", "text", "body"),
    migration("two", "1.2.0").add_field("bench_page", "size", default=0),
    migration("three", "1.3.0").add_field("bench_page", "lang", default="en"),
    migration("four", "1.4.0").transform("bench_page", up=sized, down=lambda row: row),
)


async def measure(setting: Setting) -> list[Line]:
    """Return the lines: lift, migration, memory, longest wait of a reader, `debros --help`."""
    return [_lift(), *await _migrated(setting), _help()]


def _lift() -> Line:
    """One document through all steps; a step is what three more of them cost, by three."""
    schema = schema_of(PageNow)
    document = Document(lambda _: bytes(32))
    change = {"put": {"title": "a title", "text": "some text"}, "inc": {"views": 3}, "live": True}
    document.merge(change, 5 << 16, 1, 1_000_000)
    costs = {}
    for count in (1, len(STEPS)):
        lift = Lifter(schema, steps_of(schema, STEPS), frozenset(each.name for each in STEPS[:count]), frozenset())
        best = float("inf")
        for _ in range(5):
            begun = time.process_time()
            for _ in range(TIMES):
                lift("a", document)
            best = min(best, (time.process_time() - begun) / TIMES * 1e6)
        costs[count] = best
    step = (costs[len(STEPS)] - costs[1]) / (len(STEPS) - 1)
    notes = {"first_step_us": costs[1], "four_steps_us": costs[len(STEPS)]}
    return Line("lift, each further step", step, "us", target="<= 1 us", met=step <= 1, notes=notes)


async def _migrated(setting: Setting) -> list[Line]:
    size = setting.sizes[1]
    home = setting.directory / "migrating"
    shutil.rmtree(home, ignore_errors=True)
    async with debros.open(home, models=[Page], durability="process"):
        for start in range(0, size, 10_000):
            await Page.create_many(
                {"title": f"title {n}", "text": "some text " * 20} for n in range(start, start + 10_000)
            )
    longest_s = 0.0
    async with debros.open(home, models=[PageNow], migrations=STEPS, durability="process") as db:
        await db.migrations.apply("one")  # a rename: no row is another

        async def read() -> None:
            nonlocal longest_s
            while True:
                begun = time.perf_counter()
                await PageNow.where(PageNow.title == "title 77").all()
                await trio.lowlevel.checkpoint()
                longest_s = max(longest_s, time.perf_counter() - begun)

        with Watch() as watch:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                begun = time.process_time()
                await db.migrations.apply("two")
                elapsed_s = time.process_time() - begun
                nursery.cancel_scope.cancel()
        begun = time.process_time()
        await db.migrations.apply()
        rest_s = (time.process_time() - begun) / 2
    shutil.rmtree(home)
    grown = watch.most - watch.before
    rate = size / rest_s
    return [
        Line(
            f"migrate {size:,} documents", rate, "docs/s", target=f">= {PER_SECOND:,}", met=rate >= PER_SECOND,
            notes={"beside_a_reader_docs_s": size / elapsed_s},
        ),
        Line(f"memory of that migration ({size:,})", grown, "MB", target=f"< {GROWTH_MB:g} MB", met=grown < GROWTH_MB),
        Line("longest wait of a reader meanwhile", longest_s * 1000, "ms"),
    ]  # fmt: skip


def _help() -> Line:
    best = float("inf")
    for _ in range(5):
        before = os.times()
        command = [sys.executable, "-m", "debros.cli", "--help"]
        subprocess.run(command, check=True, capture_output=True)
        after = os.times()
        best = min(best, after.children_user + after.children_system - before.children_user - before.children_system)
    return Line("debros --help", best, "s", target=f"<= {HELP_S:g} s", met=best <= HELP_S)
