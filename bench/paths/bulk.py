"""Bulk: `await Post.create_many(...)` of 1,000 documents given as dicts, in one entry; per document.

With `durability="process"`; constructing and checking the records and the view's flush are in the time. Beside it:
one of 1,000 ready rows in an `executemany` of apsw, one transaction, into a table of the same size with as many
indexes. Ready means that the rows' values were converted before the clock started.
"""

from __future__ import annotations

from typing import Final

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
        bulk = Action("create_many", BULK, Post.create_many, lambda: documents.many(BULK))
        rows = Action("row", BULK, sync(table.insert), lambda: [to_row(one) for one in others.with_ids(BULK)])
        costs = await in_turns([bulk, rows], setting.rounds)
    table.close()
    return [against("create_many, 1,000 an entry, each", costs["create_many"], "one apsw row", costs["row"], 3.0)]
