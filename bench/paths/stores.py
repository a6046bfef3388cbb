"""Shards in stores of their own beside one log: the same documents in one log, and over four stores in one place each.

Scans, with groups or without, read all rows, each store in a thread of its own, so what counts is the time gone by; top 20
follows an index in each store. Both are of one node, with all of its files on one disk.
"""

from __future__ import annotations

from typing import Any, Final

import debros
from bench.document import Documents
from bench.measure import Action, Line, against, in_turns
from bench.paths.shards import Four, Whole, notes
from bench.setting import Setting

DOCUMENTS: Final = 100_000
QUERIES: Final = 20  # top 20s in one turn
GAIN: Final = 1.2  # by which reading four stores at once is faster


async def _top(of: Any) -> None:
    for _ in range(QUERIES):
        assert len(await of.query().order_by(of.likes.desc()).limit(20).all()) == 20


async def _total(of: Any) -> None:
    some = of.where(of.title >= "note 3")
    await some.group_by(of.author_id).aggregate(debros.count(), debros.sum(of.likes), debros.avg(of.likes))


async def _scan(of: Any) -> None:
    await of.where(of.title >= "note 3", of.title < "note 8").sum(of.likes)


async def measure(setting: Setting) -> list[Line]:
    """Return the lines: scans, groups and top 20s over four stores beside those over one log."""
    authors, home = Documents(DOCUMENTS).authors, setting.homes.place()
    places = {"Four": {n: home.with_name(f"{home.name}-store-{n}") for n in range(4)}}
    async with debros.open(home, models=(Whole, Four), placement=places, durability="process") as db:
        for of in (Whole, Four):
            for start in range(0, DOCUMENTS, 1000):
                await of.create_many(notes(1000, authors, start))
        db.store.flush()
        assert all(shard.path for shard in await db.shards[Four].stats())
        kinds = (("total", _total, 1), ("scan", _scan, 1), ("top", _top, QUERIES))
        actions = [
            Action(f"{name} {of.__name__}", count, run, lambda of=of: of)
            for name, run, count in kinds
            for of in (Whole, Four)
        ]
        costs = await in_turns(actions, max(5, setting.rounds // 2))

    def gained(path: str, name: str) -> Line:
        one, four = costs[f"{name} Whole"].wall_us, costs[f"{name} Four"].wall_us
        return Line(path, four, "us", "one log", one, f"<= {1 / GAIN:.2f} x", four * GAIN <= one)

    return [
        gained("scan into groups, sums and means over 4 stores", "total"),
        gained("scan and sum over 4 stores", "scan"),
        against("top 20 over 4 stores", costs["top Four"], "one log", costs["top Whole"], 3.0),
    ]
