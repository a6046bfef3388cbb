"""A deleted id is created again: what cannot be written so that everybody reads it is refused, not lost."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from debros import Field, Model, field, model
from debros.errors import TooLargeError
from debros.opening import open as open_node


@model(scope="global")
class Tally(Model):
    """Something that is counted."""

    n: Field[int] = field(default=0, merge="counter")


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_counter_beyond_64_bits_is_not_taken_back_by_one_entry(
    tmp_path: Path, times: int, inside: bool
) -> None:
    async with open_node(tmp_path, models=[Tally], open=True) as db:
        tally = await Tally.create(id="a")
        for _ in range(times):
            await Tally.increment("a", n=2**63 - 1)
        await tally.delete()
        if times == 1:
            await Tally.create(id="a", n=3)
        else:
            async with db.transaction() if inside else nullcontext():
                with pytest.raises(TooLargeError, match="choose another id"):
                    await Tally.create(id="a", n=3)
    for path in tmp_path.glob("view.sqlite*"):
        path.unlink()
    async with open_node(tmp_path, models=[Tally], open=True) as db:
        found = await Tally.get_or_none("a")
        assert (None if found is None else found.n) == (3 if times == 1 else None)
        assert db.status().skipped == 0
