"""Get: `await Post.get(id)`, to a typed object; and the same of a record read before.

Not cached: ids of a home opened afresh, in random order, none twice, so no row is in debros's own memory; the file
is in the kernel's. Beside it: apsw, SELECT by id and a dict of all ten columns, times and tags converted to the
values that the object has, prepared statements cached. Cached: 200 ids again and again.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from bench.document import Post
from bench.homes import ids_of, opened
from bench.measure import Action, Line, against, in_turns, sync
from bench.setting import Setting
from bench.yardsticks import RawTable

GETS: Final = 400  # in one turn
CACHED: Final = 200  # records
CACHED_US: Final = 3.0


async def get(ids: list[str]) -> None:
    """Get records one by one."""
    for id in ids:
        await Post.get(id)


def raw_get(table: RawTable) -> Any:
    """Return the same through apsw."""

    def run(ids: list[str]) -> None:
        for id in ids:
            table.get(id)

    return sync(run)


def some(ids: Iterator[str]) -> list[str]:
    """Return the ids of one turn."""
    taken = list(islice(ids, GETS))
    assert len(taken) == GETS
    return taken


async def measure(setting: Setting) -> list[Line]:
    """Return the lines: not cached, cached."""
    home = await setting.homes.of(setting.size)
    table = setting.homes.raw(setting.size)
    async with opened(home):
        ids = await ids_of(setting.size)
    theirs = iter([row[0] for row in table.db.execute("SELECT id FROM posts ORDER BY random()")])
    async with opened(home):
        mine, again = iter(ids), ids[-CACHED:] * (2000 // CACHED)
        actions = [
            Action("get", GETS, get, lambda: some(mine)),
            Action("raw", GETS, raw_get(table), lambda: some(theirs)),
            Action("cached", len(again), get, lambda: again),
        ]
        costs = await in_turns(actions, setting.rounds)
    table.close()
    cached = costs["cached"]
    return [
        against("get, not cached", costs["get"], "apsw get to a dict", costs["raw"], 1.3),
        Line("get, cached", cached.us, "us", target=f"<= {CACHED_US:g} us", met=cached.us <= CACHED_US),
    ]
