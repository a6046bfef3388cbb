"""From a question to SQL: names from the schema, values bound, rows that do not show left out.

Every statement begins with the literal `"_hidden" = 0`, which the partial indexes need, and the logs that may be
read. Rows are ordered by what the query says, then by `id` (and the log, where several are read), so that every
order is total.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from debros.errors import QueryError
from debros.query.catalog import Columns
from debros.query.columns import MAX_BOUND, Column
from debros.query.expressions import Expr, Leaf, Order, Statement, logs_clause
from debros.query.ports import Source, Users
from debros.query.routing import logs_of

Sql: TypeAlias = tuple[str, tuple[object, ...]]
"""A statement, or a part of one, and what its marks stand for."""


_ONE_CONDITION: Final = {"subject", "columns", "condition"}  # what a query says that says nothing else


@dataclass(frozen=True, slots=True)
class Sort:
    """One term of a total order."""

    sql: str
    bindings: tuple[object, ...]
    descending: bool
    nullable: bool
    is_log: bool = False  # the number of the row's log, which is this node's own

    @property
    def text(self) -> str:
        """The term as ORDER BY writes it."""
        return f"{self.sql} DESC" if self.descending else self.sql


class Question:
    """What a query asks, as data."""

    __slots__ = ()
    columns: Columns
    condition: Expr | None = None
    users: Users = None
    orders: tuple[Order, ...] = ()
    at_most: int | None = None
    skipped: int = 0
    picked: tuple[Column[Any], ...] | None = None  # `None`: whole records
    is_distinct: bool = False
    index: str | None = None  # the only one that may be used
    is_partial: bool = False  # take what is here where shards are missing

    @property
    def is_of_several(self) -> bool:
        """Whether one id may show more than once: that of several users' records."""
        users = self.users
        return users == "all" or (users is not None and len(users) != 1)


def _is_plain(question: Question) -> bool:
    """Whether a question says nothing of which rows, of those that fulfil its condition, and of how they are found."""
    return question.at_most is None and not question.skipped and question.index is None and not question.is_distinct


def start(question: Question, source: Source | None) -> str:
    """Return FROM and the beginning of WHERE. Where rows lie in several files, SQLite chooses the index in each."""
    columns = question.columns
    if question.index is None or (source is not None and source.is_spread):
        return columns.from_visible
    return f' FROM {columns.sql_name} INDEXED BY "{question.index}" WHERE {columns.visible}'


def unordered(question: Question, source: Source) -> Sql:
    """Return FROM and WHERE of a statement whose rows need no order.

    Where no index helps, the table is read as it lies: SQLite takes an index of visible rows for shorter than their table, and
    would look up every row by it.
    """
    where, bound = restriction(question, source)
    columns, begin = question.columns, start(question, source)
    is_one_table = question.index is None and not source.is_spread and not where.startswith(columns.of_logs)
    if is_one_table and columns.helps_no_index(question.condition):
        begin = f" FROM {columns.sql_name} NOT INDEXED WHERE {columns.visible}"
    return begin + where, bound


def restriction(question: Question, source: Source) -> Sql:
    """Return ` AND ...`: the logs that may be read, and the condition."""
    condition = question.condition
    text = ""
    bound: tuple[object, ...] = ()
    if not source.is_whole:
        logs = logs_of(source, question.users, question.columns, condition, question.is_partial)
        if logs is not None:
            one = len(logs) == 1
            text, bound = (question.columns.one_log, logs) if one else logs_clause(question.columns.sql_name, logs)
    if condition is None:
        return text, bound
    if type(condition) is Leaf:
        return f"{text} AND {condition.text}", bound + condition.bindings
    out = Statement(source, question.users, question.is_partial)
    condition.write(out)
    if len(out.bound) > MAX_BOUND:
        raise QueryError(f"a query binds at most {MAX_BOUND} values, not {len(out.bound)}; `in_` takes any number")
    return f"{text} AND {out.text()}", (*bound, *out.bound)


def order(question: Question, source: Source) -> Sql:
    """Return the ORDER BY clause: total, and short where the query has no wishes."""
    columns, orders = question.columns, question.orders
    if question.is_distinct or question.is_of_several:
        terms = sorts(question, source)
        return " ORDER BY " + ", ".join(term.text for term in terms), tuple(b for term in terms for b in term.bindings)
    if not orders:
        return f" ORDER BY {columns.id.sql}", ()
    if any(one.is_random for one in orders):
        orders = tuple(one.shuffled(source.random_bytes(8)) for one in orders)
    last = columns.id.sql
    if len(orders) == 1 and not orders[0].bindings:
        one = orders[0]
        return f" ORDER BY {one.text}" if one.sql == last else f" ORDER BY {one.text}, {last}", ()
    listed = [one.text for one in orders]
    if not any(one.sql == last for one in orders):  # SQLite would sort by it a second time
        listed.append(last)
    return " ORDER BY " + ", ".join(listed), tuple(b for one in orders for b in one.bindings)


def sorts(question: Question, source: Source) -> list[Sort]:
    """Return the terms of the total order: the wishes, then what makes it total."""
    columns = question.columns
    orders = question.orders
    if any(one.is_random for one in orders):
        orders = tuple(one.shuffled(source.random_bytes(8)) for one in orders)
    terms = [Sort(one.sql, one.bindings, one.descending, one.nullable) for one in orders]
    if question.is_distinct and question.picked is not None:
        terms += [Sort(column.sql, column.bindings, False, column.nullable) for column in question.picked]
    else:
        terms.append(Sort(columns.id.sql, (), False, False))
        if question.is_of_several:
            terms.append(Sort(f'{columns.sql_name}."_log"', (), False, False, is_log=True))
    found: dict[tuple[str, tuple[object, ...]], Sort] = {}
    for term in terms:
        found.setdefault((term.sql, term.bindings), term)
    listed = list(found.values())
    if question.is_distinct or question.is_of_several:
        return listed
    at = next(n for n, term in enumerate(listed) if term.sql == columns.id.sql)
    return listed[: at + 1]  # rows differ by their ids; what comes behind them may change, and orders nothing


def cut(question: Question) -> Sql:
    """Return LIMIT and OFFSET."""
    if question.at_most is None:
        return (" LIMIT -1 OFFSET ?", (question.skipped,)) if question.skipped else ("", ())
    if question.skipped:
        return " LIMIT ? OFFSET ?", (question.at_most, question.skipped)
    return " LIMIT ?", (question.at_most,)


def grouping(question: Question) -> Sql:
    """Return the GROUP BY that makes selected rows distinct, by how their values compare."""
    if not question.is_distinct or question.picked is None:  # records are distinct by themselves
        return "", ()
    bound = tuple(b for column in question.picked for b in column.bindings)
    return " GROUP BY " + ", ".join(column.sql for column in question.picked), bound


def rows(question: Question, source: Source, also: list[Sort] | None = None, *, whole: bool = False) -> Sql:
    """Return the SELECT of the rows; `also` gives further terms, behind the others.

    Records are made of rows in brief, unless they are wanted `whole`, or are a transaction's: its entries are not written yet.
    """
    where, bound = restriction(question, source)
    group, group_bound = grouping(question)
    by, by_bound = order(question, source)
    limit, limit_bound = cut(question)
    whole = whole or source.is_inside()
    if question.picked is None and also is None and question.index is None and not whole:
        return f"{question.columns.rows_in_brief}{where}{by}{limit}", (*bound, *by_bound, *limit_bound)
    picked, picked_bound = _listed(question, whole)
    if also:
        picked += ", " + ", ".join(term.sql for term in also)
        picked_bound += tuple(b for term in also for b in term.bindings)
    text = f"SELECT {picked}{start(question, source)}{where}{group}{by}{limit}"
    return text, (*picked_bound, *bound, *group_bound, *by_bound, *limit_bound)


def rows_as_they_lie(question: Question, source: Source) -> Sql | None:
    """Return the SELECT of records in no order, to be put in that of ids; `None` where SQLite knows better.

    Where every row is looked at, the table as it lies is read faster than by the index of ids, and is nearly in order.
    """
    columns, condition = question.columns, question.condition
    if question.orders or question.picked is not None or not _is_plain(question) or question.is_of_several:
        return None
    if source.is_spread or not (condition is None or columns.helps_no_index(condition)):
        return None
    where, bound = restriction(question, source)
    if where.startswith(columns.of_logs):
        return None
    listed = columns.listed if source.is_inside() else columns.brief
    return f"SELECT {listed} FROM {columns.sql_name} NOT INDEXED WHERE {columns.visible}{where}", bound


def _listed(question: Question, whole: bool) -> Sql:
    columns, picked = question.columns, question.picked
    listed = columns.listed if whole else columns.brief
    if picked is None:
        return listed, ()
    computed = any(column.is_computed for column in picked)
    terms = [column.value for column in picked if not column.is_computed]
    bound = tuple(b for column in picked for b in column.bindings)
    return ", ".join([listed, *terms] if computed else terms), bound


def count(question: Question, source: Source) -> Sql:
    """Return the SELECT of the number of rows."""
    condition = question.condition
    if type(condition) is Leaf and source.is_whole and vars(question).keys() == _ONE_CONDITION:
        return question.columns.count_where(condition.text), condition.bindings
    found, bound = unordered(question, source)
    group, group_bound = grouping(question)
    limit, limit_bound = cut(question)
    if not group and not limit:
        return f"SELECT count(*){found}", bound
    return f"SELECT count(*) FROM (SELECT 1{found}{group}{limit})", (*bound, *group_bound, *limit_bound)


def exists(question: Question, source: Source) -> Sql:
    """Return a SELECT of one row, if there is any; not for distinct rows."""
    found, bound = unordered(question, source)
    at_most = 1 if question.at_most is None else min(1, question.at_most)
    return f"SELECT 1{found} LIMIT ? OFFSET ?", (*bound, at_most, question.skipped)


def values_of(question: Question, source: Source, column: Column[Any]) -> Sql:
    """Return the SELECT of one column's values as `"sort"` and `"value"`, for an aggregate over a limited query."""
    where, bound = restriction(question, source)
    by, by_bound = order(question, source)
    limit, limit_bound = cut(question)
    text = f'SELECT {column.sql} AS "sort", {column.value} AS "value"{start(question, source)}{where}{by}{limit}'
    return text, (*column.bindings, *column.bindings, *bound, *by_bound, *limit_bound)
