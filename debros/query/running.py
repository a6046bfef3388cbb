"""How a query is run: what is kept of it, how long it may take, what answers instead, which index finds its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Self, TypeVar

from debros.errors import DebrosError, QueryError
from debros.query.cache import Caching, Labels, caching
from debros.query.expressions import Statement
from debros.query.paging import fingerprint
from debros.query.steps import Steps

R = TypeVar("R")


class Running(Steps[R]):
    """The steps that do not change which rows a query gives."""

    def models(self) -> tuple[str, ...]:
        """Return the names of the models that the query reads, but for what it includes; its own first."""
        try:
            return self._models
        except AttributeError:
            out = Statement(None, self.users)
            if self.condition is not None:
                self.condition.write(out)
            self._models: tuple[str, ...] = tuple(dict.fromkeys((self.columns.name, *out.models)))
            return self._models

    def _labels(self) -> Labels:
        """Return what a kept result of this query is about."""
        caching, source = self.caching, self.subject.source()
        assert caching is not None
        owners: frozenset[str] | None = frozenset()
        if self.columns.schema.scope == "user":
            owners = None if self.users == "all" else frozenset(self.users or (source.acting_did(),))
        return Labels(self.models(), fingerprint(self), caching.tags, caching.key, owners)

    def cache(self, ttl_s: float | None = None, *, tags: Iterable[str] = (), key: str | None = None) -> Self:
        """Keep the results, and those of what is included; no stale row is ever served (see `debros.query.cache`).

        Args:
            ttl_s: for how many seconds; the node's setting if not given.
            tags: texts by which `db.cache.invalidate(tag)` drops them.
            key: a name of yours, for `db.cache.invalidate(key=...)`.
        """
        return self._but("caching", caching(ttl_s, tags, key))

    def no_cache(self) -> Self:
        """Keep nothing."""
        return self._but("caching", None)

    def fresh(self) -> Self:
        """Ask the database once more, whatever is kept, and keep that."""
        return self._but("caching", replace(self.caching or Caching(), is_fresh=True))

    def cache_tag(self, *tags: str) -> Self:
        """Keep the results under these tags too."""
        have = self.caching or Caching()
        return self._but("caching", replace(have, tags=have.tags | caching(None, tags).tags))

    def timeout(self, seconds: float) -> Self:
        """Raise `DeadlineError` where `all()`, `first()` or `one()` take longer."""
        if type(seconds) not in (int, float) or not 0 < seconds < 2**53:
            raise QueryError(f"a timeout is a number of seconds above 0, not {seconds!r}")
        return self._but("seconds", seconds)

    def fallback(self, function: Callable[[DebrosError], list[R]]) -> Self:
        """Give what the function returns where `all()`, `first()` or `one()` fail; it is called with the error."""
        if not callable(function):
            raise QueryError(f"fallback takes a function from the error to a list of rows, not {function!r}")
        return self._but("answer_instead", function)

    def hint(self, text: str) -> Self:
        """Name the query, for people: `explain()` and the log of slow queries show it."""
        return self._but("note", text)

    def use_index(self, *fields: str) -> Self:
        """Find rows by this index and no other: its name as `explain()` tells it, or its fields.

        Where shards of the model have stores of their own, SQLite chooses in each of them.

        Raises:
            QueryError: the model has no such index.
        """
        return self._but("index", self.columns.index_named(fields))
