"""Python's collector of cycles rests while somebody makes many values, and only then."""

from __future__ import annotations

import gc
from contextlib import ExitStack

import pytest

from debros.env import collector_paused


def test_it_goes_on_behind_the_block_and_behind_a_block_that_raises() -> None:
    with collector_paused():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(LookupError), collector_paused():
        raise LookupError
    assert gc.isenabled()


def test_of_two_blocks_that_overlap_the_last_one_lets_it_go_on_whichever_began_first() -> None:
    """As those of two threads do: one checks entries while the other admits some."""
    for first_to_end in (0, 1):
        blocks = [ExitStack(), ExitStack()]
        for block in blocks:
            block.enter_context(collector_paused())
        blocks.pop(first_to_end).close()
        assert not gc.isenabled()
        blocks.pop().close()
        assert gc.isenabled()


def test_it_does_not_go_on_where_the_program_had_stopped_it() -> None:
    gc.disable()
    try:
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
