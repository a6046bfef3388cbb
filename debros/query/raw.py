"""The escape hatch: conditions and orders in SQL, of the words that SQL expressions are made of, with bound values only.

`where_raw("{likes} * 2 > ? AND length({title}) < ?", [10, 80])`. Fields stand in braces; every value is a `?`. What is
neither a field, a mark, a number, an operator nor a known word is refused where it is written, so no text of a stranger
can become SQL, and nothing but the row itself can be read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import apsw

from debros.errors import QueryError, did_you_mean
from debros.query import functions
from debros.query.catalog import Columns
from debros.query.expressions import Expr, Leaf, Order
from debros.query.operands import plain
from debros.values.scalars import SCALARS

MAX_RAW: Final = 2_000  # characters
WORDS: Final = frozenset(
    [
        "and",
        "or",
        "not",
        "is",
        "null",
        "isnull",
        "notnull",
        "between",
        "in",
        "like",
        "glob",
        "case",
        "when",
        "then",
        "else",
        "end",
        "cast",
        "as",
        "integer",
        "real",
        "text",
        "blob",
        "numeric",
        "collate",
        "nocase",
        "binary",
        "rtrim",
        "escape",
        "true",
        "false",
        "distinct",
        "from",
        "abs",
        "ceil",
        "floor",
        "round",
        "sign",
        "mod",
        "min",
        "max",
        "coalesce",
        "ifnull",
        "nullif",
        "iif",
        "typeof",
        "length",
        "lower",
        "upper",
        "trim",
        "ltrim",
        "rtrim",
        "replace",
        "substr",
        "substring",
        "instr",
        "unicode",
        "char",
        "hex",
        "concat",
        "concat_ws",
        "date",
        "time",
        "datetime",
        "julianday",
        "strftime",
        "unixepoch",
        "debros_casefold",
        "debros_length",
        "debros_like",
        "debros_ilike",
        "debros_matches",
    ]
)
_TOKEN: Final = re.compile(
    r"\s+|\{(?P<field>[^{}]*)\}|(?P<mark>\?)|(?P<number>\d+(?:\.\d+)?)|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|\|\||<=|>=|<>|!=|==|<<|>>|[-+*/%<>=(),&|~]"
)


def condition(columns: Columns, expression: str, bindings: Sequence[object]) -> Expr:
    """Return the condition that an SQL expression states.

    Raises:
        QueryError: it is none, or has other words than those allowed, or another number of marks than of values.
    """
    text, bound = _written(columns, expression, bindings)
    return Leaf(f"({text})", bound, columns.owners)


def order(columns: Columns, expression: str, bindings: Sequence[object], descending: bool) -> Order:
    """Return the order by an SQL expression.

    Raises:
        QueryError: as `condition`.
    """
    text, bound = _written(columns, expression, bindings)
    return Order(f"({text})", bound, columns.owners, descending, True)


def _written(columns: Columns, expression: str, bindings: Sequence[object]) -> tuple[str, tuple[object, ...]]:
    if not isinstance(expression, str) or not expression.strip() or len(expression) > MAX_RAW:
        raise QueryError(f"a raw expression is SQL text of 1 to {MAX_RAW} characters, not {expression!r:.80}")
    if isinstance(bindings, str | bytes) or not isinstance(bindings, Sequence):
        raise QueryError(f"the bindings of a raw expression are a list of values, not {bindings!r}")
    parts: list[str] = []
    bare: list[str] = []  # without fields, to be tried where no table is
    bound: list[object] = []
    given = list(bindings)
    at = depth = 0
    while at < len(expression):
        token = _TOKEN.match(expression, at)
        if token is None:
            raise QueryError(
                f"a raw expression has fields in braces, `?` for values, numbers, operators and words of SQL, not {expression[at : at + 20]!r}"
            )
        at = token.end()
        part = token.group()
        if (name := token.group("field")) is not None:
            column = columns.named(name.strip())
            parts.append(column.sql)
            bare.append("NULL")
            bound += column.bindings
            continue
        if token.group("mark"):
            if not given:
                raise QueryError(f"{expression!r} has more `?` than there are values")
            bound.append(_bound(given.pop(0)))
        elif (word := token.group("word")) is not None and word.lower() not in WORDS:
            if word in columns.by_name:
                raise QueryError(f"{word!r} in a raw expression: a field stands in braces, {{{word}}}")
            hint = did_you_mean(word, [*WORDS, *columns.by_name])
            raise QueryError(
                f"{word!r} is no word of raw expressions{hint}; a field stands in braces, {{likes}}, and a value is a `?`"
            )
        depth += (part == "(") - (part == ")")
        if depth < 0:
            break
        parts.append(part)
        bare.append(part)
    if depth:  # what closes a parenthesis of ours would leave the condition that it is part of
        raise QueryError(f"{expression!r} has parentheses that do not match")
    if given:
        raise QueryError(f"{expression!r} has fewer `?` than there are values")
    _check(expression, " ".join(bare))
    return " ".join(parts), tuple(bound)  # with spaces, so that no two tokens become one, or a comment


def _bound(value: Any) -> object:
    """Return a value as columns hold it."""
    codec = SCALARS.get(type(value))
    if value is None or codec is None:
        if value is None or type(value) in (bool, int, float, str, bytes):
            return value
        raise QueryError(f"{value!r} cannot be bound in a raw expression; bind text, numbers, bytes, dates or None")
    if not codec.is_operand(value):
        raise QueryError(f"{value!r} has no stored form")
    wire = value if codec.to_wire is None else codec.to_wire(value)
    if codec.to_key is not None:
        return codec.to_key(wire)
    return plain(wire if codec.to_column is None else codec.to_column(wire))


@lru_cache(maxsize=256)
def _check(expression: str, bare: str) -> None:
    """Let SQLite say whether it is an expression, and whether its functions take what they are given."""
    db = apsw.Connection(":memory:")
    try:
        functions.register(db)
        db.execute(f"EXPLAIN SELECT ({bare})", (None,) * bare.count("?")).fetchall()
    except apsw.Error as error:
        raise QueryError(f"{expression!r} is no SQL expression: {error}") from None
    finally:
        db.close()
