"""Events: from a write to a subscriber who awaits it, and what many subscribers and live queries cost a write.

Nothing is compared with other libraries: the yardsticks are the same write without anybody, and one live query beside
10,000 on other keys. Homes are in memory, so what is measured is this library's own work. To the hands of one subscriber it
is time gone by, from before the write until its event is there: half of them came sooner.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from statistics import median
from typing import Any, Final

import trio

import debros
from bench.measure import Action, Line, in_turns
from bench.setting import Setting
from debros import Field, Model, field, model

WRITES: Final = 100  # in one turn
MANY: Final = 1_000  # subscribers
QUERIES: Final = 10_000  # live, on different keys


@model(name="BenchNote")
class Note(Model):
    key: Field[str] = field(index=True)
    n: Field[int] = field(default=0)


async def measure(setting: Setting) -> list[Line]:
    """Return the lines: one subscriber, many subscribers, many live queries."""
    alone, one, p50 = await _costs(setting, 1)
    alone_too, many, _ = await _costs(setting, MANY)
    first, queries = await _live(setting, 1), await _live(setting, QUERIES)
    each = (many - alone_too) / MANY
    return [
        Line("write to a subscriber's hands, p50", p50, "us", "the write alone", alone, "<= 200 us", p50 <= 200),
        Line("the same, and back to the writer", one, "us", "the write alone", alone, "", None),
        Line(f"each of {MANY:,} subscribers", each, "us", "", None, "<= 20 us", each <= 20),
        Line(
            f"write beside {QUERIES:,} live queries", queries, "us", "beside one", first, "<= 2 x", queries <= 2 * first
        ),
    ]


async def _write(n: int) -> None:
    await Note.create(key="k0", n=n)


async def _costs(setting: Setting, subscribers: int) -> tuple[float, float, float]:
    """Return what a write costs alone, until this many subscribers have taken its event, and the median time to the last."""
    async with debros.open(":memory:", app="bench", models=[Note]) as node, AsyncExitStack() as stack:
        feeds: list[Any] = []
        left = 0
        done = trio.Event()
        begun = 0.0
        took: list[float] = []

        async def take(feed: Any) -> None:
            nonlocal left
            async for _ in feed:
                left -= 1
                if not left:
                    took.append(time.perf_counter() - begun)
                    done.set()

        async def told(writes: int) -> None:
            nonlocal left, done, begun
            for n in range(writes):
                left, done, begun = subscribers, trio.Event(), time.perf_counter()
                await _write(n)
                await done.wait()

        async def alone(writes: int) -> None:
            for n in range(writes):
                await _write(n)

        writes = WRITES if subscribers == 1 else 5
        quiet = (await in_turns([Action("alone", writes, alone, lambda: writes)], setting.rounds))["alone"]
        nursery = await stack.enter_async_context(trio.open_nursery())
        for _ in range(subscribers):
            feeds.append(await stack.enter_async_context(node.events.subscribe(Note)))
            nursery.start_soon(take, feeds[-1])
        heard = (await in_turns([Action("told", writes, told, lambda: writes)], setting.rounds))["told"]
        nursery.cancel_scope.cancel()
    return quiet.us, heard.us, median(took) * 1e6


async def _live(setting: Setting, queries: int) -> float:
    """Return what a write costs, and the change that one of these live queries sees."""
    async with debros.open(":memory:", app="bench", models=[Note]), AsyncExitStack() as stack:
        views = [await stack.enter_async_context(Note.where(Note.key == f"k{n}").live()) for n in range(queries)]

        async def seen(writes: int) -> None:
            for n in range(writes):
                await _write(n)
                await anext(views[0])

        cost = await in_turns([Action("seen", WRITES, seen, lambda: WRITES)], setting.rounds)
        return cost["seen"].us
