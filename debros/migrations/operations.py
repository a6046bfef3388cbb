"""The operations of a migration, as pure values.

A row is a dict of Python values by attribute, `id` among them. `up` takes a row of the schema before the operation and
returns one of the schema after it, `down` the other way; both are pure, and may change the dict they are given.
`fixed` names fields whose cell was written under a schema that is newer (for `down`: older) than the operation: they
keep their value, whatever a function says. `late` holds the cells of fields that the row did not have so far.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias
from uuid import UUID, uuid5

from debros.errors import MigrationError

if TYPE_CHECKING:
    from debros.node import Debros

Row: TypeAlias = "dict[str, Any]"
Change: TypeAlias = Callable[[Any], Any]
Function: TypeAlias = "Callable[[Debros], Awaitable[object] | object]"

NAMESPACE = UUID("5b0f7f5e-0d7e-5a51-9d0a-6d6967726174")  # of the ids that `add_uuid` derives
UNSET: Any = object()
_NO_TYPE: Any = object()


@dataclass(frozen=True)
class Operation:
    """One operation. `model` is the model's name at this point of the migration."""

    model: str
    writes: ClassVar[bool] = False  # whether it writes entries, and does not only say how rows are read
    halts: ClassVar[bool] = False  # whether its models refuse writes until it is done, whatever documents there are

    @property
    def text(self) -> str:
        """How a person reads it."""
        raise NotImplementedError

    @property
    def is_reversible(self) -> bool:
        """Whether it has a way back."""
        return True

    def up(self, row: Row, fixed: frozenset[str], late: Row) -> Row:
        """Return the row as the schema after this operation has it."""
        return row

    def down(self, row: Row, fixed: frozenset[str], late: Row) -> Row:
        """Return the row as the schema before this operation has it."""
        return row


@dataclass(frozen=True)
class AddField(Operation):
    """A new field; a document that has no cell of it reads `default`, or what `make` returns for its row.

    Without either it reads what the model declares.
    """

    name: str
    default: Any = UNSET
    make: Change | None = None

    @property
    def text(self) -> str:
        shown = "computed for each record" if self.make else f"default {self.default!r}"
        if self.make is None and self.default is UNSET:
            shown = "the model's default"
        return f"add field {self.model}.{self.name} ({shown})"

    def up(self, row: Row, fixed: frozenset[str], late: Row) -> Row:
        if self.name in late:
            row[self.name] = late.pop(self.name)
        elif self.make is not None:
            if self.name not in row:
                row[self.name] = self.make(dict(row))
        elif self.default is not UNSET:
            row.setdefault(self.name, self.default)
        return row

    def down(self, row: Row, fixed: frozenset[str], late: Row) -> Row:
        row.pop(self.name, None)
        return row


@dataclass(frozen=True)
class RemoveField(Operation):
    """A field that is no more. Its cells stay in the log, so the way back is there."""

    name: str
    type: Any = _NO_TYPE

    @property
    def text(self) -> str:
        return f"remove field {self.model}.{self.name} (its values stay in the log)"

    @property
    def has_type(self) -> bool:
        """Whether the type that the field had is known; without it functions see values as the log has them."""
        return self.type is not _NO_TYPE

    def up(self, row: Row, fixed: frozenset[str], late: Row) -> Row:
        row.pop(self.name, None)
        return row

    def down(self, row: Row, fixed: frozenset[str], late: Row) -> Row:
        if self.name in late:
            row[self.name] = late.pop(self.name)
        return row


@dataclass(frozen=True)
class ChangeField(Operation):
    """A field of another type or other bounds. Without `convert` values stay as they are."""

    name: str
    convert: Change | None = None
    back: Change | None = None
    was: Any = _NO_TYPE

    @property
    def text(self) -> str:
        return f"change field {self.model}.{self.name}" + (" (values are converted)" if self.convert else "")

    @property
    def has_type(self) -> bool:
        """Whether the type that the field had before is known."""
        return self.was is not _NO_TYPE

    @property
    def is_reversible(self) -> bool:
        return self.convert is None or self.back is not None

    def up(self, row: Row, fixed: frozenset[str], late: Row) -> Row:
        if self.convert is not None and self.name not in fixed and self.name in row:
            row[self.name] = self.convert(row[self.name])
        return row

    def down(self, row: Row, fixed: frozenset[str], late: Row) -> Row:
        if self.back is not None and self.name not in fixed and self.name in row:
            row[self.name] = self.back(row[self.name])
        return row


@dataclass(frozen=True)
class RenameField(Operation):
    """Another attribute for the same cells: the stored name stays."""

    old: str
    new: str

    @property
    def text(self) -> str:
        return f"rename field {self.model}.{self.old} to {self.new}"

    def up(self, row: Row, fixed: frozenset[str], late: Row) -> Row:
        if self.old in row:
            row[self.new] = row.pop(self.old)
        return row

    def down(self, row: Row, fixed: frozenset[str], late: Row) -> Row:
        if self.new in row:
            row[self.old] = row.pop(self.new)
        return row


@dataclass(frozen=True)
class RenameModel(Operation):
    """Another class for the same documents: the stored name stays. `model` is the old name."""

    new: str

    @property
    def text(self) -> str:
        return f"rename model {self.model} to {self.new}"


@dataclass(frozen=True)
class AddIndex(Operation):
    """An index. The model declares it, and the view makes it; here it is a note for readers."""

    fields: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"add index {self.model}({', '.join(self.fields)})"


@dataclass(frozen=True)
class RemoveIndex(Operation):
    """An index that is no more."""

    fields: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"remove index {self.model}({', '.join(self.fields)})"


@dataclass(frozen=True)
class Transform(Operation):
    """A function from row to row."""

    convert: Callable[[Row], Row]
    back: Callable[[Row], Row] | None = None

    @property
    def text(self) -> str:
        return f"transform {self.model}" + ("" if self.back else " (one way)")

    @property
    def is_reversible(self) -> bool:
        return self.back is not None

    def up(self, row: Row, fixed: frozenset[str], late: Row) -> Row:
        return _applied(self.convert, row, fixed)

    def down(self, row: Row, fixed: frozenset[str], late: Row) -> Row:
        return row if self.back is None else _applied(self.back, row, fixed)


def _applied(function: Callable[[Row], Row], row: Row, fixed: frozenset[str]) -> Row:
    made = function(dict(row))
    if type(made) is not dict:
        made = dict(made)
    for name in fixed:
        if name in row:
            made[name] = row[name]
    return made


@dataclass(frozen=True)
class CopyTo(Operation):
    """New records of another model, made from the records of this one, under the same ids. Writes entries."""

    writes: ClassVar[bool] = True
    halts: ClassVar[bool] = True

    target: str
    mapping: Mapping[str, str] = field(default_factory=dict)  # field of the target -> field of this model
    where: Callable[[Any], bool] | None = None
    make: Callable[[Row], Row] | None = None
    batch: int = 100

    @property
    def text(self) -> str:
        return f"copy {self.model} to {self.target}"


@dataclass(frozen=True)
class Reshard(Operation):
    """Another layout of a sharded model: so many shards, or these bounds. Old records stay where they are.

    Writes one entry, which opens the layout; where it is open already, none.
    """

    writes: ClassVar[bool] = True

    to: int | tuple[Any, ...]
    was: int | tuple[Any, ...]

    @property
    def text(self) -> str:
        if isinstance(self.to, int):
            return f"reshard {self.model}: {self.was} to {self.to} shards"
        return f"reshard {self.model}: bounds {_listed(self.was)} to {_listed(self.to)}"


def _listed(bounds: int | tuple[Any, ...]) -> str:
    return ", ".join(map(str, bounds)) if isinstance(bounds, tuple) else str(bounds)


@dataclass(frozen=True)
class Run(Operation):
    """A function of the program, run once, in one transaction. `model` is empty. Writes entries."""

    writes: ClassVar[bool] = True
    halts: ClassVar[bool] = True

    function: Function
    undo: Function | None = None
    models: tuple[str, ...] = ()  # that refuse writes until it is done

    @property
    def text(self) -> str:
        return f"run {getattr(self.function, '__name__', 'a function')}" + ("" if self.undo else " (one way)")

    @property
    def is_reversible(self) -> bool:
        return self.undo is not None


@dataclass(frozen=True)
class Check:
    """A condition on the whole database: a function of the node that returns false or raises where it fails."""

    function: Function
    before: bool = False

    @property
    def text(self) -> str:
        return f"check {getattr(self.function, '__name__', 'a function')} {'before' if self.before else 'after'}"


def derived_uuid(row: Row) -> UUID:
    """Return an id that every node derives alike from the record's own (RFC 9562, version 5)."""
    return uuid5(NAMESPACE, str(row["id"]))


def names_of(fields: Sequence[object], where: str) -> tuple[str, ...]:
    """Return field names, checked to be text.

    Raises:
        MigrationError: one is not.
    """
    for name in fields:
        if not isinstance(name, str) or not name.removeprefix("-").isidentifier():
            raise MigrationError(f"{where}: {name!r} is no field name; give names as text")
    return tuple(str(name) for name in fields)
