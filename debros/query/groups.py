"""Conditions joined by functions: `debros.any_of(a, b, c)` and `debros.all_of(...)`, for lists of any length."""

from __future__ import annotations

from debros.errors import QueryError
from debros.query.expressions import Expr, Joined, Leaf


def all_of(*conditions: Expr) -> Expr:
    """Whether all of these conditions hold: `a & b & ...`; of none, true.

    Raises:
        QueryError: one of them is no condition.
    """
    return _joined(" AND ", conditions, "1")


def any_of(*conditions: Expr) -> Expr:
    """Whether one of these conditions holds: `a | b | ...`; of none, false.

    Raises:
        QueryError: one of them is no condition.
    """
    return _joined(" OR ", conditions, "0")


def _joined(operator: str, conditions: tuple[Expr, ...], of_none: str) -> Expr:
    for condition in conditions:
        if not isinstance(condition, Expr):
            raise QueryError(f"{condition!r} is no condition; write e.g. `Post.likes > 3`")
    if not conditions:
        return Leaf(of_none, (), frozenset())
    made, *others = conditions
    for other in others:
        made = Joined.of(operator, made, other)
    return made
