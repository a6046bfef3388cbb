"""Changing: `await Post.where(...).update(language=...)` of 5,000 documents in a larger table; per document.

With `durability="process"`. Reading them, the entries and the view are in the time: nothing is left to be moved for the next query. The
documents were changed before, so each has a history. Beside it: `UPDATE` of as many rows by id with apsw, in one
transaction, in a table of the same size with as many indexes.
"""

from __future__ import annotations

from itertools import count
from typing import Any, Final

from bench.document import Documents, Post
from bench.measure import Action, Line, against, in_turns, sync
from bench.setting import Setting
from bench.yardsticks import to_row

MANY: Final = 5000
AUTHOR: Final = "of those that are changed"
AT_MOST: Final = 25.0  # times the yardstick, which signs nothing, merges nothing and keeps no history


def those(documents: Documents) -> list[dict[str, Any]]:
    """Return documents that are told from all others by their author."""
    return [{**one, "author_id": AUTHOR} for one in documents.with_ids(MANY)]


async def measure(setting: Setting) -> list[Line]:
    """Return the line."""
    table, versions = setting.homes.raw(setting.size), count()
    rows = [to_row(one) for one in those(Documents(setting.size, seed=2))]
    ids = [row[0] for row in rows]
    table.insert(rows)
    async with setting.homes.growing(setting.size) as documents:
        posts = Post.where(Post.author_id == AUTHOR)
        await Post.create_many(those(documents))

        async def update(language: str) -> None:
            assert await posts.update(language=language) == MANY

        def raw_update(language: str) -> None:
            table.update(ids, language)

        def language() -> str:
            return f"version {next(versions)}"

        actions = [Action("update", MANY, update, language), Action("raw", MANY, sync(raw_update), language)]
        costs = await in_turns(actions, setting.rounds)
    table.close()
    return [against("update() of 5,000, each", costs["update"], "one apsw UPDATE", costs["raw"], AT_MOST)]
