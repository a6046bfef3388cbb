"""Values inside nested values: `Post.place.path("address.city")`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Any

from debros.blocks import dagcbor
from debros.errors import QueryError
from debros.query.columns import Column
from debros.query.expressions import Expr, Leaf, Listable
from debros.query.operands import UNORDERED, checked, family
from debros.replica.tables import path_term
from debros.values.composites import ANY
from debros.values.scalars import FLOAT


class NestedColumn(Column[Any]):
    """A nested value, paths into which are indexed."""

    __slots__ = ("_paths",)

    def __init__(self, column: Column[Any], paths: frozenset[str]) -> None:
        super().__init__(
            column.model, column.name, column.codec, column.sql, value=column.value, nullable=column.nullable,
            owners=column.owners,
        )  # fmt: skip
        self._paths = paths

    def path(self, dotted: str) -> Column[Any]:
        return PathColumn(self, dotted, is_indexed=True) if dotted in self._paths else super().path(dotted)


class PathColumn(Column[Any]):
    """A value inside a nested value, whose type only the row knows.

    The sort of the operand says the sort of value meant; other values are as if missing.
    """

    __slots__ = ("_dotted", "_inside", "_is_indexed")

    def __init__(self, inside: Column[Any], dotted: str, *, is_indexed: bool = False) -> None:
        self._inside, self._dotted, self._is_indexed = inside, dotted, is_indexed
        super().__init__(
            inside.model, f"{inside.name}.{dotted}", ANY, self._as("a"), value=self._as("e"),
            bindings=inside.bindings if is_indexed else (*inside.bindings, dotted), owners=inside.owners,
        )  # fmt: skip

    def _as(self, sort: str) -> str:
        if self._is_indexed:
            return path_term(self._inside.sql, self._dotted, sort)
        return f"debros_path({self._inside.sql}, ?, '{sort}')"

    def must_order(self, what: str) -> None:
        """A path has an order: nulls, numbers, texts, bytes and collections."""

    def must_be(self, kinds: frozenset[str], what: str) -> None:
        if "any" not in kinds and what not in ("length", "contains", "has_key"):
            raise QueryError(f"{self!r}: the type of a nested value is not declared, so it has no {what}")

    def must_compare(self, other: Column[Any]) -> None:
        if family(other.codec) in UNORDERED - {"any"} or other.codec.kind == "decimal":
            raise QueryError(f"{self!r} and {other!r} do not compare")

    def path(self, dotted: str) -> Column[Any]:
        return self._inside.path(f"{self._dotted}.{dotted}")

    def contains(self, value: object) -> Expr:
        """Whether the text there contains this text, or the list there this element."""
        return self._leaf(f"debros_contains({self._as('c')}, ?)", dagcbor.encode(self._item(value)))

    def in_(self, values: Iterable[Any] | Listable) -> Expr:
        if isinstance(values, Listable):
            return super().in_(values)
        by_sort: dict[str, list[Any]] = {}
        parts: list[Expr] = []
        for value in self._several(values):
            if value is None:
                parts.append(self.is_null())
            else:
                sort, bound = self._sorted(value)
                by_sort.setdefault(sort, []).append(bound)
        for sort, several in by_sort.items():
            codec = FLOAT if sort == "n" else ANY
            column: Column[Any] = Column(
                self.model, self.name, codec, self._as(sort), bindings=self.bindings, owners=self.owners
            )
            parts.append(column.among(several))
        return reduce(or_, parts) if parts else Leaf("0", (), self.owners)

    def between(self, low: Any, high: Any) -> Expr:
        (sort, least), (other, most) = self._sorted(low), self._sorted(high)
        if sort != other:
            raise QueryError(f"{self!r}: {low!r} and {high!r} do not compare")
        return self._leaf(f"{self._as(sort)} BETWEEN ? AND ?", least, most)

    def _compare(self, operator: str, other: object) -> Expr:
        if isinstance(other, Column):
            return self._compare_column(operator, other)
        sort, bound = self._sorted(other)
        if sort == "e" and operator not in ("=", "<>"):
            raise QueryError(f"{self!r}: {other!r} has no order")
        return self._leaf(f"{self._as(sort)} {operator} ?", bound)

    def _compare_order(self, operator: str, other: object) -> Expr:
        return self._compare(operator, other)

    def _sorted(self, value: object) -> tuple[str, Any]:
        """Return the sort of value meant, and what is bound."""
        if value is None:
            raise QueryError(f"{self!r}: None has no order; write `is_null()` or `== None`")
        wire = self._item(value)
        for sort, types in (("b", bool), ("n", int | float), ("t", str), ("x", bytes)):
            if isinstance(wire, types):
                if type(wire) is int and not -(2**63) <= wire < 2**63:
                    raise QueryError(f"{value!r} is beyond 64 bits")
                return sort, wire
        return "e", dagcbor.encode(wire)

    def _text(self, what: str, value: object) -> tuple[str, str]:
        if type(value) is not str:
            raise QueryError(f"{self!r}: {what} takes text, not {value!r}")
        return self._as("t"), checked(value)

    def _encoded(self) -> str:
        return self._as("c")

    def _collection(self, what: str) -> str:
        return self._as("c")
