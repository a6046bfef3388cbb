"""Content in storms: nothing that a record refers to is lost, no ceiling is broken, and copies return once a node is lost.

More of them: `STORMS=150`, as the integration tests do.
"""

from __future__ import annotations

import os

import pytest

from tests.support.content_storms import content_storm

SEEDS = int(os.environ.get("STORMS", "16"))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_storm_loses_nothing_breaks_no_ceiling_and_copies_return(seed: int) -> None:
    told = content_storm(seed)
    assert told.kept > 0


def test_storms_have_power_cuts_and_content_that_leaves_and_are_the_same_each_time() -> None:
    first, second = content_storm(2), content_storm(2)
    assert first == second
    assert first.cuts > 0
    assert first.absent > 0
