"""What a query gives: rows, and how much of the data they were made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, SupportsIndex, TypeVar

from debros.query.ports import Source

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a result was made from."""

    complete: bool  # every shard asked for was here
    missing: tuple[str, ...]  # addresses of those that were not
    heads: Mapping[str, tuple[str, ...]]  # log address -> CIDs of its newest entries


class Rows(list[T]):
    """The rows of a result, in order."""

    __slots__ = ("_coverage", "_source")

    def __init__(self, rows: Iterable[T], source: Source) -> None:
        super().__init__(rows)
        self._source = source
        self._coverage: Coverage | None = None

    @property
    def coverage(self) -> Coverage:
        """What the rows were made from. The heads are those at the first look: look at once if it matters."""
        if self._coverage is None:
            self._coverage = Coverage(True, (), self._source.heads())
        return self._coverage

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return list, (list(self),)  # a copy elsewhere is a plain list: it has no node to ask


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """A page of a result, found by where the one before ended."""

    rows: Rows[R]
    next: str | None  # the cursor of the page behind it; `None` at the end


@dataclass(frozen=True, slots=True)
class NumberedPage(Generic[R]):
    """A page of a result, found by its number."""

    rows: Rows[R]
    total: int  # rows of all pages
    page: int  # from 1
    pages: int  # at least 1

    @property
    def has_next(self) -> bool:
        """Whether a page follows."""
        return self.page < self.pages

    @property
    def has_previous(self) -> bool:
        """Whether a page stands before it."""
        return self.page > 1
