"""`Query`: a question as an immutable value. Each step gives a new one; terminals, which are awaited, answer it.

Two spellings, one engine: `where(Post.likes > 3)` and `where("likes", ">", 3)`. `where` narrows; `or_where` widens
everything said so far: `where(a).where(b).or_where(c)` is `(a & b) | c`. Groups keep it together:
`where(lambda q: q.where(b).or_where(c))`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeVar, overload

from debros.errors import ArgumentError, QueryError, UnknownMethodError
from debros.query import aggregates, apart, paging
from debros.query import compile as sql
from debros.query.answers import Answers
from debros.query.columns import Column
from debros.query.live import Change, Live, live
from debros.query.operators import Op as Op  # named beside `Query` for those who annotate with it
from debros.query.output import to_arrow, to_pandas
from debros.query.plan import Plan, explain
from debros.query.ports import Source
from debros.query.rows import NumberedPage, Page, Rows
from debros.query.streaming import Batches, LazyRows, Stream
from debros.replica.tables import Row

if TYPE_CHECKING:
    import pandas
    import pyarrow  # type: ignore[import-untyped]  # it has no types

R = TypeVar("R")
T = TypeVar("T")
N = TypeVar("N", int, float, Decimal)


_INSTEAD: Final = {  # names that other libraries have
    "aggregate": "`group_by(...).aggregate(...)` is for groups; of all rows take `sum`, `avg`, `min`, `max` or `count`",
    "filter": "conditions go into where(...)",
    "filter_by": "conditions go into where(...)",
    "order": "rows are ordered by order_by(...)",
    "sort": "rows are ordered by order_by(...)",
    "join": "related records are loaded by include(...), and asked about by e.g. `User.posts.any(...)`",
    "having": "having() is for groups: group_by(...).having(...)",
    "annotate": "`with_count(...)` counts related records, `group_by(...).aggregate(...)` joins rows",
    "exclude": "conditions go into where_not(...)",
    "fetch": "await all()",
    "get_or_none": "await one_or_none()",
    "last": "`order_by(..., 'desc')`, then await first()",
    "prefetch_related": "related records are loaded by include(...)",
    "rows": "await all()",
    "scalars": "await all()",
    "search": "text is found by e.g. `where(Post.title.icontains('word'))` or `.matches(regex)`",
    "select_related": "related records are loaded by include(...)",
    "to_list": "await all()",
    "values": "columns are chosen by select(...)",
    "values_list": "columns are chosen by select(...)",
    "save": "a query is a question; `await query.update(field=value)` changes its records",
    "create": "records are created by the model: `await Model.create(...)`",
}


class Query(Answers[R]):
    """A question about one model's records. Immutable."""

    if not TYPE_CHECKING:  # checkers know the names

        def __getattr__(self, name):
            if name.startswith("_"):
                raise AttributeError(name)
            raise UnknownMethodError("a query", name, dir(type(self)), _INSTEAD.get(name, ""))

        def __await__(self):
            raise ArgumentError("a query is not awaited itself: `await query.all()`, `first()`, `one()`, `count()` ...")

        def __iter__(self):
            raise ArgumentError("a query is not iterated over itself: `for row in await query.all()`")

        def __aiter__(self):
            raise ArgumentError("a query is not iterated over itself: `async for row in query.stream()`")

        def __len__(self):
            raise ArgumentError("a query has no length: `await query.count()`")

        def __getitem__(self, at):
            raise ArgumentError("a query has no positions: `query.limit(n).offset(n)`, then `await ....all()`")

    def __repr__(self) -> str:
        parts = [self.columns.name]
        if self.condition is not None:
            parts.append(f"where {self.condition!r}")
        if self.orders:
            parts.append(f"order by {', '.join(order.text for order in self.orders)}")
        parts += [f"{word} {n}" for word, n in (("limit", self.at_most), ("offset", self.skipped)) if n]
        return f"<query: {' '.join(parts)}>"

    def __bool__(self) -> NoReturn:
        """Raise `QueryError`: a query is there, whether or not it finds anything."""
        raise QueryError("a query has no truth value: `await query.exists()` says whether there is a row")

    async def exists(self) -> bool:
        """Return whether there is a row."""
        if self.is_distinct:
            return await self.count() > 0
        source = await self._source()
        return bool(await self._fetch(source, sql.exists(self, source)))

    async def count(self) -> int:
        """Return the number of rows."""
        source = await self._source()
        way = None if source.is_whole or not source.is_spread else apart.count(self, source)
        found: int = (await self._fetch(source, sql.count(self, source), way))[0][0]
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

    async def average(self, column: Column[Any] | str, /) -> float | Decimal | None:
        """`avg(column)`."""
        return await self.avg(column)

    async def count_distinct(self, column: Column[Any] | str, /) -> int:
        """Return how many different values a column has; nulls are skipped."""
        found: int = await self._aggregate("count distinct", column)
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
        source = await self._source()
        if self.at_most is None and not self.skipped:
            made = aggregates.formula(kind, column.codec, column.sql, column.value)
            found, bound = sql.unordered(self, source)
            text = f"SELECT {', '.join(made.terms)}{found}"
            bound = (*column.bindings * len(made.terms), *bound)
        else:
            made = aggregates.formula(kind, column.codec, '"sort"', '"value"')
            inner, bound = sql.values_of(self, source, column)
            text = f"SELECT {', '.join(made.terms)} FROM ({inner})"
        way = apart.aggregate(self, source, kind, column) if source.is_spread else None
        return made.finish(*(await self._fetch(source, (text, bound), way))[0])

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
            CursorError: the cursor is damaged, of another query, or of before a migration or another type of what it sorts by.
        """
        if self.skipped:
            raise QueryError("page() begins behind a cursor, not at an offset")
        self.must_have_pages()
        self._check_includes()
        source = await self._source()
        size = paging.PAGE_SIZE if self.at_most is None else self.at_most
        sorts = sql.sorts(self, source)
        lifted = paging.lifted(self, source)
        mark = paging.mark_of(self, lifted)
        question = self.limit(size + 1)
        if after is not None:
            question = question._and(paging.behind(sorts, paging.read(after, mark, sorts, source), self.columns.owners))
        rows = await self._fetch(source, sql.rows(question, source, also=sorts))
        if after is not None and paging.lifted(self, source) != lifted:
            raise paging.outdated(after)
        width = len(sorts)
        following = None
        if len(rows) > size > 0:
            following = paging.written(mark, rows[size - 1][-width:], sorts, source)
        found = await self._made([row[:-width] for row in rows[:size]], source)
        return Page(Rows(found, source, self), following)

    async def paginate(self, n: int, size: int) -> NumberedPage[R]:
        """Return page `n`, from 1, of pages of `size` rows."""
        for what, value in (("page", n), ("size", size)):
            if type(value) is not int or value < 1:
                raise QueryError(f"a {what} is 1 or more, not {value!r}")
        if self.at_most is not None or self.skipped:
            raise QueryError("paginate() takes the size itself, so no limit and no offset")
        self._check_includes()
        source = await self._source()
        total: int = (await self._fetch(source, sql.count(self, source)))[0][0]
        rows = await self.limit(size).offset((n - 1) * size)._read(source)
        return NumberedPage(Rows(rows, source, self), total, n, max(1, -(-total // size)))

    def live(self) -> AbstractAsyncContextManager[Live[R]]:
        """Return the rows now, then every change: `async with query.live() as view: async for change in view: ...`.

        Entering raises:
            QueryError: the query selects columns.
            TransactionError: inside a transaction.
        """
        return live(self)

    def changes(self, since: str | None = None) -> AbstractAsyncContextManager[AsyncIterator[Change[R]]]:
        """Return the changes that `live()` gives; behind `change.cursor` of an earlier session, those since then first.

        What changed since the cursor comes joined, one change for each record. Entering raises, beside what `live()` does:
            QueryError: `since` is given, and the query is limited or depends on other records.
            CursorError: the cursor is damaged, of another home, or of entries that the log lost.
        """
        return live(self, since)

    async def explain(self) -> Plan:
        """Run the query and return how it is answered."""
        return await explain(self, await self._source())

    def stream(self) -> Stream[R]:
        """Return the rows one by one, `async for`, in constant memory; nothing is held open between them.

        It reads pages behind one another, so it is not one snapshot: what is written meanwhile shows if it sorts behind.
        """
        return Stream(self)

    def batches(self, n: int) -> Batches[R]:
        """Return the rows in lists of `n`, `async for`; like `stream`."""
        return Batches(self, n)

    async def chunk(self, n: int, function: Callable[[Rows[R]], Awaitable[object] | object]) -> bool:
        """Call a function, sync or async, with lists of `n` rows, until it answers false; return whether it never did."""
        async for rows in self.batches(n):
            answer = function(rows)
            if isinstance(answer, Awaitable):
                answer = await answer
            if answer is False:
                return False
        return True

    def lazy(self, size: int = 20) -> LazyRows[R]:
        """Return the rows as a collection that loads pages when asked to."""
        return LazyRows(self, size)

    async def update(self, **values: Any) -> int:
        """Assign values to every record and save them, with validation and hooks; return how many there were.

        All of them are saved, in as many entries as the size limits need (one per log, inside a transaction), or none.

        Raises:
            QueryError: the query is limited, or selects; or no value is given.
            ValidationError, UniqueError, PermissionDeniedError: as `save`; nothing is written.
        """
        if not values:
            raise QueryError("update() without values would change nothing; say what: update(title='...')")
        rows, source = await self._to_write("update")
        await self.subject.change(rows, source, values)
        return len(rows)

    async def delete(self) -> int:
        """Delete every record, with hooks, like `update`; return how many there were."""
        rows, source = await self._to_write("delete")
        await self.subject.delete(rows, source)
        return len(rows)

    async def _to_write(self, what: str) -> tuple[list[Row], Source]:
        if self.picked is not None or self.at_most is not None or self.skipped:
            raise QueryError(f"{what}() is for all records of a query, without select, limit and offset")
        source = await self._source()
        return await self._bare_rows(source), source

    async def to_arrow(self) -> pyarrow.Table:
        """Return the rows as an Arrow table, one column per field or selected column; needs `debros[arrow]`."""
        return to_arrow(self, await self.all())

    async def to_pandas(self) -> pandas.DataFrame:
        """Return the rows as a data frame, one column per field or selected column; needs `debros[pandas]`."""
        return to_pandas(self, await self.all())
