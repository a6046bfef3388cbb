"""How records come from rows: a record that was read is its row, and takes its values from it when they are looked at.

`Field.__get__` asks for them. Plain values come all together, at the first look at any; what costs something to decode
(times, sets, nested values) is decoded when it is itself looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

from debros.current import choosing, context
from debros.replica.tables import Row
from debros.schema import Schema

if TYPE_CHECKING:
    from debros.models.ports import Collection
    from debros.replica.transaction import Transaction

EXTRA: Final = "_extra"  # the field that holds undeclared values of a model with extra="keep"

_new = object.__new__


class Hydration:
    """Makes records of one model from rows."""

    def __init__(self, cls: Any, schema: Schema, *, keeps_extra: bool, is_counted: bool) -> None:
        self.cls = cls
        self.fields = schema.fields
        self.names: tuple[str, ...] = ("id", *(spec.name for spec in schema.fields))
        self.keeps_extra = keeps_extra
        self.is_counted = is_counted  # reads count for what its content is worth
        self.decoders: list[tuple[str, Callable[[Any], Any]]] = [
            (spec.name, spec.codec.from_column) for spec in schema.fields if spec.codec.from_column is not None
        ]
        self.late: dict[str, tuple[int, Callable[[Any], Any]]] = {  # decoded when first looked at: position, how
            spec.name: (at, spec.codec.from_column)
            for at, spec in enumerate(schema.fields, 1)
            if spec.codec.from_column not in (None, bool) and spec.name != EXTRA
        }
        self.plain = {name: at for at, name in enumerate(self.names) if name not in self.late}  # as they stand in a row
        flags = [spec.name for spec in schema.fields if spec.codec.from_column is bool]  # cheap, so they come with them
        self._flags = [(name, self.plain.pop(name)) for name in flags]
        self._in_order = [*list(self.plain.items())[1:], ("id", 0)]  # the id last: where it is, the others are
        if keeps_extra:
            self._decode_extra = next(decode for name, decode in self.decoders if name == EXTRA)

    def hydrate(self, rows: Sequence[Row], home: Collection) -> list[Any]:
        """Make a record of each row. They are trusted: the view holds only values of the declared types.

        A record takes its values from its row when one of them is first looked at (`Field.__get__`).
        """
        made = list(map(_new, repeat(self.cls, len(rows))))
        for record, row in zip(made, rows):  # noqa: B905 - a strict one costs, and there is one for each
            own = record.__dict__
            own["_row"] = row
            own["_home"] = home
        if self.is_counted:
            home.reads.extend(rows)
        if self.keeps_extra:  # undeclared values are no descriptors
            for record in made:
                own = record.__dict__
                self._fill(own)
                own[EXTRA] = self._decode_extra(own[EXTRA])
        if (transaction := context().transaction) is not None:
            self._follow(transaction, made, home)
        return made

    def hydrate_one(self, row: Row, home: Collection) -> Any:
        """Make the record of one row: `hydrate` without its loops."""
        if self.keeps_extra or context().transaction is not None:
            return self.hydrate((row,), home)[0]
        if self.is_counted:
            home.reads.append(row)
        record = _new(self.cls)
        own = record.__dict__
        own["_row"] = row
        own["_home"] = home
        return record

    def _fill(self, own: dict[str, Any]) -> None:
        """Give a record that was read the values that stand in its row as they are.

        What was assigned since stays, and so does what another thread (of `debros.blocking`) assigns meanwhile.
        """
        row, put = own["_row"], own.setdefault
        for name, at in self._flags:
            value = row[at]
            put(name, value if value is None else bool(value))
        for name, at in self._in_order:
            put(name, row[at])

    def look(self, own: dict[str, Any], name: str) -> Any:
        """Return a value of a record that was read, at the first look at it: plain ones come together, others one by one."""
        if "id" not in own:
            self._fill(own)
        if name in own:
            return own[name]
        at, decode = self.late[name]
        value = own["_row"][at]
        if value is not None:
            try:
                value = decode(value)
            except Exception as error:  # what the view holds can be decoded, unless it has rotted
                raise own["_home"].damage(error) from error
        return own.setdefault(name, value)

    def _follow(self, transaction: Transaction, records: Sequence[Any], home: Collection) -> None:
        """Let records that show provisional rows take the final ones when their transaction ends, either way."""
        changed = transaction.rows.get(self.cls.__schema__.name, {})
        log_at, e_at = home.table.log_at, home.table.e_at
        for record in records:
            provisional = changed.get((record._row[log_at], record._row[0]))
            if provisional is not None and provisional[e_at] == record._row[e_at]:
                settle = partial(_settle, record, home, transaction)
                transaction.settled.append(settle)
                transaction.on_rollback.append(settle)

    def decoded(self, record: Any) -> dict[str, Any]:
        """Return a record's `__dict__` with all its values in it."""
        own: dict[str, Any] = record.__dict__
        if record._row is not None:
            if "id" not in own:
                self._fill(own)
            for name in self.late:
                if name not in own:
                    self.look(own, name)
        return own

    def keys_of(self, records: Sequence[Any], name: str) -> list[Any]:
        """Return a field's value on each record; one that stands in the row as it is is taken from there."""
        at = self.plain.get(name)
        if at is None:
            return [getattr(record, name) for record in records]
        return [own[name] if name in (own := record.__dict__) else own["_row"][at] for record in records]

    def values_of(self, row: Row) -> dict[str, Any]:
        """Return a row's values in Python's types, by attribute."""
        values = dict(zip(self.names, row))  # noqa: B905 - as above
        for name, decode in self.decoders:
            if (value := values[name]) is not None:
                values[name] = decode(value)
        return values


def _settle(record: Any, home: Collection, transaction: Transaction) -> None:
    """Give a record that was read inside a transaction, or a savepoint, the row that is there after it."""
    with choosing(transaction=None if transaction.ended else transaction):
        row = home.row(record.id)
    if row is not None:
        shape = type(record).__shape__
        before, own = shape.values_of(record._row), shape.decoded(record)
        for name, value in shape.values_of(row).items():
            if own[name] == before[name]:  # an unsaved edit stays
                own[name] = value
    record.__dict__["_row"] = row
