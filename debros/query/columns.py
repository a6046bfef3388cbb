"""Columns: what a class attribute of a model is in a query, `Post.likes`.

A column knows its SQL, how its values travel, and which operators its type has; the rest is a wrong operand, and
raises where it is written. Text compares by code point. `contains`, `icontains`, `startswith` and `endswith`
take their argument literally; `like` and `ilike` know `%` (any text) and `_` (one character) and no escape; without case
means by Unicode's full case folding. `matches` is a search, anchored by `^` and `$`; see `regex`.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar

from debros.blocks import dagcbor
from debros.errors import QueryError, did_you_mean
from debros.query import regex
from debros.query.expressions import GROUP, Expr, Leaf, Listable, Order, Statement
from debros.query.operands import COLLECTIONS, UNORDERED, checked, family, plain, successor, wire_of
from debros.query.ports import Source
from debros.schema import Codec
from debros.values.scalars import DATE, INT, TEXT

T = TypeVar("T")

MAX_MARKS: Final = 128  # values of an `in_` bound one by one; more go as one JSON text
MAX_BOUND: Final = 30_000  # what one statement may bind (SQLite's own limit is 32,766)

_PATHS: Final = frozenset({"map", "record", "list", "tuple", "any"})
_LONG: Final = frozenset({"text", "bytes", "list", "set", "tuple", "map"})


class Column(Generic[T]):
    """One value of a row, to compare, order by, select and aggregate."""

    __slots__ = ("bindings", "codec", "model", "name", "nullable", "owners", "sql", "value")
    is_computed = False  # a computed field that the view does not keep

    def __init__(
        self,
        model: str,
        name: str,
        codec: Codec,
        sql: str,
        *,
        value: str | None = None,
        bindings: tuple[object, ...] = (),
        nullable: bool = True,
        owners: frozenset[str] | None = None,
    ) -> None:
        """Describe a column.

        Args:
            model: the model's name, for messages and to check that a condition is about the right one.
            name: the attribute.
            codec: how its values travel.
            sql: the SQL term by which it compares and sorts.
            value: the SQL term of its value, if that is another one (decimals).
            bindings: what the marks in `sql` stand for, and those in `value` too.
            nullable: whether it may be null.
            owners: the models whose rows it speaks of; this one if not given.
        """
        self.model = model
        self.name = name
        self.codec = codec
        self.sql = sql
        self.value = sql if value is None else value
        self.bindings = bindings
        self.nullable = nullable
        self.owners = frozenset({model}) if owners is None else owners

    def __repr__(self) -> str:
        return f"{self.model}.{self.name}"

    __hash__ = None  # type: ignore[assignment]  # `==` makes a condition, so a column is no key

    def __eq__(self, other: T | Column[T]) -> Expr:  # type: ignore[override]  # a condition, not a bool
        return self.is_null() if other is None else self._compare("=", other)

    def __ne__(self, other: T | Column[T]) -> Expr:  # type: ignore[override]  # as above
        return self.is_not_null() if other is None else self._compare("<>", other)

    def __lt__(self, other: T | Column[T]) -> Expr:
        return self._compare_order("<", other)

    def __le__(self, other: T | Column[T]) -> Expr:
        return self._compare_order("<=", other)

    def __gt__(self, other: T | Column[T]) -> Expr:
        return self._compare_order(">", other)

    def __ge__(self, other: T | Column[T]) -> Expr:
        return self._compare_order(">=", other)

    if not TYPE_CHECKING:  # checkers know what there is

        def __getattr__(self, name):
            if name.startswith("_"):
                raise AttributeError(name)
            inside = f"; what lies in it is `{self!r}.path({name!r})`" if self.codec.kind in _PATHS else ""
            raise AttributeError(f"{self!r} has no {name!r}{inside or did_you_mean(name, dir(type(self)))}")

        def _no_arithmetic(self, *other):
            raise QueryError(
                f"{self!r} is compared, not computed with: an order is `{self!r}.desc()`, a counter grows by "
                f"`await {self.model}.increment(id, {self.name}=1)`, and `where_raw` takes expressions; comparisons that `&` and "
                "`|` join stand in parentheses each"
            )

        __neg__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __and__ = __rand__ = __or__ = (
            __ror__
        ) = _no_arithmetic

    def in_(self, values: Iterable[T] | Listable) -> Expr:
        """Whether the value is one of these, or of those a query of one column selects; `None` means null."""
        if isinstance(values, Listable):
            return InQuery(self, values)
        given = self._several(values)
        present = [self.operand(value) for value in given if value is not None]
        found = self.among(present)
        return found if len(present) == len(given) else found | self.is_null()

    def not_in(self, values: Iterable[T] | Listable) -> Expr:
        """The opposite of `in_`."""
        return ~self.in_(values)

    def is_null(self) -> Expr:
        """Whether there is no value."""
        return Leaf(f"{self.sql} IS NULL", self.bindings, self.owners)

    def is_not_null(self) -> Expr:
        """Whether there is a value."""
        return Leaf(f"{self.sql} IS NOT NULL", self.bindings, self.owners)

    def between(self, low: T, high: T) -> Expr:
        """Whether `low <= value <= high`."""
        self.must_order("between")
        return self._leaf(f"{self.sql} BETWEEN ? AND ?", self.operand(low), self.operand(high))

    def like(self, pattern: str) -> Expr:
        """Whether the text is of this form: `%` is any text, `_` any one character; case counts."""
        sql, text = self._text("like", pattern)
        start = pattern[: min(pattern.find(mark) % (len(pattern) + 1) for mark in "%_")]
        if start == pattern:
            return self._leaf(f"{sql} = ?", text)
        if start and not self.bindings:  # the range lets an index help
            prefix = self.startswith(start)
            return prefix & self._leaf(f"debros_like({sql}, ?)", text)
        return self._leaf(f"debros_like({sql}, ?)", text)

    def ilike(self, pattern: str) -> Expr:
        """`like`, where case does not count."""
        sql, text = self._text("ilike", pattern)
        return self._leaf(f"debros_ilike({sql}, ?)", text.casefold())

    def matches(self, regex_: str) -> Expr:
        """Whether a regular expression matches somewhere in the text, in linear time (no back references)."""
        sql, text = self._text("matches", regex_)
        regex.compiled(text)
        return self._leaf(f"debros_matches({sql}, ?)", text)

    def startswith(self, prefix: str) -> Expr:
        """Whether the text begins with this text; an index helps."""
        sql, text = self._text("startswith", prefix)
        if self.bindings or not text:
            return self._leaf(f"instr({sql}, ?) = 1", text)
        end = successor(text)
        if end is None:
            return self._leaf(f"{sql} >= ?", text)
        return self._leaf(f"({sql} >= ? AND {sql} < ?)", text, end)

    def endswith(self, end: str) -> Expr:
        """Whether the text ends with this text."""
        sql, text = self._text("endswith", end)
        return self._leaf(f"debros_endswith({sql}, ?)", text)

    def contains(self, value: object) -> Expr:
        """Whether the text contains this text, or the collection this element."""
        if self.codec.kind == "text":
            sql, text = self._text("contains", value)
            return self._leaf(f"instr({sql}, ?) > 0", text)
        sql = self._collection("contains")
        return self._leaf(f"debros_contains({sql}, ?)", dagcbor.encode(self._item(value)))

    def icontains(self, text: str) -> Expr:
        """Whether the text contains this text, where case does not count."""
        sql, sought = self._text("icontains", text)
        return self._leaf(f"instr(debros_casefold({sql}), ?) > 0", sought.casefold())

    def contains_any(self, values: Iterable[object]) -> Expr:
        """Whether the collection has one of these elements."""
        sql = self._collection("contains_any")
        return self._leaf(f"debros_contains_any({sql}, ?)", self._items(values))

    def contains_all(self, values: Iterable[object]) -> Expr:
        """Whether the collection has all of these elements."""
        sql = self._collection("contains_all")
        return self._leaf(f"debros_contains_all({sql}, ?)", self._items(values))

    def has_key(self, key: str) -> Expr:
        """Whether the map has this key."""
        self.must_be(frozenset({"map", "record", "any"}), "has_key")
        if type(key) is not str:
            raise QueryError(f"a key is text, not {key!r}")
        return self._leaf(f"debros_has_key({self._encoded()}, ?)", checked(key))

    def path(self, dotted: str) -> Column[Any]:
        """The value inside a nested value, `Post.place.path("address.city")`; a number steps into a list.

        It compares with values of one sort at a time: `path("n") > 3` is unknown where `n` is text.
        """
        self.must_be(_PATHS, "path")
        if type(dotted) is not str or not dotted:
            raise QueryError(f"a path is text such as 'address.city', not {dotted!r}")
        from debros.query.paths import PathColumn  # which derives from this class

        return PathColumn(self, checked(dotted))

    @property
    def length(self) -> Column[int]:
        """Characters of a text, bytes, elements of a collection."""
        self.must_be(_LONG, "length")
        function = "length" if self.codec.kind == "bytes" else "debros_length"
        return self._derived("length", INT, f"{function}({self._encoded()})")

    @property
    def date(self) -> Column[dt.date]:
        """The day, in UTC."""
        return self._derived("date", DATE, self._day("date"))

    @property
    def year(self) -> Column[int]:
        """The year, in UTC."""
        return self._derived("year", INT, f"CAST(substr({self._day('year')}, 1, 4) AS INTEGER)")

    @property
    def month(self) -> Column[int]:
        """The month, 1..12, in UTC."""
        return self._derived("month", INT, f"CAST(substr({self._day('month')}, 6, 2) AS INTEGER)")

    @property
    def day(self) -> Column[int]:
        """The day of the month, in UTC."""
        return self._derived("day", INT, f"CAST(substr({self._day('day')}, 9, 2) AS INTEGER)")

    def asc(self) -> Order:
        """Ascending, nulls first."""
        self.must_order("order_by")
        return Order(self.sql, self.bindings, self.owners, False, self.nullable, self.name, self.codec.name)

    def desc(self) -> Order:
        """Descending, nulls last."""
        self.must_order("order_by")
        return Order(self.sql, self.bindings, self.owners, True, self.nullable, self.name, self.codec.name)

    def decoder(self, source: Source) -> Callable[[Any], Any] | None:
        """Return the function from a selected value (not null) to the Python value; `None`: it is the same."""
        return self.codec.from_column

    def operand(self, value: object) -> Any:
        """Return a Python value as it is bound.

        Raises:
            QueryError: it is no value of this column's type.
        """
        codec = self.codec
        if codec is TEXT and type(value) is str and value.isascii():  # what is mostly given
            return value
        if value is None:
            raise QueryError(f"{self!r}: None has no order; write `is_null()` or `== None`")
        if not codec.is_operand(value):
            self._must_hold(value)
        if codec.kind in UNORDERED:
            return self._whole(value)
        if codec.to_wire is not None:
            try:
                value = codec.to_wire(value)
            except OverflowError:  # a number beyond floats, a local time at the end of the calendar
                raise QueryError(f"{self!r} is of type {codec.name}, and {value!r} is beyond it") from None
        if codec.to_key is not None:
            return codec.to_key(value)
        if codec.to_column is not None:
            return codec.to_column(value)
        return value if type(value) is int else plain(value)

    def _whole(self, value: object) -> Any:
        """Return a collection or nested value as it is bound: encoded."""
        codec = self.codec
        try:
            wire = value if codec.to_wire is None else codec.to_wire(value)
            good = codec.accepts(wire)
            return dagcbor.encode(wire) if good else self._must_hold(value)
        except (ValueError, TypeError, AttributeError, OverflowError):  # what codecs raise for parts of another type
            return self._must_hold(value)

    def _must_hold(self, value: object) -> NoReturn:
        raise QueryError(f"{self!r} is of type {self.codec.name}, and {value!r:.200} is not{self._cure(value)}")

    def _cure(self, value: object) -> str:
        """Return what to write where a value of another type was given, as far as that is told."""
        kind = self.codec.kind
        if kind == "instant" and isinstance(value, dt.datetime):
            return ", for it has no zone; write e.g. datetime(2025, 4, 1, tzinfo=UTC)"
        if kind == "instant" and isinstance(value, dt.date):
            return f"; `{self!r}.date` is the day, in UTC"
        if kind == "date" and isinstance(value, dt.datetime):
            return "; its day is `value.date()`"
        if kind in ("instant", "date") and isinstance(value, str):
            return f"; write e.g. {'datetime' if kind == 'instant' else 'date'}.fromisoformat({value[:40]!r})"
        if kind in COLLECTIONS and not isinstance(value, (list, set, tuple)):
            return f"; `{self!r}.contains(...)` asks for an element"
        if hasattr(value, "__shape__"):
            return "; a record is told by its `id`"
        return ""

    def must_order(self, what: str) -> None:
        """Raise `QueryError` unless values of this column have an order."""
        if self.codec.kind in UNORDERED:
            raise QueryError(f"{self!r} is of type {self.codec.name}, which has no order, so no {what}")

    def must_be(self, kinds: frozenset[str], what: str) -> None:
        """Raise `QueryError` unless the column is of one of these kinds."""
        if self.codec.kind not in kinds:
            raise QueryError(f"{self!r} is of type {self.codec.name}, which has no {what}")

    def _leaf(self, text: str, *values: object) -> Leaf:
        return Leaf(text, (*self.bindings, *values), self.owners)

    def _compare(self, operator: str, other: object) -> Expr:
        if isinstance(other, Column):
            return self._compare_column(operator, other)
        bound = (self.operand(other),)
        return Leaf(f"{self.sql} {operator} ?", self.bindings + bound if self.bindings else bound, self.owners)

    def _compare_order(self, operator: str, other: object) -> Expr:
        if self.codec.kind in UNORDERED:
            self.must_order(f"`{operator}`")
        return self._compare(operator, other)

    def _compare_column(self, operator: str, other: Column[Any]) -> Expr:
        self.must_compare(other)
        if (GROUP in self.owners) != (GROUP in other.owners):
            raise QueryError(f"{self!r} and {other!r}: one is of a group, the other of a row")
        owners = self.owners if self.owners == other.owners else self.owners | other.owners
        return Leaf(f"{self.sql} {operator} {other.sql}", (*self.bindings, *other.bindings), owners)

    def must_compare(self, other: Column[Any]) -> None:
        """Raise `QueryError` unless values of the two columns compare."""
        mine, its = self.codec, other.codec
        if family(mine) != family(its) or (family(mine) in UNORDERED and mine.name != its.name):
            raise QueryError(f"{self!r} ({mine.name}) and {other!r} ({its.name}) do not compare")

    def _several(self, values: object) -> list[Any]:
        if isinstance(values, str | bytes) or not isinstance(values, Iterable):
            raise QueryError(f"{self!r}: {values!r} is no list of values")
        return list(values)

    def among(self, bound: list[Any]) -> Leaf:
        """Return whether the value is one of these, as they are bound."""
        if not bound:
            return Leaf("0", (), self.owners)
        if len(bound) == 1:
            return self._leaf(f"{self.sql} = ?", bound[0])
        if len(bound) <= MAX_MARKS or self.codec.affinity == "REAL":  # JSON may not keep every bit of a float
            size = min(1 << (len(bound) - 1).bit_length(), MAX_BOUND)  # few sizes, so few texts to compile
            if len(bound) > size:
                raise QueryError(f"{self!r}: `in_` takes at most {MAX_BOUND} floats, not {len(bound)}")
            marks = ",".join("?" * size)
            return self._leaf(f"{self.sql} IN ({marks})", *bound, *[bound[-1]] * (size - len(bound)))
        listed, values = "SELECT value FROM json_each(?)", bound
        if isinstance(bound[0], bytes):
            listed, values = "SELECT unhex(value) FROM json_each(?)", [value.hex() for value in bound]
        elif isinstance(bound[0], str) and any("\0" in value for value in bound):  # which not every SQLite reads well
            listed = "SELECT CAST(unhex(value) AS TEXT) FROM json_each(?)"
            values = [value.encode().hex() for value in bound]
        return self._leaf(f"{self.sql} IN ({listed})", json.dumps(values))

    def _text(self, what: str, value: object) -> tuple[str, str]:
        """Return the SQL of the text to look into, and the text to look for."""
        self.must_be(frozenset({"text"}), what)
        if type(value) is not str:
            raise QueryError(f"{self!r}: {what} takes text, not {value!r}")
        return self.sql, checked(value)

    def _encoded(self) -> str:
        """Return the SQL of the text, bytes or encoded collection to look into."""
        return self.sql

    def _collection(self, what: str) -> str:
        self.must_be(COLLECTIONS | {"any"}, what)
        return self._encoded()

    def _item(self, value: object) -> Any:
        """Return the wire value of an element to look for."""
        codec = self.codec.item
        if value is None or codec is None:
            return wire_of(value)
        if not codec.is_operand(value):
            raise QueryError(f"{self!r} holds {codec.name}, and {value!r} is none")
        wire = value if codec.to_wire is None else codec.to_wire(value)
        if not codec.accepts(plain(wire)):
            raise QueryError(f"{self!r} holds {codec.name}, and {value!r} is none")
        return plain(wire)

    def _items(self, values: Iterable[object]) -> bytes:
        return dagcbor.encode([self._item(value) for value in self._several(values)])

    def _day(self, what: str) -> str:
        """Return the SQL of the ISO date; instants are microseconds since 1970, also negative ones."""
        self.must_be(frozenset({"instant", "date"}), what)
        if self.codec.kind == "date":
            return self.sql
        floor = f"({self.sql} - CASE WHEN {self.sql} < 0 THEN 86399999999 ELSE 0 END) / 86400000000"
        return f"date({floor} * 86400, 'unixepoch')"

    def _derived(self, name: str, codec: Codec, sql: str) -> Column[Any]:
        return Column(
            self.model, f"{self.name}.{name}", codec, sql, bindings=self.bindings, nullable=self.nullable,
            owners=self.owners,
        )  # fmt: skip


class InQuery(Expr):
    """Whether a value is among those that a query selects. Nulls it selects are left out."""

    __slots__ = ("_column", "_query", "depth", "owners")

    def __init__(self, column: Column[Any], query: Listable) -> None:
        column.must_compare(query.listed())
        self._column = column
        self._query = query
        self.owners = column.owners
        self.depth = 1
        column.sql  # noqa: B018 - an unindexed computed field raises here, where it is written

    def write(self, out: Statement) -> None:
        out.add(f"{self._column.sql} IN (", self._column.bindings)
        self._query.write_list(out)
        out.add(")")
