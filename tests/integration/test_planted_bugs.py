"""Every planted bug is found by one of the first storms: a simulation that misses it would prove nothing.

A storm counts only if it breaks no law without the bug.
"""

from __future__ import annotations

from functools import cache

import pytest

from debros.testing.planted import PLANTED, planted
from debros.testing.storm import storm

STORMS = 40  # the first twenty miss two of them
SETTLING_S = 400.0


@cache
def is_sound(seed: int) -> bool:
    try:
        storm(seed, settling_s=SETTLING_S)
    except (AssertionError, BaseExceptionGroup):
        return False
    return True


def is_found(bug: str) -> bool:
    for seed in range(STORMS):
        try:
            with planted(bug):
                storm(seed, settling_s=SETTLING_S)
        except (AssertionError, BaseExceptionGroup):
            if is_sound(seed):
                return True
    return False


@pytest.mark.parametrize("bug", sorted(PLANTED))
def test_a_planted_bug_is_found(bug: str) -> None:
    assert is_found(bug)


def test_there_are_enough_of_them() -> None:
    assert len(PLANTED) >= 12
