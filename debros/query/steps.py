"""The steps that build a query: conditions, shape, and what stands in other queries. Nothing here reads.

What is wrong (a name, an operator, an operand, a direction, a negative limit) raises where it is written, so the
traceback points at it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar, cast, overload

from debros.errors import DebrosError, QueryError
from debros.query import compile, operators
from debros.query.aggregates import Grouped
from debros.query.cache import Caching
from debros.query.catalog import columns
from debros.query.columns import Column
from debros.query.compile import Question
from debros.query.expressions import GROUP, Expr, Leaf, Listable, Order, Shuffle, Statement
from debros.query.meta import checked_did
from debros.query.operators import Direction, Op
from debros.query.ports import Subject
from debros.query.relations import Relation, along, merged

if TYPE_CHECKING:
    from debros.query.query import Query

R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")


class Steps(Question, Listable, Generic[R]):
    """The steps of a query; `Named` adds more names for them, `Query` the answers."""

    __slots__ = ("__dict__", "__weakref__", "_last", "_models")

    # what a query says that nothing was said to yet, as in `Question`; `_but` sets it on the instance
    loads: tuple[Relation[Any], ...] = ()
    caching: Caching | None = None
    counts: tuple[Relation[Any], ...] = ()
    seconds: float | None = None
    answer_instead: Callable[[DebrosError], list[Any]] | None = None
    note: str = ""

    def __init__(self, subject: Subject[R]) -> None:
        self.subject: Subject[Any] = subject
        self.columns = columns(subject.schema)

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
        condition, one = self.condition, args[0] if len(args) == 1 else None
        if type(one) is Leaf and one.owners is self.columns.owners:  # what is mostly given
            return self._but("condition", one if condition is None else condition & one)
        for one in self._conditions(args):
            condition = one if condition is None else condition & one
        return self._but("condition", condition)

    def or_where(self, *args: Any) -> Self:
        """Keep rows too that fulfil these conditions, whatever was asked before. Arguments as for `where`."""
        added = self._all_of(args)
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
            return operators.apply(column, "=", args[1])
        if len(args) != 3:
            raise QueryError(f"where({args[0]!r}, ...) takes a value, or an operator and a value")
        return operators.apply(column, args[1], args[2])

    def _fresh(self, subject: Subject[Any]) -> Any:
        """Return an empty query about a subject."""
        return type(self)(subject)

    def _group(self, group: Callable[..., object]) -> tuple[Expr, ...]:
        made: Any = group(self._fresh(self.subject))
        if not isinstance(made, Steps) or made.columns is not self.columns:
            raise QueryError(f"a group returns the query it was given, with conditions, not {made!r}")
        if made.orders or made.picked or made.loads or made.users or made.skipped or made.at_most is not None:
            raise QueryError("a group has conditions only; order, limit and the rest belong to the query")
        return () if made.condition is None else (made.condition,)

    def _foreign(self, owners: frozenset[str]) -> QueryError:
        if GROUP in owners:
            return QueryError("a condition on an aggregate belongs into group_by(...).having(...)")
        others = ", ".join(sorted(owners - self.columns.owners))
        return QueryError(f"this query is about {self.columns.name}, the condition about {others}")

    def _all_of(self, args: tuple[Any, ...]) -> Expr | None:
        """Return one condition of the arguments of `where`; `None` if there are none."""
        conditions = self._conditions(args)
        return reduce(and_, conditions) if conditions else None

    def _and(self, condition: Expr) -> Self:
        return self._but("condition", condition if self.condition is None else self.condition & condition)

    def where_not(self, *args: Any) -> Self:
        """Keep rows that do not fulfil these conditions, all together. Arguments as for `where`."""
        added = self._all_of(args)
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
        return self._and(operators.apply(self.columns.named(field).date, op, day))

    def where_column(self, field: str, op: Literal["=", "!=", "<", "<=", ">", ">="], other: str, /) -> Self:
        """Compare two fields of the record."""
        if op not in ("=", "!=", "<", "<=", ">", ">="):
            raise QueryError(f"columns compare by = != < <= > >=, not by {op!r}")
        return self._and(operators.apply(self.columns.named(field), op, self.columns.named(other)))

    def where_has(self, relation: str, group: Callable[[Query[Any]], Query[Any]] | None = None, /) -> Self:
        """Keep rows that have a related record, one that fulfils the group's conditions."""
        return self._and(self._related(relation, group))

    def where_doesnt_have(self, relation: str, group: Callable[[Query[Any]], Query[Any]] | None = None, /) -> Self:
        """Keep rows that have no related record, none that fulfils the group's conditions."""
        return self._and(~self._related(relation, group))

    def _related(self, name: str, group: Callable[[Query[Any]], Query[Any]] | None) -> Expr:
        relation: Relation[Any] = Relation(self.subject, name)
        conditions: tuple[Expr, ...] = () if group is None else self._fresh(relation.target)._conditions((group,))
        return relation.any(*conditions)

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

    def allow_partial(self) -> Self:
        """Take what is here where shards are missing; `rows.coverage` says what that was."""
        return self._but("is_partial", True)

    # shape

    def include(self, *relations: Relation[Any]) -> Self:
        """Load relations with the records, one lookup per relation."""
        return self._but("loads", merged(self.loads, relations, self.subject))

    def with_(self, *relations: str | Sequence[str] | Mapping[str, Callable[[Query[Any]], Query[Any]]]) -> Self:
        """`include` by names: `with_("author", "comments.user")`, one list of them, or names with what narrows them.

        `with_({"comments": lambda q: q.where("likes", ">", 3).order_by("likes", "desc").limit(5)})`
        """
        made: list[Relation[Any]] = []
        for one in relations:
            if isinstance(one, Mapping):
                made += (self._shaped(Relation(self.subject, name), group) for name, group in one.items())
            elif isinstance(one, (str, list, tuple)):
                made += (along(self.subject, path) for path in ([one] if isinstance(one, str) else one))
            else:
                raise QueryError(
                    f"with_ takes names of relations, 'author.posts', not {one!r}; include() takes relations"
                )
        return self._but("loads", merged(self.loads, tuple(made), self.subject))

    def _shaped(self, relation: Relation[Any], group: Callable[[Query[Any]], Query[Any]]) -> Relation[Any]:
        """Return a relation with the conditions, order, limit and includes that a group says."""
        target = relation.target
        made: Any = group(self._fresh(target))
        if not isinstance(made, Steps) or made.columns is not columns(target.schema) or made.picked or made.skipped:
            raise QueryError(
                f"{relation!r}: the function returns the query it was given, with conditions, order or limit"
            )
        if made.condition is not None:
            relation = relation.where(made.condition)
        relation = relation.order_by(*made.orders).include(*made.loads).with_count(*made.counts)
        return relation if made.at_most is None else relation.limit(made.at_most)

    def with_count(self, *relations: Relation[Any] | str) -> Self:
        """Count relations of the records, one lookup per relation: `post.comments.count` says how many."""
        made = tuple(Relation(self.subject, one) if isinstance(one, str) else one for one in relations)
        return self._but("counts", merged(self.counts, made, self.subject))

    @overload
    def order_by(self, *orders: Order) -> Self: ...
    @overload
    def order_by(self, field: str, direction: Direction = ..., /) -> Self: ...
    def order_by(self, *args: Any) -> Self:
        """Order rows, by `Post.likes.desc()`, or by a name and a direction (`"-likes"` is descending); later orders break ties of earlier ones.

        Nulls come first ascending, last descending. At last the id decides, ascending.
        """
        if args and type(args[0]) is str:
            args = (self._named_order(*args),)
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

    def _named_order(self, name: str, direction: object = "asc", *more: object) -> Order:
        if name.startswith("-") and direction == "asc":  # as in indexes and relations
            name, direction = name[1:], "desc"
        if name == "random" and name not in self.columns.by_name:
            return Shuffle(self.columns.id.sql, self.columns.owners, None)
        column = self.columns.named(name)
        if direction not in ("asc", "desc") or more:
            raise QueryError(f"order_by({name!r}, ...) takes a direction, 'asc' or 'desc', not {direction!r}")
        return column.desc() if direction == "desc" else column.asc()

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
    def select(self, *columns: Any) -> Any:
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
            raise QueryError(
                f"{computed[0]!r} is computed and not kept in the view: declare it `@computed(index=True)`"
            )
        return Grouped(self.subject, cast("Query[Any]", self), keys)

    # as values of another query

    def exists_condition(self, owners: frozenset[str]) -> Expr:
        """Return whether this query has a row, as a condition of a query about others."""
        return AnyRow(self, owners)

    def write_exists(self, out: Statement) -> None:
        """Append whether there is a row."""
        with out.reading(self.subject, self.users, self.columns.sql_name) as (logs, bound):
            out.add(f"EXISTS (SELECT 1{compile.start(self, out.source)}{logs}", bound)
            if self.condition is not None:
                out.add(" AND ")
                self.condition.write(out)
            out.add(*compile.cut(self))
            out.add(")")

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
            out.add(*compile.grouping(self))
            if out.source is not None:
                out.add(*compile.order(self, out.source))
            out.add(*compile.cut(self))
            out.add(') WHERE "v" IS NOT NULL')


class AnyRow(Expr):
    """Whether another query has a row. Never unknown."""

    __slots__ = ("_query", "owners")
    depth = 1

    def __init__(self, query: Steps[Any], owners: frozenset[str]) -> None:
        self._query = query
        self.owners = owners

    def write(self, out: Statement) -> None:
        self._query.write_exists(out)
