"""A hundred and fifty storms over content, and bugs that are planted for them to find."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from debros.blocks.carstore import CarStore
from debros.pinning.contents import Contents
from debros.pinning.ledger import Ledger
from tests.support.content_storms import content_storm


@pytest.mark.parametrize("first", range(0, 150, 10))
def test_storms_lose_nothing_break_no_ceiling_and_copies_return(first: int) -> None:
    told = [content_storm(seed) for seed in range(first, first + 10)]
    assert sum(one.cuts for one in told) > 0
    assert sum(one.absent for one in told) > 0  # there was something to decide


def let_go_unpromised(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ledger, "promised_of_all", lambda self, now: {item.n: 9 for item in self.items()})


def put_without_a_sync(patch: pytest.MonkeyPatch) -> None:
    put = CarStore._put
    patch.setattr(CarStore, "_put", lambda self, blocks, durable: put(self, blocks, False))


def make_no_room(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Contents, "_has_room_for", lambda self, new: True)


@pytest.mark.parametrize("plant", [let_go_unpromised, put_without_a_sync, make_no_room])
def test_a_planted_bug_is_found(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    for seed in range(40):
        try:
            content_storm(seed)
        except BaseExceptionGroup as group:
            failed = group.split(AssertionError)[0]
            if failed is not None:
                return
            raise
        except AssertionError:
            return
    pytest.fail("no storm finds it")
