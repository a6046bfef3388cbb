"""`Query`: a question as an immutable value. Each step gives a new one; terminals, which are awaited, answer it.

What is wrong (a name, an operator, an operand, a direction, a negative limit) raises where it is written, so the
traceback points at it. Two spellings, one engine: `where(Post.likes > 3)` and `where("likes", ">", 3)`.

`where` narrows; `or_where` widens everything said so far: `where(a).where(b).or_where(c)` is `(a & b) | c`. Groups
keep it together: `where(lambda q: q.where(b).or_where(c))`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, Final, Generic, Literal, Self, TypeAlias, TypeVar, overload

from trio.lowlevel import checkpoint_if_cancelled

from debros.errors import MultipleFoundError, NotFoundError, QueryError, did_you_mean
from debros.query import aggregates, paging
from debros.query import compile as sql
from debros.query.aggregates import Grouped
from debros.query.catalog import columns
from debros.query.columns import Column
from debros.query.expressions import GROUP, Expr, Listable, Order, Statement
from debros.query.loading import Loaded, load
from debros.query.meta import checked_did
from debros.query.plan import Plan, explain
from debros.query.ports import Source, Subject
from debros.query.relations import Relation, along, merged
from debros.query.rows import NumberedPage, Page, Rows

R = TypeVar("R")
T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
N = TypeVar("N", int, float, Decimal)
Op: TypeAlias = Literal[
    "=", "!=", "<", "<=", ">", ">=", "in", "not in", "between", "like", "not like", "ilike", "regex", "contains",
    "contains any", "contains all",
]  # fmt: skip
Direction: TypeAlias = Literal["asc", "desc"]


def _between(column: Column[Any], bounds: Any) -> Expr:
    if not isinstance(bounds, Sequence) or isinstance(bounds, str) or len(bounds) != 2:
        raise QueryError(f"{column!r}: between takes a low and a high value, not {bounds!r}")
    return column.between(*bounds)


_OPERATORS: Final[dict[str, Callable[[Column[Any], Any], Expr]]] = {
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


class Query(sql.Question, Listable, Generic[R]):
    """A question about one model's records. Immutable."""

    def __init__(self, subject: Subject[R]) -> None:
        self.subject: Subject[Any] = subject
        self.columns = columns(subject.schema)
        self.condition = None
        self.users = None
        self.orders = ()
        self.at_most = None
        self.skipped = 0
        self.picked = None
        self.is_distinct = False
        self.loads: tuple[Relation[Any], ...] = ()

    def _but(self, name: str, value: object) -> Self:
        made = object.__new__(type(self))
        made.__dict__ = {**self.__dict__, name: value}
        return made

    # conditions

    @overload
    def where(self, expr: Expr, /, *more: Expr) -> Self: ...
    @overload
    def where(self, group: Callable[[Query[R]], Query[R]], /) -> Self: ...
    @overload
    def where(self, field: str, value: object, /) -> Self: ...
    @overload
    def where(self, field: str, op: Op, value: object, /) -> Self: ...
    def where(self, *args: Any) -> Self:
        """Keep rows that fulfil conditions: expressions, a name with a value, or a group."""
        condition = self.condition
        for one in self._conditions(args):
            condition = one if condition is None else condition & one
        return self._but("condition", condition)

    def or_where(self, *args: Any) -> Self:
        """Keep rows too that fulfil these conditions, whatever was asked before. Arguments as for `where`."""
        added: Expr | None = None
        for one in self._conditions(args):
            added = one if added is None else added & one
        if added is None:
            return self
        return self._but("condition", added if self.condition is None else self.condition | added)

    def _conditions(self, args: tuple[Any, ...]) -> tuple[Expr, ...]:
        """Return what the arguments of `where` mean, checked to be about this model."""
        if args and type(args[0]) is str:
            return (self._named_condition(args),)
        owners = self.columns.owners
        for one in args:
            if isinstance(one, Expr):
                if one.owners is not owners and not one.owners <= owners:
                    raise self._foreign(one.owners)
            elif callable(one) and len(args) == 1:
                return self._group(one)
            else:
                raise QueryError(
                    f"{one!r} is no condition; write where({self.columns.name}.id == value) or where('id', value)"
                )
        return args

    def _named_condition(self, args: tuple[Any, ...]) -> Expr:
        column = self.columns.named(args[0])
        if len(args) == 2:
            return column == args[1]
        if len(args) != 3:
            raise QueryError(f"where({args[0]!r}, ...) takes a value, or an operator and a value")
        operator = _OPERATORS.get(args[1]) if isinstance(args[1], str) else None
        if operator is None:
            hint = did_you_mean(str(args[1]), _OPERATORS)
            raise QueryError(f"no operator {args[1]!r}{hint}. Operators: {', '.join(_OPERATORS)}")
        return operator(column, args[2])

    def _group(self, group: Callable[[Query[R]], Query[R]]) -> tuple[Expr, ...]:
        made = group(Query(self.subject))
        if not isinstance(made, Query) or made.columns is not self.columns:
            raise QueryError(f"a group returns the query it was given, with conditions, not {made!r}")
        if made.orders or made.picked or made.loads or made.users or made.skipped or made.at_most is not None:
            raise QueryError("a group has conditions only; order, limit and the rest belong to the query")
        return () if made.condition is None else (made.condition,)

    def _foreign(self, owners: frozenset[str]) -> QueryError:
        if GROUP in owners:
            return QueryError("a condition on an aggregate belongs into group_by(...).having(...)")
        others = ", ".join(sorted(owners - self.columns.owners))
        return QueryError(f"this query is about {self.columns.name}, the condition about {others}")

    def _and(self, condition: Expr) -> Self:
        return self._but("condition", condition if self.condition is None else self.condition & condition)

    def where_not(self, *args: Any) -> Self:
        """Keep rows that do not fulfil these conditions, all together. Arguments as for `where`."""
        added: Expr | None = None
        for one in self._conditions(args):
            added = one if added is None else added & one
        return self if added is None else self._and(~added)

    def where_in(self, field: str, values: Iterable[object] | Listable, /) -> Self:
        """`where(field, "in", values)`."""
        return self._and(self.columns.named(field).in_(values))

    def where_not_in(self, field: str, values: Iterable[object] | Listable, /) -> Self:
        """`where(field, "not in", values)`."""
        return self._and(self.columns.named(field).not_in(values))

    def where_null(self, field: str, /) -> Self:
        """Keep rows where the field is null."""
        return self._and(self.columns.named(field).is_null())

    def where_not_null(self, field: str, /) -> Self:
        """Keep rows where the field is not null."""
        return self._and(self.columns.named(field).is_not_null())

    def where_between(self, field: str, low: object, high: object, /) -> Self:
        """Keep rows where `low <= field <= high`."""
        return self._and(self.columns.named(field).between(low, high))

    def where_like(self, field: str, pattern: str, /) -> Self:
        """`where(field, "like", pattern)`."""
        return self._and(self.columns.named(field).like(pattern))

    def where_ilike(self, field: str, pattern: str, /) -> Self:
        """`where(field, "ilike", pattern)`."""
        return self._and(self.columns.named(field).ilike(pattern))

    def where_date(self, field: str, op: Op, day: dt.date | Iterable[dt.date], /) -> Self:
        """Compare the day, in UTC, of an instant: `where_date("created_at", ">=", date(2025, 4, 1))`."""
        operator = _OPERATORS.get(op) if isinstance(op, str) else None
        if operator is None:
            raise QueryError(f"no operator {op!r}{did_you_mean(str(op), _OPERATORS)}")
        return self._and(operator(self.columns.named(field).date, day))

    def where_column(self, field: str, op: Literal["=", "!=", "<", "<=", ">", ">="], other: str, /) -> Self:
        """Compare two fields of the record."""
        if op not in ("=", "!=", "<", "<=", ">", ">="):
            raise QueryError(f"columns compare by = != < <= > >=, not by {op!r}")
        return self._and(_OPERATORS[op](self.columns.named(field), self.columns.named(other)))

    def where_has(self, relation: str, group: Callable[[Query[Any]], Query[Any]] | None = None, /) -> Self:
        """Keep rows that have a related record, one that fulfils the group's conditions."""
        return self._and(self._related(relation, group))

    def where_doesnt_have(self, relation: str, group: Callable[[Query[Any]], Query[Any]] | None = None, /) -> Self:
        """Keep rows that have no related record, none that fulfils the group's conditions."""
        return self._and(~self._related(relation, group))

    def _related(self, name: str, group: Callable[[Query[Any]], Query[Any]] | None) -> Expr:
        relation: Relation[Any] = Relation(self.subject, name)
        if group is None:
            return relation.any()
        return relation.any(*Query(relation.target)._conditions((group,)))

    def where_user(self, *dids: str) -> Self:
        """Read the records of these users, by their DIDs, instead of the acting identity's."""
        self._must_be_personal("where_user")
        if not dids:
            raise QueryError("where_user() takes DIDs; all_users() reads everybody's records")
        return self._but("users", tuple(dict.fromkeys(map(checked_did, dids))))

    def all_users(self) -> Self:
        """Read the records of every user that this node holds."""
        self._must_be_personal("all_users")
        return self._but("users", "all")

    def _must_be_personal(self, what: str) -> None:
        if self.columns.schema.scope != "user":
            name = self.columns.name
            raise QueryError(f"{name} is global, so no {what}; write where({name}.meta.created_by == did)")

    # shape

    def include(self, *relations: Relation[Any]) -> Self:
        """Load relations with the records, one lookup per relation."""
        return self._but("loads", merged(self.loads, relations, self.subject))

    def with_(self, *relations: str | Sequence[str]) -> Self:
        """`include` by names: `with_("author", "comments.user")`, or one list of them."""
        paths = [path for one in relations for path in ([one] if isinstance(one, str) else one)]
        return self._but("loads", merged(self.loads, tuple(along(self.subject, p) for p in paths), self.subject))

    @overload
    def order_by(self, *orders: Order) -> Self: ...
    @overload
    def order_by(self, field: str, direction: Direction = ..., /) -> Self: ...
    def order_by(self, *args: Any) -> Self:
        """Order rows, by `Post.likes.desc()` or by a name and a direction; later orders break ties of earlier ones.

        Nulls come first ascending, last descending. At last the id decides, ascending.
        """
        if args and type(args[0]) is str:
            if len(args) > 2 or (len(args) == 2 and args[1] not in ("asc", "desc")):
                raise QueryError(f"order_by({args[0]!r}, ...) takes a direction, 'asc' or 'desc', not {args[1]!r}")
            column = self.columns.named(args[0])
            args = (column.desc() if args[1:] == ("desc",) else column.asc(),)
        for one in args:
            if not isinstance(one, Order):
                cure = f"; write {one!r}.asc() or .desc()" if isinstance(one, Column) else ""
                raise QueryError(f"order_by takes e.g. {self.columns.name}.id.desc(), not {one!r}{cure}")
            if one.owners is not self.columns.owners and not one.owners <= self.columns.owners:
                raise self._foreign(one.owners)
        made = self._but("orders", self.orders + args)
        if made.is_distinct:
            made._check_distinct()
        return made

    def limit(self, n: int) -> Self:
        """Take the first `n` rows."""
        if type(n) is not int or not 0 <= n < 2**63:
            raise QueryError(f"a limit is 0 or more, not {n!r}")
        return self._but("at_most", n)

    def offset(self, n: int) -> Self:
        """Leave out the first `n` rows."""
        if type(n) is not int or not 0 <= n < 2**63:
            raise QueryError(f"an offset is 0 or more, not {n!r}")
        return self._but("skipped", n)

    def distinct(self) -> Self:
        """Give equal rows of a `select` once; records are distinct already."""
        made = self._but("is_distinct", True)
        made._check_distinct()
        return made

    def _check_distinct(self) -> None:
        if self.picked is None:
            return
        if any(column.is_computed for column in self.picked):
            raise QueryError("distinct: a computed field that is not kept in the view does not compare; index it")
        listed = [column.sql for column in self.picked]
        if any(order.sql not in listed for order in self.orders):
            raise QueryError("distinct rows have an order by selected columns only")

    @overload
    def select(self, a: Column[A], /) -> Query[tuple[A]]: ...
    @overload
    def select(self, a: Column[A], b: Column[B], /) -> Query[tuple[A, B]]: ...
    @overload
    def select(self, a: Column[A], b: Column[B], c: Column[C], /) -> Query[tuple[A, B, C]]: ...
    @overload
    def select(self, a: Column[A], b: Column[B], c: Column[C], d: Column[D], /) -> Query[tuple[A, B, C, D]]: ...
    @overload
    def select(
        self, a: Column[A], b: Column[B], c: Column[C], d: Column[D], e: Column[E], /
    ) -> Query[tuple[A, B, C, D, E]]: ...
    @overload
    def select(
        self, a: Column[A], b: Column[B], c: Column[C], d: Column[D], e: Column[E], f: Column[F], /
    ) -> Query[tuple[A, B, C, D, E, F]]: ...
    @overload
    def select(self, *columns: Any) -> Query[Any]: ...
    def select(self, *columns: Any) -> Query[Any]:
        """Give tuples of these columns instead of records; names as text work too."""
        if not columns:
            raise QueryError("select which columns?")
        picked = tuple(self._column(column) for column in columns)
        made = self._but("picked", picked)
        if made.is_distinct:
            made._check_distinct()
        return made

    def _column(self, column: object) -> Column[Any]:
        if isinstance(column, str):
            return self.columns.named(column)
        if not isinstance(column, Column):
            raise QueryError(f"{column!r} is no column; write e.g. {self.columns.name}.id")
        if not column.owners <= self.columns.owners:
            raise self._foreign(column.owners)
        return column

    @overload
    def group_by(self, a: Column[A], /) -> Grouped[A]: ...
    @overload
    def group_by(self, a: Column[A], b: Column[B], /) -> Grouped[A, B]: ...
    @overload
    def group_by(self, a: Column[A], b: Column[B], c: Column[C], /) -> Grouped[A, B, C]: ...
    @overload
    def group_by(self, *columns: Any) -> Any: ...
    def group_by(self, *columns: Any) -> Any:
        """Join rows with equal values of these columns, to aggregate them."""
        if not columns:
            raise QueryError("group by which columns?")
        if self.orders or self.picked or self.loads or self.skipped or self.at_most is not None:
            raise QueryError("group_by follows conditions only; order and limit the groups behind it")
        keys = tuple(self._column(column) for column in columns)
        if computed := [key for key in keys if key.is_computed]:
            raise QueryError(f"{computed[0]!r} is computed and not kept in the view: declare it `@computed(index=True)`")
        return Grouped(self.subject, self, keys)

    # as values of another query

    def listed(self) -> Column[Any]:
        if self.picked is None or len(self.picked) != 1:
            raise QueryError("in_() takes values, or a query that selects one column: .select(Follow.followee_id)")
        return self.picked[0]

    def write_list(self, out: Statement) -> None:
        column = self.listed()
        limited = bool(self.at_most is not None or self.skipped)
        with out.reading(self.subject, self.users, self.columns.sql_name) as (logs, bound):
            inner = f'"v" FROM (SELECT {column.sql} AS "v"' if limited else column.sql
            out.add(f"SELECT {inner}{self.columns.from_visible}{logs}", (*column.bindings, *bound))
            if self.condition is not None:
                out.add(" AND ")
                self.condition.write(out)
            if not limited:
                out.add(f" AND {column.sql} IS NOT NULL", column.bindings)
                return
            out.add(*sql.grouping(self))
            if out.source is not None:
                out.add(*sql.order(self, out.source))
            out.add(*sql.cut(self))
            out.add(') WHERE "v" IS NOT NULL')

    # answers

    def _read(self, source: Source) -> list[Any]:
        return self._made(source.read(*sql.rows(self, source)), source)

    def _made(self, rows: list[tuple[Any, ...]], source: Source) -> list[Any]:
        """Return what the rows are to the program, with their relations."""
        if self.picked is not None:
            return _decoded(self, rows, source)
        records: list[Any] = self.subject.hydrate(rows, source)
        if self.loads:
            log_at, model = self.columns.table.log_at, self.columns.name
            loaded: Loaded = {(model, row[0], row[log_at]): one for row, one in zip(rows, records, strict=True)}
            load(self.subject, records, self.loads, self.users, loaded)
        return records

    def _limited_to(self, n: int) -> Self:
        return self._but("at_most", n if self.at_most is None else min(n, self.at_most))

    async def all(self) -> Rows[R]:
        """Return all rows."""
        self._check_includes()
        await checkpoint_if_cancelled()
        source = self.subject.source()
        return Rows(self._read(source), source)

    async def find(self) -> Rows[R]:
        """Return all rows: another name for `all`."""
        return await self.all()

    async def first(self) -> R | None:
        """Return the first row, `None` if there is none."""
        rows = await self._limited_to(1).all()
        return rows[0] if rows else None

    async def one(self) -> R:
        """Return the only row.

        Raises:
            NotFoundError: there is none.
            MultipleFoundError: there are more.
        """
        rows = await self._limited_to(2).all()
        if not rows:
            raise NotFoundError(self.columns.name)
        if len(rows) > 1:
            raise MultipleFoundError(self.columns.name)
        return rows[0]

    async def one_or_none(self) -> R | None:
        """Return the only row, `None` if there is none.

        Raises:
            MultipleFoundError: there are more.
        """
        rows = await self._limited_to(2).all()
        if len(rows) > 1:
            raise MultipleFoundError(self.columns.name)
        return rows[0] if rows else None

    async def exists(self) -> bool:
        """Return whether there is a row."""
        if self.is_distinct:
            return await self.count() > 0
        await checkpoint_if_cancelled()
        source = self.subject.source()
        return bool(source.read(*sql.exists(self, source)))

    async def count(self) -> int:
        """Return the number of rows."""
        await checkpoint_if_cancelled()
        source = self.subject.source()
        found: int = source.read(*sql.count(self, source))[0][0]
        return found

    @overload
    async def sum(self, column: Column[N], /) -> N: ...
    @overload
    async def sum(self, column: Column[N | None], /) -> N: ...
    @overload
    async def sum(self, column: str, /) -> Any: ...
    async def sum(self, column: Any, /) -> Any:
        """Return the sum of a column of numbers, exact for integers and decimals; 0 if there are none."""
        return await self._aggregate("sum", column)

    async def avg(self, column: Column[Any] | str, /) -> float | Decimal | None:
        """Return the mean of a column of numbers; `None` if there are none."""
        found: float | Decimal | None = await self._aggregate("avg", column)
        return found

    @overload
    async def min(self, column: Column[T], /) -> T | None: ...
    @overload
    async def min(self, column: str, /) -> Any: ...
    async def min(self, column: Any, /) -> Any:
        """Return the least value of a column; `None` if there is none."""
        return await self._extreme("min", column)

    @overload
    async def max(self, column: Column[T], /) -> T | None: ...
    @overload
    async def max(self, column: str, /) -> Any: ...
    async def max(self, column: Any, /) -> Any:
        """Return the greatest value of a column; `None` if there is none."""
        return await self._extreme("max", column)

    async def _aggregate(self, kind: aggregates.Kind, given: object) -> Any:
        column = self._column(given)
        aggregates.check(kind, column)
        if self.is_distinct:
            raise QueryError(f"{kind} of distinct rows; aggregate without distinct(), or over the result")
        await checkpoint_if_cancelled()
        source = self.subject.source()
        if self.at_most is None and not self.skipped:
            made = aggregates.formula(kind, column.codec, column.sql, column.value)
            where, bound = sql.restriction(self, source)
            text = f"SELECT {', '.join(made.terms)}{self.columns.from_visible}{where}"
            bound = (*column.bindings * len(made.terms), *bound)
        else:
            made = aggregates.formula(kind, column.codec, '"sort"', '"value"')
            inner, bound = sql.values_of(self, source, column)
            text = f"SELECT {', '.join(made.terms)} FROM ({inner})"
        return made.finish(*source.read(text, bound)[0])

    async def _extreme(self, kind: Literal["min", "max"], given: object) -> Any:
        column = self._column(given)
        aggregates.check(kind, column)
        if self.is_distinct or self.at_most is not None or self.skipped:
            return await self._aggregate(kind, column)
        ordered = self._and(column.is_not_null())._but("orders", (column.asc() if kind == "min" else column.desc(),))
        rows = await ordered._but("loads", ())._but("picked", (column,)).limit(1).all()  # an index gives it at once
        return rows[0][0] if rows else None

    async def page(self, after: str | None = None) -> Page[R]:
        """Return the rows behind a cursor: as many as `limit` says, 50 if it does not.

        Raises:
            CursorError: the cursor is damaged, or of another query.
        """
        if self.skipped:
            raise QueryError("page() begins behind a cursor, not at an offset")
        self._check_includes()
        await checkpoint_if_cancelled()
        source = self.subject.source()
        size = paging.PAGE_SIZE if self.at_most is None else self.at_most
        sorts = sql.sorts(self, source)
        mark = paging.fingerprint(self)
        question = self.limit(size + 1)
        if after is not None:
            question = question._and(
                paging.behind(sorts, paging.read_cursor(after, mark, len(sorts)), self.columns.owners)
            )
        rows = source.read(*sql.rows(question, source, also=sorts))
        width = len(sorts)
        following = None
        if len(rows) > size > 0:
            following = paging.write_cursor(mark, rows[size - 1][-width:])
        return Page(Rows(self._made([row[:-width] for row in rows[:size]], source), source), following)

    async def paginate(self, n: int, size: int) -> NumberedPage[R]:
        """Return page `n`, from 1, of pages of `size` rows."""
        for what, value in (("page", n), ("size", size)):
            if type(value) is not int or value < 1:
                raise QueryError(f"a {what} is 1 or more, not {value!r}")
        if self.at_most is not None or self.skipped:
            raise QueryError("paginate() takes the size itself, so no limit and no offset")
        self._check_includes()
        await checkpoint_if_cancelled()
        source = self.subject.source()
        total: int = source.read(*sql.count(self, source))[0][0]
        rows = self.limit(size).offset((n - 1) * size)._read(source)
        return NumberedPage(Rows(rows, source), total, n, max(1, -(-total // size)))

    async def explain(self) -> Plan:
        """Run the query and return how it is answered."""
        await checkpoint_if_cancelled()
        return explain(self, self.subject.source())

    def _check_includes(self) -> None:
        if self.loads and self.picked is not None:
            raise QueryError("select() gives tuples, which have no relations to include")


def _decoded(query: Query[Any], rows: list[tuple[Any, ...]], source: Source) -> list[Any]:
    """Return selected rows as tuples of Python values."""
    picked = query.picked or ()
    if any(column.is_computed for column in picked):
        return query.columns.with_computed(picked, rows, source)
    decoders = [(n, decode) for n, column in enumerate(picked) if (decode := column.decoder(source)) is not None]
    if not decoders:
        return rows
    decoded = []
    for row in rows:
        values = list(row)
        for n, decode in decoders:
            if values[n] is not None:
                values[n] = decode(values[n])
        decoded.append(tuple(values))
    return decoded
