"""A digest of code is the same in each process, and changes with what the code does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

from debros import migration
from debros.values.code import body_of, digest_of


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


def test_the_order_of_a_set_in_a_function_does_not_matter() -> None:
    code = (lambda value: value in {0, 8}).__code__  # the set is a constant, in an order that differs in each process
    ways = [frozenset([0, 8]), frozenset([8, 0])]
    assert list(ways[0]) != list(ways[1])
    bodies = [body_of(code.replace(co_consts=(way,))) for way in ways]
    assert repr(bodies[0]) == repr(bodies[1])
    assert body_of(code.replace(co_consts=(frozenset([0, 9]),))) != bodies[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Decimal("1.5"), Decimal("2.5")),
        (date(2026, 1, 1), date(2026, 1, 2)),
        (timedelta(days=1), timedelta(days=2)),
        (Colour.RED, Colour.BLUE),
        ({"a"}, {"b"}),
        ([Decimal(1)], [Decimal(2)]),
    ],
)
def test_a_migration_that_gives_another_default_is_another_one(one: Any, other: Any) -> None:
    made: Callable[[Any], str] = lambda default: migration("m", "1.1.0").add_field("Post", "n", default).digest()  # noqa: E731 - one place
    assert made(one) == made(one) != made(other)
    assert digest_of({"b", "a"}) == digest_of({"a", "b"})
