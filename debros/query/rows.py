"""What a query gives: rows, and how much of the data they were made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, SupportsIndex, TypeVar

from debros.query.ports import Source

if TYPE_CHECKING:
    from debros.query.compile import Question

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a result was made from."""

    complete: bool  # every shard asked for was here
    missing: tuple[str, ...]  # addresses of those that were not
    heads: Mapping[str, tuple[str, ...]]  # log address -> CIDs of its newest entries


class Rows(list[T]):
    """The rows of a result, in order. A notebook shows them as a table."""

    __slots__ = ("_about", "_coverage", "_question", "_source")

    def __init__(
        self, rows: Iterable[T], source: Source, question: Question | None = None, about: Question | None = None
    ) -> None:
        list.__init__(self, rows)  # each result comes by here, and `super()` costs as much as this
        self._source = source
        self._question = question
        self._about = question if about is None else about  # of groups, what they are made from
        self._coverage: Coverage | None = None

    @property
    def coverage(self) -> Coverage:
        """What the rows were made from. The heads are those at the first look: look at once if it matters."""
        if self._coverage is None:
            self._coverage = self._covered()
        return self._coverage

    def _covered(self) -> Coverage:
        from debros.query.routing import keys_of

        question, source = self._about, self._source
        if question is None:
            return Coverage(True, (), {})
        reach = source.reach(keys_of(question.columns, question.condition))
        return Coverage(not reach.missing, reach.missing, source.heads(question.users, reach))

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the rows as dicts of Python values, by field or by selected column."""
        from debros.query.output import dicts

        return dicts(self._question, self)

    def to_json(self) -> str:
        """Return the rows as a JSON array of objects: records as `Model.to_json`, else the values' JSON forms."""
        from debros.query.output import json_text

        return json_text(self._question, self)

    def _repr_html_(self) -> str:
        """Return the rows as an HTML table, for notebooks."""
        from debros.query.output import html

        return html(self._question, self)

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

    @property
    def is_first(self) -> bool:
        """Whether it is the first page."""
        return self.page == 1

    @property
    def is_last(self) -> bool:
        """Whether no page follows."""
        return self.page >= self.pages
