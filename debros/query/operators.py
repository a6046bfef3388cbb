"""Operators by name, for `where("likes", ">", 3)`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeAlias

from debros.errors import QueryError, did_you_mean
from debros.query.columns import Column
from debros.query.expressions import Expr

Op: TypeAlias = Literal[
    "=", "!=", "<", "<=", ">", ">=", "in", "not in", "between", "like", "not like", "ilike", "regex", "contains",
    "contains any", "contains all",
]  # fmt: skip
Direction: TypeAlias = Literal["asc", "desc"]


def _between(column: Column[Any], bounds: Any) -> Expr:
    if not isinstance(bounds, Sequence) or isinstance(bounds, str) or len(bounds) != 2:
        raise QueryError(f"{column!r}: between takes a low and a high value, not {bounds!r}")
    return column.between(*bounds)


OPERATORS: Final[dict[str, Callable[[Column[Any], Any], Expr]]] = {
    "=": lambda column, value: column == value,
    "!=": lambda column, value: column != value,
    "<": lambda column, value: column < value,
    "<=": lambda column, value: column <= value,
    ">": lambda column, value: column > value,
    ">=": lambda column, value: column >= value,
    "in": lambda column, value: column.in_(value),
    "not in": lambda column, value: column.not_in(value),
    "between": _between,
    "like": lambda column, value: column.like(value),
    "not like": lambda column, value: ~column.like(value),
    "ilike": lambda column, value: column.ilike(value),
    "regex": lambda column, value: column.matches(value),
    "contains": lambda column, value: column.contains(value),
    "contains any": lambda column, value: column.contains_any(value),
    "contains all": lambda column, value: column.contains_all(value),
}


def apply(column: Column[Any], operator: object, value: object) -> Expr:
    """Return the condition that an operator makes of a column and a value.

    Raises:
        QueryError: there is no such operator, or the value does not fit.
    """
    found = OPERATORS.get(operator) if isinstance(operator, str) else None
    if found is None:
        hint = did_you_mean(str(operator), OPERATORS)
        raise QueryError(f"no operator {operator!r}{hint}. Operators: {', '.join(OPERATORS)}")
    return found(column, value)
