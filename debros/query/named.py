"""The builder's further names: what the two spellings share under another word, one line each.

They add no meaning: each says which call it is. `page(n, size)` of other libraries is `paginate` here, and `after(cursor)`
is `page(after=cursor)`, for both give a page with what is around it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar

from debros.errors import QueryError
from debros.query import operators, raw
from debros.query.batch import Batch
from debros.query.expressions import Shuffle
from debros.query.operators import Direction
from debros.query.relations import Relation, along, merged
from debros.query.running import Running

if TYPE_CHECKING:
    from debros.query.query import Query

R = TypeVar("R")
Group = Callable[["Query[Any]"], "Query[Any]"]


class Named(Running[R]):
    """Steps by the builder's further names."""

    # conditions

    def and_(self, *args: Any) -> Self:
        """`where(...)`."""
        return self.where(*args)

    def or_(self, *args: Any) -> Self:
        """`or_where(...)`."""
        return self.or_where(*args)

    def not_(self, *args: Any) -> Self:
        """`where_not(...)`."""
        return self.where_not(*args)

    def group(self, group: Callable[[Query[R]], Query[R]], /) -> Self:
        """`where(lambda q: ...)`: conditions in parentheses."""
        return self.where(group)

    def where_date_between(self, field: str, low: dt.date, high: dt.date, /) -> Self:
        """Keep rows whose day, in UTC, is within two days."""
        return self._and(self.columns.named(field).date.between(low, high))

    def where_year(self, field: str, *op_and_year: Any) -> Self:
        """Compare the year, in UTC: `where_year("at", 2025)`, `where_year("at", ">=", 2025)`."""
        return self._and(operators.compared(self.columns.named(field).year, op_and_year))

    def where_month(self, field: str, *op_and_month: Any) -> Self:
        """Compare the month, 1..12, in UTC."""
        return self._and(operators.compared(self.columns.named(field).month, op_and_month))

    def where_day(self, field: str, *op_and_day: Any) -> Self:
        """Compare the day of the month, in UTC."""
        return self._and(operators.compared(self.columns.named(field).day, op_and_day))

    def where_array_contains(self, field: str, value: object, /) -> Self:
        """`where(field, "contains", value)`."""
        return self._and(self.columns.named(field).contains(value))

    def where_array_length(self, field: str, *op_and_n: Any) -> Self:
        """Compare the number of elements: `where_array_length("tags", ">=", 2)`."""
        return self._and(operators.compared(self.columns.named(field).length, op_and_n))

    def where_object_has_key(self, field: str, key: str, /) -> Self:
        """Keep rows whose map has this key."""
        return self._and(self.columns.named(field).has_key(key))

    def where_object_path(self, field: str, path: str, *op_and_value: Any) -> Self:
        """Compare a nested value: `where_object_path("place", "address.city", "=", "Rome")`."""
        return self._and(operators.compared(self.columns.named(field).path(path), op_and_value))

    def where_exists(self, what: str | Query[Any], group: Group | None = None, /) -> Self:
        """`where_has` of a relation; of a query, keep all rows if it has any, else none."""
        if isinstance(what, str):
            return self.where_has(what, group)
        return self._and(what.exists_condition(self.columns.owners))

    def where_not_exists(self, what: str | Query[Any], group: Group | None = None, /) -> Self:
        """The opposite of `where_exists`."""
        if isinstance(what, str):
            return self.where_doesnt_have(what, group)
        return self._and(~what.exists_condition(self.columns.owners))

    def where_user_in(self, dids: Iterable[str], /) -> Self:
        """`where_user(*dids)`."""
        return self.where_user(*dids)

    def where_raw(self, expression: str, bindings: Sequence[object] = (), /) -> Self:
        """Keep rows for which an SQL expression is true: `where_raw("{likes} * 2 > ?", [10])`.

        Fields stand in braces, every value is a `?`; see `debros.query.raw`.
        """
        return self._and(raw.condition(self.columns, expression, bindings))

    # order and slices

    def order_by_desc(self, field: str, /) -> Self:
        """`order_by(field, "desc")`."""
        return self.order_by(field, "desc")

    def order_by_multiple(self, orders: Iterable[str | tuple[str, Direction]], /) -> Self:
        """Order by several fields: `["author_id", ("likes", "desc")]`."""
        made = self
        for one in orders:
            made = made.order_by(one) if isinstance(one, str) else made.order_by(*one)
        return made

    def order_by_raw(self, expression: str, direction: Direction = "asc", bindings: Sequence[object] = (), /) -> Self:
        """Order by an SQL expression; see `where_raw`."""
        if direction not in ("asc", "desc"):
            raise QueryError(f"order_by_raw takes a direction, 'asc' or 'desc', not {direction!r}")
        return self.order_by(raw.order(self.columns, expression, bindings, direction == "desc"))

    def order_by_random(self, seed: int | None = None, /) -> Self:
        """Order by chance: another order for each seed, and each time anew without one."""
        if seed is not None and (type(seed) is not int or not -(2**63) <= seed < 2**63):
            raise QueryError(f"a seed is a whole number of 64 bits, not {seed!r}")
        return self.order_by(Shuffle(self.columns.id.sql, self.columns.owners, seed))

    def take(self, n: int, /) -> Self:
        """`limit(n)`."""
        return self.limit(n)

    def skip(self, n: int, /) -> Self:
        """`offset(n)`."""
        return self.offset(n)

    # relations

    def load(self, *relations: str | Sequence[str]) -> Self:
        """`with_(...)`."""
        return self.with_(*relations)

    def load_nested(self, path: str, group: Group | None = None, /) -> Self:
        """Include a path such as `"comments.user"`; the group narrows, orders and limits what is at its end."""
        return self._but("loads", merged(self.loads, (self._along(path, group),), self.subject))

    def _along(self, path: str, group: Group | None) -> Relation[Any]:
        name, _, rest = path.partition(".")
        relation: Relation[Any] = Relation(self.subject, name)
        if rest:
            inner = self._fresh(relation.target)
            return relation.include(inner._along(rest, group))
        return along(self.subject, path) if group is None else self._shaped(relation, group)

    def join(self, *relations: str) -> Self:
        """Keep rows that have these related records, and load them: `where_has` and `with_`."""
        made = self
        for name in relations:
            made = made.where_has(name)
        return made.with_(*relations)

    def left_join(self, *relations: str) -> Self:
        """`with_(...)`: load related records where there are any."""
        return self.with_(*relations)

    # reuse and inspection

    def clone(self) -> Self:
        """Return the query itself: it never changes, so a copy is not needed."""
        return self

    def reset(self) -> Self:
        """Return a query for all records of the model."""
        made: Self = self._fresh(self.subject)
        return made

    def to_sql(self) -> str:
        """Return the SQL that `all()` would run on the current node."""
        return self._statement()[0]

    def get_parameters(self) -> tuple[object, ...]:
        """Return what is bound to that SQL, in order."""
        return self._statement()[1]

    def _statement(self) -> tuple[str, tuple[object, ...]]:
        from debros.query import compile

        return compile.rows(self, self.subject.source())

    @staticmethod
    def batch() -> Batch:
        """Return a batch of queries to run together."""
        return Batch()
