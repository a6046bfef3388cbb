"""Rows a few at a time: `stream`, `batches`, and a collection that loads when asked to.

Each part is a page behind a cursor, read when it is wanted. Between parts nothing is held open, so leaving the loop in
the middle costs nothing. The parts are not one snapshot: a row that is written meanwhile shows if it sorts behind. They are
all of the node and the identity that the first one was read for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

import trio

from debros.current import check_meant, choosing, context
from debros.errors import QueryError
from debros.query.rows import Rows

if TYPE_CHECKING:
    from debros.query.query import Query

R = TypeVar("R")

AT_ONCE: Final = 200  # rows that `stream` reads


class Batches(Generic[R]):
    """Lists of rows, `async for`; each use of it begins at the first row, the last list may be shorter."""

    __slots__ = ("_after", "_chosen", "_is_used", "_left", "_query", "_size")

    def __init__(self, query: Query[R], size: int) -> None:
        if type(size) is not int or size < 1:
            raise QueryError(f"a batch has 1 row or more, not {size!r}")
        if query.skipped:
            raise QueryError("stream() and batches() begin at the first row, not at an offset")
        query.must_have_pages()
        self._query = query
        self._size = size
        self._left = query.at_most
        self._after: str | None = ""
        self._chosen: dict[str, object] = {}  # whom it is read for, once it was begun
        self._is_used = False  # whether this is one use of it: an iterator, which goes on where it is

    def __aiter__(self) -> Self:
        if self._is_used:
            return self
        used = type(self)(self._query, self._size)
        used._is_used = True
        return used

    async def __anext__(self) -> Rows[R]:
        size = self._size if self._left is None else min(self._size, self._left)
        if self._after is None or not size:
            raise StopAsyncIteration
        here = context()
        self._chosen = self._chosen or {"node": here.node, "identity": here.identity}
        with choosing(**self._chosen):
            check_meant()
            await trio.lowlevel.checkpoint()  # a quick page has none, and who iterates may do nothing else
            page = await self._query.limit(size).page(self._after or None)
        self._after = page.next
        if self._left is not None:
            self._left -= len(page.rows)
        if not page.rows:
            raise StopAsyncIteration
        return page.rows


class Stream(Generic[R]):
    """Rows one by one, `async for`; each use of it begins at the first row."""

    __slots__ = ("_batches", "_is_used", "_query", "_rows")

    def __init__(self, query: Query[R]) -> None:
        self._query = query
        self._batches = Batches(query, AT_ONCE)
        self._rows: deque[R] = deque()
        self._is_used = False  # as in `Batches`

    def __aiter__(self) -> Self:
        if self._is_used:
            return self
        used = type(self)(self._query)
        used._is_used = True
        return used

    async def __anext__(self) -> R:
        if not self._rows:
            self._rows.extend(await self._batches.__anext__())
        return self._rows.popleft()


class LazyRows(Generic[R]):
    """A collection that is loaded in pages, when asked: `await rows.load_more()`. What is loaded stays."""

    def __init__(self, query: Query[R], size: int) -> None:
        self._query = query
        self._size = size
        self._batches = Batches(query, size)
        self._loaded: list[R] = []
        self._complete = False

    @property
    def loaded_items(self) -> list[R]:
        """The rows that were loaded, in order."""
        return list(self._loaded)

    @property
    def is_completely_loaded(self) -> bool:
        """Whether there is no more to load, as of the last time it looked."""
        return self._complete

    async def load_more(self) -> list[R]:
        """Load the next page and return it, empty at the end."""
        try:
            rows = await self._batches.__anext__()
        except StopAsyncIteration:
            self._complete = True
            return []
        self._loaded += rows
        self._complete = len(rows) < self._size
        return rows

    async def load_page(self, n: int) -> list[R]:
        """Load up to page `n`, from 1, and return that page."""
        if type(n) is not int or n < 1:
            raise QueryError(f"a page is 1 or more, not {n!r}")
        while len(self._loaded) < n * self._size and not self._complete:
            await self.load_more()
        return self._loaded[(n - 1) * self._size : n * self._size]

    async def load_all(self) -> list[R]:
        """Load what is not loaded yet, and return everything."""
        while not self._complete:
            await self.load_more()
        return self.loaded_items

    async def count(self) -> int:
        """Return how many there are, loaded or not."""
        return await self._query.count()

    async def find(self, test: Callable[[R], Any]) -> R | None:
        """Return the first row that passes a test, loading pages until there is one."""
        at = 0
        while True:
            for row in self._loaded[at:]:
                if test(row):
                    return row
            at = len(self._loaded)
            if self._complete:
                return None
            await self.load_more()

    async def filter(self, test: Callable[[R], Any]) -> list[R]:
        """Return all rows that pass a test, loading everything."""
        return [row for row in await self.load_all() if test(row)]

    def clear(self) -> None:
        """Forget what was loaded, and begin anew."""
        self._batches = Batches(self._query, self._size)
        self._loaded, self._complete = [], False
