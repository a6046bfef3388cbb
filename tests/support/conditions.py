"""What conditions mean, in plain Python: a second, independent reading of every operator, to compare with.

A condition is a tuple: an operator and its arguments. `build` writes it in the query language, `holds` judges it
for a row (a dict of Python values) as True, False, or None for unknown.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from debros.query.columns import Column
from debros.query.expressions import Expr

Condition = tuple[Any, ...]
Truth = bool | None
COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def build(condition: Condition, column: Callable[[str], Column[Any]]) -> Expr:
    kind, *args = condition
    made: Expr
    if kind == "and":
        made = build(args[0], column) & build(args[1], column)
    elif kind == "or":
        made = build(args[0], column) | build(args[1], column)
    elif kind == "not":
        made = ~build(args[0], column)
    elif kind == "columns":
        made = COMPARE[args[0]](column(args[1]), column(args[2]))
    elif kind == "compare":
        made = COMPARE[args[0]](column(args[1]), args[2])
    elif kind == "part":  # length, date, year, month, day
        made = COMPARE[args[0]](getattr(column(args[2]), args[1]), args[3])
    elif kind == "path":
        made = COMPARE[args[0]](column(args[1]).path(args[2]), args[3])
    else:
        made = getattr(column(args[0]), kind)(*args[1:])
    return made


def holds(condition: Condition, row: Mapping[str, Any]) -> Truth:
    kind, *args = condition
    if kind == "not":
        inner = holds(args[0], row)
        return None if inner is None else not inner
    if kind in ("and", "or"):
        both = {holds(args[0], row), holds(args[1], row)}
        decisive = kind == "or"
        return decisive if decisive in both else None if None in both else not decisive
    if kind == "columns":
        return _compared(args[0], row[args[1]], row[args[2]])
    if kind == "compare":
        if args[2] is None:
            return (row[args[1]] is None) is (args[0] == "==")
        return _compared(args[0], row[args[1]], args[2])
    if kind == "part":
        value = row[args[2]]
        return _compared(args[0], None if value is None else _part(args[1], value), args[3])
    if kind == "path":
        return _at_path(args[0], row[args[1]], args[2], args[3])
    if kind in ("is_null", "is_not_null"):
        return (row[args[0]] is None) is (kind == "is_null")
    if kind in ("in_", "not_in"):
        found = _member(row[args[0]], args[1])
        return found if kind == "in_" or found is None else not found
    value = row[args[0]]
    return None if value is None else OPERATORS[kind](value, *args[1:])


def _compared(sign: str, left: Any, right: Any) -> Truth:
    return None if left is None or right is None else bool(COMPARE[sign](left, right))


def _member(value: Any, values: list[Any]) -> Truth:
    present = [one for one in values if one is not None]
    if value is None:
        return True if len(present) != len(values) else None if present else False
    return value in present


def _part(part: str, value: Any) -> Any:
    if part == "length":
        return len(value)
    if isinstance(value, datetime):
        value = value.astimezone(UTC)
    return value.date() if part == "date" else getattr(value, part)


def _at_path(sign: str, value: Any, dotted: str, sought: Any) -> Truth:
    for key in dotted.split("."):
        if isinstance(value, list):
            value = value[int(key)] if key.isdigit() and int(key) < len(value) else None
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return None if _sort(value) != _sort(sought) else _compared(sign, value, sought)


def _sort(value: Any) -> str:
    return "number" if type(value) in (int, float) else type(value).__name__


def _pattern(pattern: str) -> str:
    return "".join({"%": ".*", "_": "."}.get(c, re.escape(c)) for c in pattern)


OPERATORS: dict[str, Callable[..., bool]] = {
    "between": lambda value, low, high: low <= value <= high,
    "like": lambda value, pattern: re.fullmatch(_pattern(pattern), value, re.DOTALL) is not None,
    "ilike": lambda value, pattern: re.fullmatch(_pattern(pattern.casefold()), value.casefold(), re.DOTALL) is not None,
    "matches": lambda value, pattern: re.search(pattern, value) is not None,
    "startswith": lambda value, prefix: value.startswith(prefix),
    "contains": lambda value, item: item in value,
    "endswith": lambda value, text: value.endswith(text),
    "icontains": lambda value, text: text.casefold() in value.casefold(),
    "contains_any": lambda value, items: any(item in value for item in items),
    "contains_all": lambda value, items: all(item in value for item in items),
    "has_key": lambda value, key: key in value,
}


def ordered(rows: list[dict[str, Any]], by: list[tuple[str, bool]]) -> list[dict[str, Any]]:
    """Sort rows: nulls first ascending, last descending; the id breaks ties, ascending."""
    made = sorted(rows, key=lambda row: row["id"])
    for name, down in reversed(by):
        made.sort(key=lambda row: (row[name] is not None, row[name]), reverse=down)
    return made
