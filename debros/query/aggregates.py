"""Aggregates: `debros.count sum avg min max`, over a query or over its groups.

Nulls are skipped. A sum of nothing is 0, an average, minimum or maximum of nothing is null. Sums of integers and
of decimals are exact, whatever their size: integers are summed as two halves of 32 bits. An average of decimals
has 38 digits. In `having` and `order_by` a sum of integers has SQLite's 64 bits and fails beyond them.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    Literal,
    NamedTuple,
    NoReturn,
    Self,
    TypeVar,
    TypeVarTuple,
    overload,
)

from debros.errors import QueryError, UnknownMethodError
from debros.query import apart
from debros.query import compile as sql
from debros.query.apart import Partial
from debros.query.columns import Column
from debros.query.expressions import GROUP, Expr, Order, Statement, all_of
from debros.query.ports import Source, Subject
from debros.query.rows import Rows
from debros.schema import Codec
from debros.values.scalars import FLOAT, INT

if TYPE_CHECKING:
    from debros.query.answers import Answers

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
N = TypeVar("N", int, float, Decimal)
K = TypeVarTuple("K")

Kind = Literal["count", "count distinct", "sum", "avg", "min", "max"]


class Formula(NamedTuple):
    """How an aggregate is computed."""

    terms: tuple[str, ...]  # SQL terms to select
    finish: Callable[..., Any]  # their values -> the Python value
    comparable: str  # SQL term by which it compares and sorts
    codec: Codec


def formula(kind: Kind, codec: Codec, sort: str, value: str) -> Formula:
    """Return how an aggregate of a column is computed, given the SQL by which it sorts and of its values."""
    if kind in ("count", "count distinct"):
        term = f"count({'DISTINCT ' if kind == 'count distinct' else ''}{sort})"
        return Formula((term,), int, term, INT)
    if codec.kind == "decimal":
        term = f"debros_decimal_{kind}({value})"
        absent = Decimal(0) if kind == "sum" else None
        key = f"debros_decimal_key({term})" if kind != "sum" else f"debros_decimal_key(coalesce({term}, '0'))"
        return Formula((term,), lambda text: absent if text is None else Decimal(text), key, codec)
    term = f"{kind}({sort})"
    if kind in ("min", "max"):
        decode = codec.from_column
        return Formula((term,), lambda found: found if found is None or decode is None else decode(found), term, codec)
    if kind == "avg":
        return Formula((term,), _same, term, FLOAT)
    comparable = f"coalesce({term}, 0)"
    if codec.kind == "float":
        return Formula((term,), lambda found: 0.0 if found is None else float(found), comparable, codec)
    return Formula((f"sum({sort} >> 32)", f"sum({sort} & 4294967295)"), _whole, comparable, codec)


def _same(found: Any) -> Any:
    return found


def _whole(high: int | None, low: int | None) -> int:
    return 0 if high is None or low is None else (high << 32) + low


def check(kind: Kind, column: Column[Any]) -> None:
    """Raise `QueryError` unless the column has this aggregate."""
    if GROUP in column.owners:
        raise QueryError(f"{kind} of {column!r}: an aggregate of an aggregate")
    if kind in ("sum", "avg") and column.codec.kind not in ("int", "float", "decimal"):
        raise QueryError(f"{column!r} is of type {column.codec.name}, which has no {kind}")
    if kind in ("min", "max"):
        column.must_order(kind)
        if column.codec.kind == "any":
            raise QueryError(f"{column!r}: the type of a nested value is not declared, so it has no {kind}")


class Aggregate(Column[T]):
    """One value of a group of rows. Compares and orders like a column, in `having` and in a group's `order_by`."""

    __slots__ = ("_of", "finish", "terms")

    def __init__(self, kind: Kind, column: Column[Any] | None) -> None:
        if column is None:
            made, owners = Formula(("count(*)",), int, "count(*)", INT), frozenset({GROUP})
            bindings: tuple[object, ...] = ()
        else:
            if not isinstance(column, Column):
                raise QueryError(f"{kind} takes a column such as Post.likes, not {column!r}")
            check(kind, column)
            made = formula(kind, column.codec, column.sql, column.value)
            owners, bindings = column.owners | {GROUP}, column.bindings
        super().__init__(
            "", f"{kind}({'' if column is None else column!r})", made.codec, made.comparable, bindings=bindings,
            owners=owners,
        )  # fmt: skip
        self._of = (kind, column)
        self.terms = made.terms
        self.finish: Callable[..., T] = made.finish

    @property
    def partial(self) -> Partial | None:
        """How it is made of those of parts of the rows."""
        return apart.partial(*self._of)

    def __repr__(self) -> str:
        return self.name


def count(column: Column[Any] | None = None, *, distinct: bool = False) -> Aggregate[int]:
    """How many rows; of a column, how many that are not null; `distinct`, how many different values."""
    if distinct and column is None:
        raise QueryError("count(distinct=True) takes a column: rows are distinct by themselves")
    return Aggregate("count distinct" if distinct else "count", column)


@overload
def sum(column: Column[N], /) -> Aggregate[N]: ...
@overload
def sum(column: Column[N | None], /) -> Aggregate[N]: ...
def sum(column: Column[Any], /) -> Aggregate[Any]:
    """The sum of a column's numbers, 0 if there are none."""
    return Aggregate("sum", column)


@overload
def avg(column: Column[Decimal], /) -> Aggregate[Decimal | None]: ...
@overload
def avg(column: Column[int] | Column[float], /) -> Aggregate[float | None]: ...
def avg(column: Column[Any], /) -> Aggregate[Any]:
    """The mean of a column's numbers: a float, of decimals a `Decimal`; `None` if there are none."""
    return Aggregate("avg", column)


def min(column: Column[T], /) -> Aggregate[T | None]:
    """The least value of a column; `None` if there is none."""
    return Aggregate("min", column)


def max(column: Column[T], /) -> Aggregate[T | None]:
    """The greatest value of a column; `None` if there is none."""
    return Aggregate("max", column)


_INSTEAD: Final = {name: f"debros.{name}(...)" for name in ("sum", "avg", "min", "max")}


class Grouped(Generic[*K]):
    """Rows with equal keys, as one; made by `Query.group_by`. Immutable; groups come in the order of their keys."""

    __slots__ = ("_at_most", "_having", "_keys", "_orders", "_question", "_subject")

    def __init__(self, subject: Subject[Any], question: Answers[Any], keys: tuple[Column[Any], ...]) -> None:
        self._subject = subject
        self._question = question
        self._keys = keys
        self._having: Expr | None = None
        self._orders: tuple[Order, ...] = ()
        self._at_most: int | None = None

    if not TYPE_CHECKING:  # checkers know the names

        def __getattr__(self, name):
            if name.startswith("_"):
                raise AttributeError(name)
            cure = f"await aggregate({_INSTEAD.get(name, 'debros.count()')}) gives a row for each group; "
            cure += "what rows must fulfil goes before group_by(...)"
            raise UnknownMethodError("groups of rows", name, (), cure)

    def having(self, *conditions: Expr) -> Self:
        """Keep groups whose aggregates fulfil all conditions. What the keys must be belongs into `where`."""
        condition = all_of(conditions)
        if condition is None:
            return self
        for leaf in condition.leaves():
            if GROUP not in leaf.owners:
                raise QueryError("having() takes conditions on aggregates; what rows must fulfil belongs into where()")
        self._check_owners(condition.owners)
        return self._but(having=condition if self._having is None else self._having & condition)

    def order_by(self, *orders: Order) -> Self:
        """Order groups by aggregates or keys, `debros.count().desc()`; the keys break ties."""
        for one in orders:
            if not isinstance(one, Order):
                raise QueryError(f"order_by takes e.g. `debros.count().desc()`, not {one!r}")
            if GROUP not in one.owners and not any(one.sql == key.sql for key in self._keys):
                raise QueryError("groups have an order by aggregates and keys, not by other columns")
            self._check_owners(one.owners)
        return self._but(orders=self._orders + orders)

    def limit(self, n: int) -> Self:
        """Take the first `n` groups."""
        if type(n) is not int or n < 0:
            raise QueryError(f"a limit is 0 or more, not {n!r}")
        return self._but(at_most=n)

    def _but(self, **changes: Any) -> Self:
        made = type(self)(self._subject, self._question, self._keys)
        made._having = changes.get("having", self._having)
        made._orders = changes.get("orders", self._orders)
        made._at_most = changes.get("at_most", self._at_most)
        return made

    def _check_owners(self, owners: frozenset[str]) -> None:
        if foreign := owners - self._question.columns.owners - {GROUP}:
            raise QueryError(f"this groups {self._question.columns.name}, not {', '.join(sorted(foreign))}")

    def live(self) -> NoReturn:
        """Raise `QueryError`: groups are not followed."""
        raise QueryError("groups have no live view: aggregate again when a live view of their rows changes")

    @overload
    async def aggregate(self, a: Aggregate[A], /) -> Rows[tuple[*K, A]]: ...
    @overload
    async def aggregate(self, a: Aggregate[A], b: Aggregate[B], /) -> Rows[tuple[*K, A, B]]: ...
    @overload
    async def aggregate(self, a: Aggregate[A], b: Aggregate[B], c: Aggregate[C], /) -> Rows[tuple[*K, A, B, C]]: ...
    @overload
    async def aggregate(
        self, a: Aggregate[A], b: Aggregate[B], c: Aggregate[C], d: Aggregate[D], /
    ) -> Rows[tuple[*K, A, B, C, D]]: ...
    async def aggregate(self, *aggregates: Any) -> Any:
        """Return one tuple per group: its keys, then these aggregates."""
        for one in aggregates:
            if not isinstance(one, Aggregate):
                raise QueryError(f"aggregate takes e.g. debros.count(), not {one!r}")
            self._check_owners(one.owners)
        if not aggregates:
            raise QueryError("aggregate what? e.g. debros.count()")
        source = await self._question._source()
        way = None
        if source.is_spread and self._having is None:
            way = apart.groups(self._question, source, self._keys, aggregates, self._orders, self._at_most)
        found = await self._question._fetch(source, self._sql(source, aggregates), way)
        decoders = [key.decoder(source) for key in self._keys]
        spans, at = [], len(self._keys)
        for one in aggregates:
            spans.append((one.finish, at, at + len(one.terms)))
            at += len(one.terms)
        return Rows(
            [
                (
                    *(v if v is None or d is None else d(v) for v, d in zip(row, decoders, strict=False)),
                    *(finish(*row[start:end]) for finish, start, end in spans),
                )
                for row in found
            ],
            source,
            None,
            self._question,
        )

    def _sql(self, source: Source, aggregates: tuple[Aggregate[Any], ...]) -> sql.Sql:
        out = Statement(source, self._question.users, self._question.is_partial)
        where, bound = sql.restriction(self._question, source)
        key_bound = tuple(b for key in self._keys for b in key.bindings)
        out.add("SELECT " + ", ".join(key.value for key in self._keys), key_bound)
        for one in aggregates:
            for term in one.terms:
                out.add(f", {term}", one.bindings)
        out.add(f"{sql.start(self._question, source)}{where}", bound)
        out.add(" GROUP BY " + ", ".join(key.sql for key in self._keys), key_bound)
        if self._having is not None:
            out.add(" HAVING ")
            self._having.write(out)
        out.add(" ORDER BY ")
        for order in self._orders:
            out.add(f"{order.text}, ", order.bindings)
        out.add(", ".join(key.sql for key in self._keys), key_bound)
        if self._at_most is not None:
            out.add(" LIMIT ?", (self._at_most,))
        return out.text(), tuple(out.bound)
