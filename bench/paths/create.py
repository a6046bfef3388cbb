"""Create: `await Post.create(**values)`, one after another, each document an entry of its own, signed.

With `durability="process"`: written to the log, not synced. The view's flushes, every 500 rows and entries, are in
the time. The table holds documents already. Beside it: one signature of a message as long as the entry's header.
"""

from __future__ import annotations

from typing import Any, Final

from bench.document import Post
from bench.measure import Action, Line, against, in_turns
from bench.setting import Setting
from bench.yardsticks import signing

CREATES: Final = 1000  # in one turn


async def create_each(given: list[dict[str, Any]]) -> None:
    """Create documents one by one."""
    for values in given:
        await Post.create(**values)


async def measure(setting: Setting) -> list[Line]:
    """Return the line."""
    async with setting.homes.growing(setting.size) as documents:
        create = Action("create", CREATES, create_each, lambda: documents.many(CREATES))
        costs = await in_turns([create, signing()], setting.rounds)
    return [against("create, one entry each", costs["create"], "one signature", costs["signature"], 3.0)]
