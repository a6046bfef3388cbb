"""What the log knows about a record, as columns: `Post.meta.created_by`, `owner`, `created_at`, `updated_at`.

People are DIDs to the program and numbers in the view, so a condition on them finds its numbers when it runs.
`owner` is who alone may write the record: in user scope the owner of the log, in a global model of `write="owner"`
the user whose tag the id ends in, else null. It compares with DIDs, and is not selected: a tag is not turned back.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any

from debros.errors import QueryError
from debros.identity import did as names
from debros.query.columns import Column
from debros.query.expressions import Expr, Listable, Statement
from debros.query.ports import Source
from debros.schema import Schema
from debros.values.scalars import INSTANT, TEXT


class MetaColumns:
    """`Post.meta` on the class: the columns of what the log knows."""

    __slots__ = ("created_at", "created_by", "owner", "updated_at")

    def __init__(self, columns: dict[str, Column[Any]]) -> None:
        self.created_by: Column[str] = columns["created_by"]
        self.owner: Column[str] = columns["owner"]
        self.created_at: Column[dt.datetime] = columns["created_at"]
        self.updated_at: Column[dt.datetime] = columns["updated_at"]


def meta_columns(schema: Schema, table: str) -> dict[str, Column[Any]]:
    """Return the meta columns of a model by name; `table` is its quoted name."""
    owners = frozenset({schema.name})
    owner: Column[Any]
    if schema.scope == "user":
        owner = LogOwnerColumn(schema.name, "meta.owner", TEXT, f'{table}."_log"', nullable=False, owners=owners)
    elif schema.write == "owner":
        tag = f'substr({table}."id", -{names.TAG_SIZE})'
        owner = TagColumn(schema.name, "meta.owner", TEXT, tag, nullable=False, owners=owners)
    else:
        owner = TagColumn(schema.name, "meta.owner", TEXT, "NULL", owners=owners)

    def instant(name: str, stored: str) -> Column[Any]:  # hybrid clock: milliseconds << 16 + counter
        sql = f"({table}.{stored} >> 16) * 1000"
        return Column(schema.name, f"meta.{name}", INSTANT, sql, nullable=False, owners=owners)

    return {
        "created_by": UserColumn(schema.name, "meta.created_by", TEXT, f'{table}."_by"', nullable=False, owners=owners),
        "owner": owner,
        "created_at": instant("created_at", '"_ct"'),
        "updated_at": instant("updated_at", '"_t"'),
    }


class PersonColumn(Column[str]):
    """A user. DIDs compare for being the same, and have no order."""

    __slots__ = ()

    def must_order(self, what: str) -> None:
        raise QueryError(f"{self!r} is a user, who has no order, so no {what}")

    def must_be(self, kinds: frozenset[str], what: str) -> None:
        raise QueryError(f"{self!r} is a user, who has no {what}; compare with `==` or `in_`")

    def must_compare(self, other: Column[Any]) -> None:
        if type(other) is not type(self):
            raise QueryError(f"{self!r} is a user, and does not compare with {other!r}")

    def operand(self, value: object) -> Any:
        return checked_did(value)

    def _compare_order(self, operator: str, other: object) -> Expr:
        raise QueryError(f"{self!r} is a user, who has no order, so no `{operator}`")


class UserColumn(PersonColumn):
    """The user who created the record: a number in the view."""

    __slots__ = ()

    def decoder(self, source: Source) -> Callable[[Any], Any] | None:
        return source.user_did

    def in_(self, values: Iterable[str] | Listable) -> Expr:
        if isinstance(values, Listable):
            return super().in_(values)
        return OfUsers(self, tuple(self.operand(value) for value in self._several(values)))

    def _compare(self, operator: str, other: object) -> Expr:
        if isinstance(other, Column):
            return self._compare_column(operator, other)
        found = OfUsers(self, (self.operand(other),))
        return found if operator == "=" else ~found


class LogOwnerColumn(UserColumn):
    """The owner of the log that the record lies in."""

    __slots__ = ()

    def decoder(self, source: Source) -> Callable[[Any], Any] | None:
        raise QueryError(f"{self!r} can be compared, not selected; select {self.model}.meta.created_by")


class TagColumn(PersonColumn):
    """The user whose tag the id ends in."""

    __slots__ = ()

    def operand(self, value: object) -> Any:
        return names.tag(names.key_of(checked_did(value)))

    def decoder(self, source: Source) -> Callable[[Any], Any] | None:
        raise QueryError(f"{self!r} can be compared, not selected; select {self.model}.meta.created_by")


class OfUsers(Expr):
    """Whether a record is of one of these users: their numbers, or logs, are known when the query runs."""

    __slots__ = ("_column", "_dids", "owners")
    depth = 1

    def __init__(self, column: UserColumn, dids: tuple[str, ...]) -> None:
        self._column = column
        self._dids = dids
        self.owners = column.owners

    def write(self, out: Statement) -> None:
        numbers: Iterable[object] = self._dids
        if out.source is not None and isinstance(self._column, LogOwnerColumn):
            numbers = out.source.logs(self._dids) or ()
        elif out.source is not None:
            numbers = sorted({out.source.user_number(did) for did in self._dids})
        self._column.among(list(numbers)).write(out)


def checked_did(value: object) -> str:
    """Return a DID.

    Raises:
        QueryError: it is none of an Ed25519 key.
    """
    if type(value) is not str:
        raise QueryError(f"{value!r} is no DID (`did:key:z6Mk...`)")
    try:
        names.key_of(value)
    except ValueError as error:
        raise QueryError(str(error)) from None
    return value
