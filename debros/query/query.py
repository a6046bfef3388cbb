"""`Query`: a question as an immutable value. Each step gives a new one; terminals, which are awaited, answer it.

Two spellings, one engine: `where(Post.likes > 3)` and `where("likes", ">", 3)`. `where` narrows; `or_where` widens
everything said so far: `where(a).where(b).or_where(c)` is `(a & b) | c`. Groups keep it together:
`where(lambda q: q.where(b).or_where(c))`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal, Self, TypeVar, overload

from trio.lowlevel import checkpoint_if_cancelled

from debros.errors import MultipleFoundError, NotFoundError, QueryError
from debros.query import aggregates, paging
from debros.query import compile as sql
from debros.query.columns import Column
from debros.query.loading import Loaded, load
from debros.query.operators import Op as Op  # named beside `Query` for those who annotate with it
from debros.query.plan import Plan, explain
from debros.query.ports import Source
from debros.query.rows import NumberedPage, Page, Rows
from debros.query.steps import Steps

R = TypeVar("R")
T = TypeVar("T")
N = TypeVar("N", int, float, Decimal)


class Query(Steps[R]):
    """A question about one model's records. Immutable."""

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
        rows: Any = await ordered._but("loads", ())._but("picked", (column,)).limit(1).all()  # an index helps
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
