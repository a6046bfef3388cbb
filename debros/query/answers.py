"""The answers of a query: its rows. All that a query reads goes through `_fetch`, and relations through theirs in `loading`."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Self, TypeVar

from trio import move_on_after
from trio.lowlevel import checkpoint_if_cancelled

from debros.errors import DeadlineError, DebrosError, MultipleFoundError, NotFoundError, QueryError
from debros.query import apart
from debros.query import compile as sql
from debros.query.cache import Caching, Entry
from debros.query.loading import Loaded, count, load
from debros.query.named import Named
from debros.query.ports import Apart, Source
from debros.query.rows import Rows

R = TypeVar("R")


class Answers(Named[R]):
    """What gives the rows of a query."""

    async def _source(self) -> Source:
        """Return where the rows come from; a terminal's first step, at which it can be cancelled."""
        subject = self.subject
        if not subject.is_ready:
            await subject.ready()
        source = subject.source()  # first, for it says where the node lives if not here
        await checkpoint_if_cancelled()
        return source

    def _fetch(self, source: Source, statement: sql.Sql, way: Apart | None = None) -> Awaitable[list[tuple[Any, ...]]]:
        """Return, to be awaited, what a statement gives. All that a query reads, but for relations, it reads here."""
        return source.fetch(*statement, way) if self.caching is None else self._cached(source, statement)

    async def _cached(self, source: Source, statement: sql.Sql) -> list[tuple[Any, ...]]:
        return (await self._entry(source, statement)).rows

    async def _entry(self, source: Source, statement: sql.Sql) -> Entry:
        assert self.caching is not None, "asked of queries that are kept"
        return await source.cache.queries.fetch(source, statement, self.caching, self.models(), self._labels)

    async def _read(self, source: Source) -> list[Any]:
        if self.caching is None:
            rows = await self._bare_rows(source)
        else:
            entry = await self._entry(source, sql.rows(self, source))
            rows = entry.rows
            if self._is_bare and self._asks_the_same(self.caching):
                self._last = (source, entry)
        return self.subject.hydrate(rows, source) if self._is_bare else await self._made(rows, source)

    async def _bare_rows(self, source: Source) -> list[tuple[Any, ...]]:
        """Return the rows as the view has them now, whatever is kept of earlier answers."""
        if (scan := sql.rows_as_they_lie(self, source)) is not None:
            return await source.fetch(*scan, by_id=True)
        statement = sql.rows(self, source)
        return await source.fetch(*statement, apart.rows(self, source) if source.is_spread else None)

    @property
    def _is_bare(self) -> bool:
        """Whether records are all that is asked for."""
        return self.picked is None and not self.loads and not self.counts

    def _asks_the_same(self, caching: Caching) -> bool:
        """Whether the statement is the same each time, until something is written.

        So it is of one global model: whose records are meant is no question then. An order by chance makes another one each time,
        and a time or an answer of its own, and the past, are for the long way.
        """
        if self.seconds is not None or self.answer_instead is not None or not self.subject.is_ready:
            return False
        is_global = self.columns.schema.scope == "global" and len(self.models()) == 1
        return is_global and not caching.is_fresh and not any(order.is_random for order in self.orders)

    def _again(self) -> Rows[R] | None:
        """Return what this very query found before, if nothing was written since: the short way to a hit."""
        try:
            source, entry = self._last
        except AttributeError:  # it found none
            return None
        if source is not self.subject.source() or (rows := source.cache.queries.again(entry, source)) is None:
            return None
        return Rows(self.subject.hydrate(rows, source), source, self)

    async def _made(self, rows: list[tuple[Any, ...]], source: Source) -> list[Any]:
        """Return what the rows are to the program, with their relations."""
        if self.picked is not None:
            return _decoded(self, rows, source)
        records: list[Any] = self.subject.hydrate(rows, source)
        if self.loads or self.counts:
            loaded = Loaded()
            loaded.note(self.columns.table, rows, records)
            await load(self.subject, records, self.loads, self.users, loaded, self.caching, self.is_partial)
            await count(self.subject, records, self.counts, self.users, self.caching, self.is_partial)
        return records

    async def _all(self) -> Rows[R]:
        self._check_includes()
        source = await self._source()
        return Rows(await self._read(source), source, self)

    def _limited_to(self, n: int) -> Self:
        return self._but("at_most", n if self.at_most is None else min(n, self.at_most))

    async def all(self) -> Rows[R]:
        """Return all rows.

        Raises:
            DeadlineError: they took longer than `timeout` allows.
        """
        if self.caching is not None and (found := self._again()) is not None:
            await checkpoint_if_cancelled()
            return found
        if self.seconds is None and self.answer_instead is None:
            self._check_includes()
            source = await self._source()
            return Rows(await self._read(source), source, self)
        try:
            if self.seconds is None:
                return await self._all()
            with move_on_after(self.seconds) as scope:
                return await self._all()
            assert scope.cancelled_caught
            raise DeadlineError(f"the query took more than {self.seconds:g} s; `explain()` says what it does")
        except DebrosError as error:
            if self.answer_instead is None:
                raise
            return Rows(self.answer_instead(error), self.subject.source(), self)

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

    async def get(self) -> Rows[R]:
        """`all()`."""
        return await self.all()

    async def exec(self) -> Rows[R]:
        """`all()`."""
        return await self.all()

    async def find_one(self) -> R | None:
        """`first()`."""
        return await self.first()

    async def first_or_fail(self) -> R:
        """Return the first row.

        Raises:
            NotFoundError: there is none.
        """
        rows = await self._limited_to(1).all()
        if not rows:
            raise NotFoundError(self.columns.name)
        return rows[0]

    async def find_or_fail(self) -> Rows[R]:
        """Return all rows.

        Raises:
            NotFoundError: there is none.
        """
        rows = await self.all()
        if not rows:
            raise NotFoundError(self.columns.name)
        return rows

    def must_have_pages(self) -> None:
        """Raise `QueryError` where a row does not say what comes behind it."""
        if any(order.is_random for order in self.orders):
            raise QueryError("rows in a random order have no pages, unless order_by_random(seed) fixes it")

    def _check_includes(self) -> None:
        if (self.loads or self.counts) and self.picked is not None:
            raise QueryError("select() gives tuples, which have no relations to include")


def _decoded(query: Answers[Any], rows: list[tuple[Any, ...]], source: Source) -> list[Any]:
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
