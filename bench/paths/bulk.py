"""Bulk: `await Post.create_many(...)` of 1,000 documents given as dicts, in one entry; per document.

With `durability="process"`; constructing and checking the records and the view's flush are in the time: there is one for every
2,000 documents, so a turn makes two entries. Beside it: one of 1,000 ready rows in an `executemany` of apsw, one transaction, into a
table of the same size with as many indexes, twice a turn too. Ready means that the rows' values were converted before the clock started.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bench.document import Documents, Post
from bench.measure import Action, Line, against, in_turns, sync
from bench.setting import Setting
from bench.yardsticks import to_row

BULK: Final = 1000  # documents in one entry


async def measure(setting: Setting) -> list[Line]:
    """Return the line."""
    table = setting.homes.raw(setting.size)
    others = Documents(setting.size, seed=2)
    async with setting.homes.growing(setting.size) as documents:

        async def create(parts: Sequence[list[dict[str, Any]]]) -> None:
            for part in parts:
                await Post.create_many(part)

        def insert(parts: Sequence[list[tuple[Any, ...]]]) -> None:
            for part in parts:
                table.insert(part)

        bulk = Action("create_many", 2 * BULK, create, lambda: [documents.many(BULK) for _ in range(2)])
        rows = Action(
            "row", 2 * BULK, sync(insert), lambda: [[to_row(one) for one in others.with_ids(BULK)] for _ in range(2)]
        )
        costs = await in_turns([bulk, rows], setting.rounds)
    table.close()
    return [against("create_many, 1,000 an entry, each", costs["create_many"], "one apsw row", costs["row"], 3.0)]
