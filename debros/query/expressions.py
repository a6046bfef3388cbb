"""Conditions as values. A condition is its SQL text with marks, and what is bound to them, made where it is written.

So building a query twice costs two concatenations and no walk over a tree, and the text is the structure: SQLite's
statement cache, keyed by it, is the cache of compiled queries. Values are only ever bound; names in the text come
from the schema.

Null, the same everywhere, is SQL's: a comparison with a null is *unknown*, `~` of unknown is unknown, `&` and `|`
follow Kleene, and a query shows the rows whose condition is true. So neither `x == 1` nor `x != 1` nor
`~(x == 1)` shows a row where `x` is null; write `(x != 1) | (x == None)`. Only where Python's `None` is written
is null a value: `x == None` is `x.is_null()`, `x != None` is `x.is_not_null()`, `x.in_([1, None])` is
`(x == 1) | (x == None)`, and `not_in` is the opposite of `in_`. `any`, `none` and `is_null` are never unknown.

Rows of nested queries come from the same node: what they may read is known only when a terminal runs, so those
conditions write themselves into a `Statement` then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn

from debros.errors import PartialResultError, QueryError

if TYPE_CHECKING:
    from debros.query.ports import Source, Subject, Users

MAX_DEPTH: Final = 100  # of `&` inside `|` inside `&` ...; a chain of one of them counts once, whatever its length
GROUP: Final = "a group"  # stands among the owners of a condition on aggregates
_RUN: Final = 32  # conditions joined flat; longer chains are written as a balanced tree, for SQLite counts levels
_MANY: Final = 16  # logs named one by one


class Statement:
    """SQL while it is written: pieces of text, and what is bound, in the same order.

    Without a source it is written for its fingerprint only: the same on every node, whatever its logs are.
    """

    __slots__ = ("bound", "is_alone", "is_negated", "models", "partial", "parts", "source", "users")

    def __init__(self, source: Source | None, users: Users, partial: bool = False) -> None:
        self.parts: list[str] = []
        self.bound: list[object] = []
        self.source = source  # of the innermost query that is being written
        self.users: Users = users  # whose records it reads
        self.partial = partial  # whether shards may be missing
        self.models: list[str] = []  # whose rows inner queries read
        self.is_negated = False  # whether what is written now stands somewhere under NOT
        self.is_alone = False  # whether it is asked of one row that is in no table

    def add(self, text: str, bindings: Sequence[object] = ()) -> None:
        """Append text, and what its marks stand for."""
        self.parts.append(text)
        if bindings:
            self.bound += bindings

    @contextmanager
    def reading(self, subject: Subject[Any], users: Users, table: str) -> Iterator[tuple[str, tuple[object, ...]]]:
        """Write a query inside this one: gives the restriction to the logs it may read, ` AND ...` and bindings."""
        outer, outer_users = self.source, self.users
        self.models.append(subject.schema.name)
        if outer is None:
            yield "", (repr(users),)
            return
        self.source, self.users = subject.source(), users
        yield logs_clause(table, self._logs(self.source))
        self.source, self.users = outer, outer_users

    def _logs(self, source: Source) -> tuple[int, ...] | None:
        if not source.is_partial:
            return source.logs(self.users)
        reach = source.reach(None)
        if reach.missing and not self.partial:
            raise PartialResultError(source.table.schema.name, reach.missing)
        return reach.logs

    def text(self) -> str:
        """Return the SQL written so far."""
        return "".join(self.parts)


def logs_clause(table: str, logs: tuple[int, ...] | None) -> tuple[str, tuple[object, ...]]:
    """Return ` AND ...` that restricts a table (a quoted name) to these logs."""
    if logs is None:
        return "", ()
    if len(logs) == 1:
        return f' AND {table}."_log" = ?', logs
    if len(logs) <= _MANY:
        return f' AND {table}."_log" IN ({",".join("?" * len(logs))})', logs
    return f' AND {table}."_log" IN (SELECT value FROM json_each(?))', (f"[{','.join(map(str, logs))}]",)


class Expr:
    """A condition: what comparing a column gives. Compose with `&`, `|`, `~`; Python's `and`, `or`, `not` raise."""

    __slots__ = ()
    owners: frozenset[str]  # the models whose rows it speaks of
    depth: int

    def __and__(self, other: Expr) -> Expr:
        return Joined.of(" AND ", self, other)

    def __or__(self, other: Expr) -> Expr:
        return Joined.of(" OR ", self, other)

    def __invert__(self) -> Expr:
        return Negated(self)

    def __bool__(self) -> NoReturn:
        raise QueryError(
            "a condition has no truth value here: compose with `&`, `|` and `~` instead of `and`, `or`, `not`,"
            " with parentheses around each comparison, and write `between(a, b)` for `a <= column <= b`"
        )

    def __repr__(self) -> str:
        out = Statement(None, None)
        self.write(out)
        return f"<{out.text()}{f' {out.bound!r}' if out.bound else ''}>"

    def write(self, out: Statement) -> None:
        """Append the condition as SQL."""
        raise NotImplementedError

    def leaves(self) -> Iterator[Expr]:
        """Yield the conditions that are not composed of others."""
        yield self


class Leaf(Expr):
    """A condition on one row: finished text, and its bindings."""

    __slots__ = ("bindings", "owners", "text")
    depth = 1

    def __init__(self, text: str, bindings: tuple[object, ...], owners: frozenset[str]) -> None:
        self.text = text
        self.bindings = bindings
        self.owners = owners

    def write(self, out: Statement) -> None:
        out.add(self.text, self.bindings)


class Joined(Expr):
    """Conditions joined by AND or by OR; a chain of one kind is flat."""

    __slots__ = ("depth", "operator", "owners", "parts")

    def __init__(self, operator: str, parts: tuple[Expr, ...], owners: frozenset[str], depth: int) -> None:
        self.operator = operator
        self.parts = parts
        self.owners = owners
        self.depth = depth
        if depth > MAX_DEPTH:
            raise QueryError(f"a condition nests `&`, `|` and `~` at most {MAX_DEPTH} deep; use `in_`, or flatten it")

    @classmethod
    def of(cls, operator: str, left: Expr, right: Expr) -> Expr:
        if not isinstance(left, Expr) or not isinstance(right, Expr):
            wrong = right if isinstance(left, Expr) else left
            raise QueryError(f"{wrong!r} is no condition; put parentheses around each comparison")
        owners = left.owners if left.owners is right.owners else left.owners | right.owners
        first, second = _parts(operator, left), _parts(operator, right)
        depth = max(left.depth + (len(first) == 1), right.depth + (len(second) == 1))
        return cls(operator, first + second, owners, depth)

    def write(self, out: Statement) -> None:
        self._write(out, 0, len(self.parts))

    def _write(self, out: Statement, start: int, end: int) -> None:
        out.parts.append("(")
        if end - start <= _RUN:
            said: set[tuple[str, tuple[object, ...]]] = set()
            for n in range(start, end):
                part = self.parts[n]
                if type(part) is Leaf:
                    if (part.text, part.bindings) in said:  # once is enough
                        continue
                    said.add((part.text, part.bindings))
                if n > start:
                    out.parts.append(self.operator)
                part.write(out)
        else:
            middle = (start + end) // 2
            self._write(out, start, middle)
            out.parts.append(self.operator)
            self._write(out, middle, end)
        out.parts.append(")")

    def leaves(self) -> Iterator[Expr]:
        for part in self.parts:
            yield from part.leaves()


def _parts(operator: str, expr: Expr) -> tuple[Expr, ...]:
    return expr.parts if isinstance(expr, Joined) and expr.operator == operator else (expr,)


class Negated(Expr):
    """The opposite of a condition; of an unknown one, unknown."""

    __slots__ = ("depth", "inner", "owners")

    def __init__(self, inner: Expr) -> None:
        self.inner = inner
        self.owners = inner.owners
        self.depth = inner.depth + 1
        if self.depth > MAX_DEPTH:
            raise QueryError(f"a condition nests `&`, `|` and `~` at most {MAX_DEPTH} deep; use `in_`, or flatten it")

    def __invert__(self) -> Expr:
        return self.inner

    def write(self, out: Statement) -> None:
        outer, out.is_negated = out.is_negated, True
        out.parts.append("NOT (")
        self.inner.write(out)
        out.parts.append(")")
        out.is_negated = outer

    def leaves(self) -> Iterator[Expr]:
        return self.inner.leaves()


def all_of(conditions: Sequence[Expr]) -> Expr | None:
    """Return the conjunction of conditions; `None` if there are none.

    Raises:
        QueryError: one of them is no condition.
    """
    joined: Expr | None = None
    for condition in conditions:
        if not isinstance(condition, Expr):
            raise QueryError(f"{condition!r} is no condition; write e.g. `Post.likes > 3`")
        joined = condition if joined is None else joined & condition
    return joined


def top_level(condition: Expr | None) -> tuple[Expr, ...]:
    """Return the conditions that must all hold."""
    return () if condition is None else _parts(" AND ", condition)


class Order:
    """A direction for a column, made by `asc()` and `desc()`. Nulls come first ascending, last descending."""

    __slots__ = ("bindings", "descending", "name", "nullable", "owners", "sql", "text", "type")
    is_random = False  # a new order each time

    def __init__(
        self, sql: str, bindings: tuple[object, ...], owners: frozenset[str], descending: bool, nullable: bool,
        name: str = "", type: str = "",
    ) -> None:  # fmt: skip
        """Describe an order; `name` and `type` are those of its column, empty where it is an expression."""
        self.sql = sql
        self.bindings = bindings
        self.owners = owners
        self.descending = descending
        self.nullable = nullable
        self.name = name
        self.type = type
        self.text = sql + " DESC" if descending else sql

    def shuffled(self, seed: bytes) -> Order:
        """Return the order as it is this time."""
        return self


class Shuffle(Order):
    """An order by chance: another one for each seed, and for each run where no seed is given."""

    __slots__ = ("_id", "is_random")

    def __init__(self, id_sql: str, owners: frozenset[str], seed: int | None) -> None:
        super().__init__(f"debros_shuffle(?, {id_sql})", (seed or 0,), owners, False, False, "id")
        self._id = id_sql
        self.is_random = seed is None

    def shuffled(self, seed: bytes) -> Order:
        return Shuffle(self._id, self.owners, int.from_bytes(seed, "big", signed=True)) if self.is_random else self


class Listable:
    """What can stand in `column.in_(...)` instead of values: a query that selects one column."""

    __slots__ = ()

    def listed(self) -> Any:
        """Return the selected column.

        Raises:
            QueryError: it selects none, or several.
        """
        raise NotImplementedError

    def write_list(self, out: Statement) -> None:
        """Append a SELECT of the column's values, without nulls, as they compare."""
        raise NotImplementedError
