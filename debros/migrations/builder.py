"""`migration(name, version)`: an immutable value that says how the schema of a version comes from the one before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from debros.errors import MigrationError, ModelError
from debros.log.layout import MAX_SHARDS
from debros.migrations import operations as ops
from debros.models.options import version_number, version_text
from debros.schema import NAME
from debros.values.code import digest_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_FIELD = re.compile(NAME)
_NOTHING: Any = object()


@dataclass(frozen=True)
class Migration:
    """One migration. Every method returns a new one; nothing is done until a node applies it."""

    name: str
    number: int  # the version that its models declare afterwards, as one number
    description: str = ""
    author: str = ""
    tags: tuple[str, ...] = ()
    created: str = ""  # date, as text
    operations: tuple[ops.Operation, ...] = ()
    checks: tuple[ops.Check, ...] = ()
    depends: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """`major.minor.patch`."""
        return version_text(self.number)

    @property
    def models(self) -> tuple[str, ...]:
        """The models it is about, by their names before it, in order."""
        found: dict[str, None] = {}
        for operation in self.operations:
            for name in (operation.model, getattr(operation, "target", ""), *getattr(operation, "models", ())):
                if name:
                    found[name] = None
        return tuple(found)

    @property
    def is_reversible(self) -> bool:
        """Whether all of its operations have a way back."""
        return all(operation.is_reversible for operation in self.operations)

    @property
    def writes(self) -> bool:
        """Whether it writes entries, beside the one that says it was applied."""
        return any(operation.writes for operation in self.operations)

    @property
    def halts(self) -> bool:
        """Whether its models refuse writes until it is applied, whatever documents there are."""
        return any(operation.halts for operation in self.operations)

    def digest(self) -> str:
        """A text that changes with what the migration does."""
        return digest_of((self.name, self.number, self.operations))

    # -- what it is ------------------------------------------------------------------------------------------

    def describe(self, text: str) -> Migration:
        """Say what it is for."""
        return replace(self, description=text)

    def by(self, author: str) -> Migration:
        """Say who wrote it."""
        return replace(self, author=author)

    def tag(self, *tags: str) -> Migration:
        """Give it tags."""
        return replace(self, tags=(*self.tags, *tags))

    def on(self, date: str) -> Migration:
        """Say when it was written."""
        return replace(self, created=date)

    def depends_on(self, *names: str) -> Migration:
        """Name migrations that must have been applied before."""
        for name in names:
            _check_name(name)
        return replace(self, depends=tuple(dict.fromkeys((*self.depends, *names))))

    # -- fields ----------------------------------------------------------------------------------------------

    def add_field(
        self, model: object, name: str, default: Any = ops.UNSET, *, make: ops.Change | None = None
    ) -> Migration:
        """Add a field; records written before read `default`, or what the pure function `make(row)` returns.

        Without either they read the default that the model declares.
        """
        return self._with(ops.AddField(self._model(model), self._field(name), default, _pure(make, "make")))

    def remove_field(self, model: object, name: str, *, type: Any = _NOTHING) -> Migration:
        """Remove a field; `type` is what it was, for functions of this and earlier migrations that read it."""
        given = {} if type is _NOTHING else {"type": type}
        return self._with(ops.RemoveField(self._model(model), self._field(name), **given))

    def change_field(
        self, model: object, name: str, *, up: ops.Change | None = None, down: ops.Change | None = None,
        was: Any = _NOTHING,
    ) -> Migration:  # fmt: skip
        """Change a field's type or bounds; `up` and `down` convert a value, `was` is its type before."""
        given = {} if was is _NOTHING else {"was": was}
        converts = _pure(up, "up"), _pure(down, "down")
        return self._with(ops.ChangeField(self._model(model), self._field(name), *converts, **given))

    def rename_field(self, model: object, old: str, new: str) -> Migration:
        """Rename a field; its stored name stays, as `field(name=...)` would say."""
        return self._with(ops.RenameField(self._model(model), self._field(old), self._field(new)))

    def add_timestamps(self, model: object) -> Migration:
        """Add `created_at` and `updated_at`; records written before read the times that the log knows."""
        model = self._model(model)
        created = ops.AddField(model, "created_at", make=_created_at)
        return self._with(created)._with(ops.AddField(model, "updated_at", make=_updated_at))

    def add_soft_delete(self, model: object, name: str = "deleted_at") -> Migration:
        """Add a field that says since when a record counts as deleted; null for those written before."""
        return self._with(ops.AddField(self._model(model), self._field(name), None))

    def add_uuid(self, model: object, name: str = "uuid") -> Migration:
        """Add a UUID; of records written before it is derived from the id, so that all nodes agree."""
        return self._with(ops.AddField(self._model(model), self._field(name), make=ops.derived_uuid))

    # -- models and indexes ------------------------------------------------------------------------------------

    def rename_model(self, old: object, new: object) -> Migration:
        """Rename a model; its stored name stays, as `@model(name=...)` would say."""
        return self._with(ops.RenameModel(self._model(old), self._class_name(new)))

    def add_index(self, model: object, *fields: str) -> Migration:
        """Note that the model declares a new index; the view makes it by itself."""
        return self._with(ops.AddIndex(self._model(model), ops.names_of(fields, f"{self.name}: add_index")))

    def remove_index(self, model: object, *fields: str) -> Migration:
        """Note that the model declares an index no more."""
        return self._with(ops.RemoveIndex(self._model(model), ops.names_of(fields, f"{self.name}: remove_index")))

    def reshard(self, model: object, to: int | Iterable[Any], *, was: int | Iterable[Any]) -> Migration:
        """Open another layout of a sharded model, as its class declares it now: a number of shards, or bounds.

        Old records stay in the logs where they were signed, and are found as before; new ones follow the new layout. The
        way back is to follow the former one again.

        Args:
            model: the sharded model.
            to: what `@model(sharding=...)` declares now: n of `hash_shards`, bounds of `range_shards`.
            was: what it declared before.
        """
        name = self._model(model)
        layouts = [self._layout(one) for one in (to, was)]
        if type(layouts[0]) is not type(layouts[1]) or layouts[0] == layouts[1]:
            raise MigrationError(f"{self.name}: reshard from {was!r} to {to!r} is no change of a layout")
        return self._with(ops.Reshard(name, *layouts))

    # -- data --------------------------------------------------------------------------------------------------

    def transform(
        self, model: object, up: Callable[[dict[str, Any]], dict[str, Any]],
        down: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> Migration:  # fmt: skip
        """Make each row anew by a pure function; `down` is the way back, without which there is none."""
        return self._with(ops.Transform(self._model(model), _needed(up, "up"), _pure(down, "down")))

    def copy_to(
        self, source: object, target: object, *, mapping: Mapping[str, str] | None = None,
        where: Callable[[Any], bool] | None = None, transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        batch: int = 100,
    ) -> Migration:  # fmt: skip
        """Make a record of `target` from each of `source`, under the same id; those that are there already stay.

        Args:
            source: the model to read.
            target: the model to write.
            mapping: field of the target -> field of the source; without it, fields of the same name.
            where: which records; a function of the record.
            transform: the last word on the new record's values, by field.
            batch: records in one transaction, at least 1.
        """
        if not isinstance(batch, int) or isinstance(batch, bool) or not 1 <= batch <= 10_000:
            raise MigrationError(f"{self.name}: batch={batch!r} is not a number of records, 1 to 10,000")
        copy = ops.CopyTo(
            self._model(source), self._model(target), dict(mapping or {}), _pure(where, "where"),
            _pure(transform, "transform"), batch,
        )  # fmt: skip
        return self._with(copy)

    def run(
        self, function: ops.Function, *, undo: ops.Function | None = None, models: tuple[object, ...] = ()
    ) -> Migration:
        """Run a function of the node, sync or async, once and in one transaction; `undo` is the way back.

        `models` name those that refuse writes until it has run.
        """
        names = tuple(self._model(model) for model in models)
        return self._with(ops.Run("", _needed(function, "run"), _pure(undo, "undo"), names))

    # -- checks ------------------------------------------------------------------------------------------------

    def check(self, function: ops.Function, *, before: bool = False) -> Migration:
        """Refuse to go on, or go back, where a function of the node returns false or raises.

        It runs after the migration, and what it did is undone where it fails; with `before`, ahead of everything.
        """
        return replace(self, checks=(*self.checks, ops.Check(_needed(function, "check"), before)))

    def check_field_exists(self, model: object, name: str) -> Migration:
        """Check beforehand that the model, as it is opened, has this field."""
        wanted, attribute = self._model(model), self._field(name)

        def field_exists(db: Any) -> bool:
            opened = db.store.models.get(wanted)
            if opened is None or attribute not in opened.table.schema.by_name:
                raise MigrationError(f"{wanted} has no field {attribute!r}; declare it before you migrate")
            return True

        return self.check(field_exists, before=True)

    def check_readable(self, model: object) -> Migration:
        """Check afterwards that no living record of the model is left out for a missing or unreadable value."""
        wanted = self._model(model)

        def readable(db: Any) -> bool:
            hidden = db.migrations.unreadable(wanted)
            if hidden:
                raise MigrationError(f"{hidden} records of {wanted} cannot be shown: a required value is missing")
            return True

        return self.check(readable)

    # -- inside --------------------------------------------------------------------------------------------------

    def _with(self, operation: ops.Operation) -> Migration:
        return replace(self, operations=(*self.operations, operation))

    def _model(self, model: object) -> str:
        schema = getattr(model, "__schema__", None)
        if schema is not None:
            return str(schema.name)
        return self._class_name(model)

    def _class_name(self, model: object) -> str:
        name = model.__name__ if isinstance(model, type) else model
        if not isinstance(name, str) or _FIELD.fullmatch(name) is None:
            raise MigrationError(f"{self.name}: {model!r} is no model; give the class, or its name as text")
        return name

    def _layout(self, given: object) -> int | tuple[Any, ...]:
        if isinstance(given, Iterable) and not isinstance(given, str | bytes):
            return tuple(given)
        if type(given) is not int or not 1 <= given <= MAX_SHARDS:
            raise MigrationError(
                f"{self.name}: {given!r} is no layout; give 1 to {MAX_SHARDS} shards, or a list of bounds"
            )
        return given

    def _field(self, name: object) -> str:
        if not isinstance(name, str) or _FIELD.fullmatch(name) is None or name == "id":
            raise MigrationError(f"{self.name}: {name!r} is no name of a field")
        return name


def migration(name: str, version: str) -> Migration:
    """Begin a migration.

    Args:
        name: unique among the migrations of an application: 1 to 100 letters, digits, `_`, `.` and `-`.
        version: `major.minor.patch`, the one that its models declare afterwards.

    Raises:
        MigrationError: one of them cannot be used.
    """
    _check_name(name)
    try:
        number = version_number(f"migration {name!r}", version)
    except ModelError as error:
        raise MigrationError(str(error)) from error
    return Migration(name, number)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise MigrationError(
            f"{name!r} is no name of a migration: 1 to 100 letters, digits, `_`, `.` and `-`, a letter or digit first"
        )


def _pure(function: Any, what: str) -> Any:
    if function is not None and not callable(function):
        raise MigrationError(f"{what}={function!r} is no function")
    return function


def _needed(function: Any, what: str) -> Any:
    if function is None:
        raise MigrationError(f"{what} is missing: give a function")
    return _pure(function, what)


def _created_at(row: dict[str, Any]) -> Any:
    return row["_created_at"]


def _updated_at(row: dict[str, Any]) -> Any:
    return row["_updated_at"]
