"""Every planted bug is found by one of the first storms: a simulation that misses it would prove nothing."""

from __future__ import annotations

import pytest

from debros.testing.planted import PLANTED, planted
from debros.testing.storm import storm

STORMS = 12


def is_found(bug: str) -> bool:
    for seed in range(STORMS):
        try:
            with planted(bug):
                storm(seed)
        except (AssertionError, BaseExceptionGroup):
            return True
    return False


@pytest.mark.parametrize("bug", sorted(PLANTED))
def test_a_planted_bug_is_found(bug: str) -> None:
    assert is_found(bug)


def test_there_are_enough_of_them() -> None:
    assert len(PLANTED) >= 12
