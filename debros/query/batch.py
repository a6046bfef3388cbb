"""Several queries run together: `await Query.batch().add("new", q1).add("top", q2).execute()`.

They run one after another without letting anything come between, unless one takes long, so in the usual case they
see the same state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from debros.errors import QueryError
from debros.query.rows import Rows

if TYPE_CHECKING:
    from debros.query.query import Query


class Batch:
    """Queries by name. Immutable, like a query."""

    __slots__ = ("_queries",)

    def __init__(self, queries: dict[str, Query[Any]] | None = None) -> None:
        self._queries = queries or {}

    def add(self, name: str, query: Query[Any]) -> Self:
        """Return the batch with one query more.

        Raises:
            QueryError: there is one of this name already.
        """
        if name in self._queries:
            raise QueryError(f"the batch has a query {name!r} already")
        return type(self)({**self._queries, name: query})

    async def execute(self) -> dict[str, Rows[Any]]:
        """Run them all and return their rows by name; the first error is raised."""
        return {name: await query.all() for name, query in self._queries.items()}
