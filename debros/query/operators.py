"""Operators by name, for `where("likes", ">", 3)`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeAlias

from debros.errors import QueryError, did_you_mean
from debros.query.columns import Column
from debros.query.expressions import Expr

Op: TypeAlias = Literal[
    "=", "!=", "<", "<=", ">", ">=", "in", "not in", "between", "like", "not like", "ilike", "regex", "contains",
    "contains any", "contains all", "==", "<>", "eq", "ne", "lt", "lte", "gt", "gte", "is null", "is not null", "includes",
    "includes any", "includes all", "not ilike", "startswith", "endswith", "icontains", "has key",
]  # fmt: skip
Direction: TypeAlias = Literal["asc", "desc"]


def _between(column: Column[Any], bounds: Any) -> Expr:
    if not isinstance(bounds, Sequence) or isinstance(bounds, str) or len(bounds) != 2:
        raise QueryError(f"{column!r}: between takes a low and a high value, not {bounds!r}")
    return column.between(*bounds)


_BY_NAME: Final[dict[str, Callable[[Column[Any], Any], Expr]]] = {
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
    "is null": lambda column, value: _null(column, value),
    "is not null": lambda column, value: ~_null(column, value),
    "not ilike": lambda column, value: ~column.ilike(value),
    "startswith": lambda column, value: column.startswith(value),
    "endswith": lambda column, value: column.endswith(value),
    "icontains": lambda column, value: column.icontains(value),
    "has key": lambda column, value: column.has_key(value),
}


ALIASES: Final[dict[str, str]] = {
    "==": "=", "eq": "=", "<>": "!=", "ne": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">=", "includes": "contains",
    "includes any": "contains any", "includes all": "contains all",
}  # fmt: skip
OPERATORS: Final = _BY_NAME | {other: _BY_NAME[name] for other, name in ALIASES.items()}


def compared(column: Column[Any], op_and_value: tuple[Any, ...]) -> Expr:
    """Return the condition of a value, or of an operator and a value: what named conditions take behind the field."""
    if len(op_and_value) == 1:
        return apply(column, "=", op_and_value[0])
    if len(op_and_value) != 2:
        raise QueryError(f"{column!r} takes a value, or an operator and a value")
    return apply(column, *op_and_value)


def _null(column: Column[Any], value: object) -> Expr:
    if type(value) is not bool:
        raise QueryError(f"{column!r}: 'is null' takes True or False, or nothing: where(name, 'is null')")
    return column.is_null() if value else column.is_not_null()


def apply(column: Column[Any], operator: object, value: object) -> Expr:
    """Return the condition that an operator makes of a column and a value.

    Raises:
        QueryError: there is no such operator, or the value does not fit.
    """
    found = OPERATORS.get(operator) if isinstance(operator, str) else None
    if found is None:
        hint = did_you_mean(str(operator), OPERATORS) or "."
        raise QueryError(f"no operator {operator!r}{hint} Operators: {', '.join(OPERATORS)}")
    return found(column, value)
