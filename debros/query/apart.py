"""Questions over the arms of a model, taken apart and put together again.

Where the rows of a model lie in several files, a query that takes long runs on each of them at once, and what the files
answer is merged as if it had come from one: rows in order by (sort keys, id), cut once; counts, sums, averages and groups
from partial ones. A statement that looks at anything but the rows themselves is not taken apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from debros.query import compile as sql
from debros.query.expressions import GROUP
from debros.query.functions import AGGREGATES, DecimalAverage, DecimalSum
from debros.query.ports import Apart
from debros.replica.tables import Row

if TYPE_CHECKING:
    from debros.query.aggregates import Aggregate
    from debros.query.columns import Column
    from debros.query.compile import Question, Sort
    from debros.query.expressions import Order
    from debros.query.ports import Source
    from debros.query.steps import Steps

Values: TypeAlias = tuple[Any, ...]
Answers: TypeAlias = Sequence[list[Row]]  # of each arm

_RANKS: Final = {type(None): 0, int: 1, float: 1, str: 2}  # SQLite's order of types; blobs come last


class Partial(NamedTuple):
    """How an aggregate is made of those of parts of the rows."""

    terms: tuple[str, ...]  # SQL, of a part
    join: Callable[[list[Values]], Values]  # the parts' values -> what the terms of the whole would be
    is_own: bool = True  # whether the values of the only part are those of the whole


def rows(question: Steps[Any], source: Source) -> Apart | None:
    """Return how the rows of a query are found in each arm; `None`: in all at once only."""
    if any(order.is_random for order in question.orders):
        return None
    skipped, at_most = question.skipped, question.at_most
    sorts = sql.sorts(question, source)
    alone = question._but("skipped", 0)._but("at_most", None if at_most is None else at_most + skipped)
    text, bound = sql.rows(alone, source, also=sorts)
    width = len(sorts)

    def join(answers: Answers) -> list[Row]:
        found = _in_order([row for answer in answers for row in answer], sorts)
        if question.is_distinct and question.picked is not None:
            found = list({row[-width:]: row for row in reversed(found)}.values())[::-1]
        end = None if at_most is None else skipped + at_most
        return [row[:-width] for row in found[skipped:end]]

    return _apart(question, text, bound, join, is_summary=False)


def count(question: Question, source: Source) -> Apart | None:
    """Return how the rows of a query are counted in each arm."""
    if question.at_most is not None or question.skipped or question.is_distinct:
        return None
    text, bound = sql.count(question, source)
    return _apart(question, text, bound, lambda answers: [(sum(answer[0][0] for answer in answers),)])


def aggregate(question: Question, source: Source, kind: str, column: Column[Any]) -> Apart | None:
    """Return how an aggregate of all rows is made of those of the arms."""
    made = partial(kind, column)
    if made is None or question.at_most is not None or question.skipped:
        return None
    where, bound = sql.restriction(question, source)
    text = f"SELECT {', '.join(made.terms)}{sql.start(question, source)}{where}"
    return _apart(question, text, bound, lambda answers: [made.join([answer[0] for answer in answers])])


def groups(
    question: Question, source: Source, keys: Sequence[Column[Any]], aggregates: Sequence[Aggregate[Any]],
    orders: Sequence[Order], at_most: int | None,
) -> Apart | None:  # fmt: skip
    """Return how groups are made of those of the arms: the keys, then the aggregates' terms."""
    made = [one.partial for one in aggregates]
    if any(key.bindings for key in keys) or any(GROUP in order.owners for order in orders):
        return None
    partials = [one for one in made if one is not None]
    if len(partials) < len(made):
        return None
    listed = [
        *(key.value for key in keys),
        *(key.sql for key in keys),
        *(term for one in partials for term in one.terms),
    ]
    where, bound = sql.restriction(question, source)
    by = ", ".join(key.sql for key in keys)
    text = f"SELECT {', '.join(listed)}{sql.start(question, source)}{where} GROUP BY {by}"
    width = len(keys)
    places = [(next(n for n, key in enumerate(keys) if key.sql == order.sql), order.descending) for order in orders]
    places += [(n, False) for n in range(width)]

    def join(answers: Answers) -> list[Row]:
        found: dict[Values, list[Row]] = {}
        for answer in answers:
            for row in answer:
                found.setdefault(row[width : 2 * width], []).append(row)
        ordered = list(found.items())
        for at, descending in reversed(places):
            ordered.sort(key=lambda item: _rank(item[0][at]), reverse=descending)
        return [_joined(parts, width, partials) for _, parts in islice(ordered, at_most)]

    return _apart(question, text, bound, join)


def _joined(parts: list[Row], width: int, partials: Sequence[Partial]) -> Row:
    joined, at, is_only = list(parts[0][:width]), 2 * width, len(parts) == 1
    for terms, join, is_own in partials:
        end = at + len(terms)
        joined += parts[0][at:end] if is_only and is_own else join([part[at:end] for part in parts])
        at = end
    return tuple(joined)


def _apart(
    question: Question,
    text: str,
    bound: tuple[object, ...],
    join: Callable[[Answers], list[Row]],
    *,
    is_summary: bool = True,
) -> Apart | None:
    lists = text.count("FROM json_each(")  # the values of a long `in_`
    if text.count("SELECT") > 1 + lists or text.count(" FROM ") > 1 + lists:
        return None
    columns = question.columns
    is_scan = is_summary and " GROUP BY " not in text and columns.helps_no_index(question.condition)
    return Apart(text, bound, columns.sql_name, join, is_scan, is_summary)


def _in_order(found: list[Row], sorts: Sequence[Sort]) -> list[Row]:
    """Sort rows by the values at their ends, as SQLite does; sorting by the last term first keeps what is equal."""
    for at, term in zip(range(-1, -len(sorts) - 1, -1), reversed(sorts), strict=True):
        found.sort(key=lambda row: _rank(row[at]), reverse=term.descending)
    return found


def _rank(value: Any) -> tuple[int, Any]:
    return _RANKS.get(type(value), 3), 0 if value is None else value


# -- partial aggregates ---------------------------------------------------------------------------------------------


def partial(kind: str, column: Column[Any] | None) -> Partial | None:
    """Return how an aggregate of a column is made of parts; `None`: it is not."""
    if column is None:
        return Partial(("count(*)",), _summed)
    codec, sort = column.codec, column.sql
    if column.bindings or codec.kind == "any":
        return None
    if kind == "count":
        return Partial((f"count({sort})",), _summed)
    if kind == "count distinct":
        code = "hex" if codec.to_key is not None or codec.affinity in ("TEXT", "BLOB") else "quote"
        return Partial(
            (f"json_group_array(DISTINCT {code}({sort})) FILTER (WHERE {sort} IS NOT NULL)",), _different, False
        )
    if codec.kind == "decimal":
        if kind == "avg":
            return Partial((f"debros_decimal_sum({column.value})", f"count({column.value})"), _decimal_mean, False)
        return Partial((f"debros_decimal_{kind}({column.value})",), lambda parts: _decimals(kind, parts))
    if kind == "min":
        return Partial((f"min({sort})",), lambda parts: (min(_there(parts), default=None),))
    if kind == "max":
        return Partial((f"max({sort})",), lambda parts: (max(_there(parts), default=None),))
    terms = (f"sum({sort})",) if codec.kind == "float" else (f"sum({sort} >> 32)", f"sum({sort} & 4294967295)")
    if kind == "sum":
        return Partial(terms, _summed)
    return Partial((*terms, f"count({sort})"), _mean, False)


def _there(parts: list[Values], at: int = 0) -> list[Any]:
    return [part[at] for part in parts if part[at] is not None]


def _summed(parts: list[Values]) -> Values:
    columns = [_there(parts, at) for at in range(len(parts[0]))]
    return tuple(sum(values) if values else None for values in columns)


def _different(parts: list[Values]) -> Values:
    return (len({value for (listed,) in parts for value in json.loads(listed)}),)


def _mean(parts: list[Values]) -> Values:
    *sums, count = _summed(parts)
    if not count:
        return (None,)
    return ((sums[0] if len(sums) == 1 else (sums[0] << 32) + sums[1]) / count,)


def _decimals(kind: str, parts: list[Values]) -> Values:
    whole = AGGREGATES[f"debros_decimal_{kind}"][0]()
    for (text,) in parts:
        whole.step(text)
    return (whole.final(),)


def _decimal_mean(parts: list[Values]) -> Values:
    total, mean = DecimalSum(), DecimalAverage()
    for text, _ in parts:
        total.step(text)
    mean.total, mean.count = total.total, sum(count for _, count in parts)
    return (mean.final(),)
