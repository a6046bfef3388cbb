"""The hybrid clock never goes back, and follows the wall clock where it can."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from debros.log.clock import LIMIT, NONE, ms, tick

times = st.lists(st.integers(0, 2**42), min_size=1, max_size=20)


@given(times)
def test_ticks_grow_whatever_the_wall_clock_does(walls: list[int]) -> None:
    clock = NONE
    for wall in walls:
        after = tick(clock, wall)
        assert clock < after < LIMIT
        assert ms(after) >= wall
        clock = after


@given(st.integers(0, 2**63 - 2), st.integers(0, 2**42))
def test_a_tick_is_the_wall_clock_or_one_more_than_the_greatest(greatest: int, wall: int) -> None:
    assert tick(greatest, wall) in (wall << 16, greatest + 1)
    assert tick(greatest, wall) > greatest


def test_the_first_tick_of_a_log_is_the_wall_clock() -> None:
    assert tick(NONE, 0) == 0
    assert tick(NONE, 1_790_000_000_000) == 117309440000000000  # of the page's example
    assert ms(117309440000000000) == 1_790_000_000_000
