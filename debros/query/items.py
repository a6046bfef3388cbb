"""Collections whose elements are indexed: `tags: Field[set[str]] = field(index=True)`.

The index is a table of (element, row) beside the model's. Whether it is there is known when a query runs: while it is
being built, and in fingerprints, a condition asks the collections themselves, which means the same.

Where there is no collection, a condition is unknown, and the index says false. A query shows neither, and `&` and `|` keep
it so; under `~` they differ, so there a collection that may be null is asked itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from debros.blocks import dagcbor
from debros.query.columns import Column
from debros.query.expressions import Expr, Leaf, Statement


class ItemsColumn(Column[Any]):
    """A collection with an index of its elements."""

    __slots__ = ("_doc", "_side")

    def __init__(self, column: Column[Any], doc: str, side: str) -> None:
        super().__init__(
            column.model,
            column.name,
            column.codec,
            column.sql,
            value=column.value,
            nullable=column.nullable,
            owners=column.owners,
        )
        self._doc = doc
        self._side = side

    def contains(self, value: object) -> Expr:
        return self._has(self._among((dagcbor.encode(self._item(value)),)), super().contains(value))

    def contains_any(self, values: Iterable[object]) -> Expr:
        given = self._several(values)
        plain = super().contains_any(given)
        found = tuple(dict.fromkeys(dagcbor.encode(self._item(value)) for value in given))
        return self._has(self._among(found), plain)

    def contains_all(self, values: Iterable[object]) -> Expr:
        given = self._several(values)
        plain = super().contains_all(given)
        if not given:
            return plain
        found: Expr | None = None
        for value in given:
            one = self._among((dagcbor.encode(self._item(value)),))
            found = one if found is None else found & one
        assert found is not None
        return self._has(found, plain)

    def _has(self, indexed: Expr, plain: Expr) -> HasItem:
        return HasItem(self._side, indexed, plain, is_nullable=self.nullable)

    def _among(self, encoded: tuple[bytes, ...]) -> Leaf:
        marks = ",".join("?" * len(encoded))
        return Leaf(
            f'{self._doc} IN (SELECT "doc" FROM "{self._side}" WHERE "value" IN ({marks}))', encoded, self.owners
        )


class HasItem(Expr):
    """A condition in two spellings: by the index, and without it."""

    __slots__ = ("_indexed", "_is_nullable", "_plain", "_side", "owners")
    depth = 1

    def __init__(self, side: str, indexed: Expr, plain: Expr, *, is_nullable: bool) -> None:
        self._is_nullable = is_nullable
        self._side = side
        self._indexed = indexed
        self._plain = plain
        self.owners = plain.owners

    def write(self, out: Statement) -> None:
        there = out.source is not None and not out.is_alone and out.source.has_index(self._side)
        there = there and not (self._is_nullable and out.is_negated)
        (self._indexed if there else self._plain).write(out)
