"""`follow` and `unfollow` of shards: the newest word counts, whatever was chosen before, and the home remembers it."""

from __future__ import annotations

from pathlib import Path

import pytest

from debros.opening import open as open_node
from tests.support.sharded import Hashed

ALL = None
FOLLOW, UNFOLLOW = True, False


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ([(FOLLOW, [0, 2])], (0, 2)),
        ([(FOLLOW, [0]), (FOLLOW, [2])], (0, 2)),
        ([(FOLLOW, [0, 2]), (FOLLOW, ALL)], (0, 1, 2, 3)),
        ([(FOLLOW, [0]), (FOLLOW, ALL), (FOLLOW, [1])], (1,)),
        ([(UNFOLLOW, [1])], (0, 2, 3)),
        ([(UNFOLLOW, [1]), (FOLLOW, [1])], (0, 1, 2, 3)),
        ([(UNFOLLOW, [1]), (FOLLOW, ALL)], (0, 1, 2, 3)),
        ([(UNFOLLOW, [1]), (FOLLOW, [0])], (0,)),
        ([(UNFOLLOW, ALL)], ()),
        ([(UNFOLLOW, ALL), (FOLLOW, [3])], (3,)),
        ([(UNFOLLOW, ALL), (FOLLOW, ALL)], (0, 1, 2, 3)),
        ([(FOLLOW, [0, 2]), (UNFOLLOW, [0])], (2,)),
        ([(FOLLOW, [0, 2]), (UNFOLLOW, [0, 2])], ()),
        ([(FOLLOW, [0, 2]), (UNFOLLOW, [0, 2]), (FOLLOW, [1])], (1,)),
        ([(FOLLOW, [0, 2]), (UNFOLLOW, ALL), (FOLLOW, [1])], (1,)),
        ([(FOLLOW, [0, 2]), (UNFOLLOW, ALL), (FOLLOW, ALL)], (0, 1, 2, 3)),
    ],
)
async def test_the_newest_word_counts(
    tmp_path: Path, said: list[tuple[bool, list[int] | None]], kept: tuple[int, ...]
) -> None:
    async with open_node(tmp_path, models=[Hashed], open=True) as db:
        for follow, shards in said:
            await (db.follow if follow else db.unfollow)(Hashed, shards=shards)
        assert db.shards[Hashed].held == kept
    async with open_node(tmp_path, models=[Hashed], open=True) as db:
        assert db.shards[Hashed].held == kept
