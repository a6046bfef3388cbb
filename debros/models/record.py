"""`Model`: what users subclass. A record is a private copy of what the log shows, with the calls to change it.

A record's values lie in its `__dict__` under their attributes; names that begin with `_` are ours: `_row` the row
it was loaded from, `_home` the collection that row belongs to, `_loaded` what relations loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Never, NoReturn, Self, cast, overload

from debros.current import node_here
from debros.errors import (
    ArgumentError,
    FieldError,
    ModelError,
    NotFoundError,
    QueryError,
    UniqueError,
    UnknownFieldError,
    ValidationError,
)
from debros.models import forms, saving, versions
from debros.models.declare import ModelMeta
from debros.models.fields import Field, field
from debros.models.finding import must_be_here
from debros.models.habits import check_record, instead_of
from debros.models.hydration import EXTRA
from debros.models.ids import refuse_no_text
from debros.models.meta import MetaOf
from debros.models.tracking import changed_fields, changes_of
from debros.replica.misread import is_left_out
from debros.replica.tables import DELETED, TARGET_GONE, Row

if TYPE_CHECKING:
    from debros.models.ports import Collection
    from debros.models.versions import Version
    from debros.query.expressions import Expr
    from debros.query.query import Op, Query
    from debros.query.rows import Rows
    from debros.sync.receipts import Receipt

_set = object.__setattr__


class Model(metaclass=ModelMeta):
    """Base of all models; see `debros.model` for the decorator that makes a subclass a model of its own.

    `Post(...)` makes an unsaved record from keyword arguments, one for each field without a default; it raises
    `ValidationError`, listing everything that is wrong.
    """

    _row = cast("Row | None", None)  # no annotations: they would be constructor arguments to type checkers
    _home = cast("Collection | None", None)

    if not TYPE_CHECKING:  # checkers derive the constructor and the assignments from the fields

        def __init__(self, *given, **values):
            shape = type(self).__shape__
            if given:
                name = type(self).__name__
                raise ArgumentError(
                    f"values are given by name: `{name}(field=value)`, those of a dict by `{name}.from_dict(values)`"
                )
            if shape is None:
                raise ModelError(
                    f"{type(self).__name__} is abstract: put `@model(...)` above the class to make records"
                )
            if self.__dict__:
                raise ModelError(
                    f"{type(self).__name__}.__init__ assigned {', '.join(self.__dict__)} before `super().__init__(...)`, which makes "
                    "the record; assign behind it"
                )
            _set(self, "__dict__", shape.construct(values))

        def __setattr__(self, name, value):
            shape = type(self).__shape__
            own = self.__dict__
            if name in shape.types:
                if name == shape.derived and getattr(self, name) != value:
                    raise ValidationError(
                        type(self).__name__, (FieldError(name, value, "derived", "is the id and never changes"),)
                    )
                own[name] = shape.validator.check_one(name, value)
                if name in shape.forgets:
                    for relation in shape.forgets[name]:
                        own.get("_loaded", {}).pop(relation, None)
            elif name.startswith("_"):
                own[name] = value
            elif shape.keeps_extra and shape.may_be_extra(name):
                own[EXTRA] = {**own[EXTRA], name: value}
            else:
                flaw = (
                    FieldError(name, value, "id", "an id never changes; copy the record to give it another")
                    if name == "id"
                    else shape.unknown(name, value)
                )
                raise ValidationError(type(self).__name__, (flaw,))

        def __delattr__(self, name):
            if not name.startswith("_"):
                raise AttributeError(f"{type(self).__name__}.{name} cannot be deleted; set it to None if it may be")
            super().__delattr__(name)

        def __getattr__(self, name):
            extra = self.__dict__.get(EXTRA)
            if extra is not None and name in extra:
                return extra[name]
            if name.startswith("_"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            raise AttributeError(f"a {type(self).__name__} has no {name!r}{instead_of(type(self), name)}")

    id: Field[str] = field(default="")
    meta = MetaOf()

    def __eq__(self, other: object) -> bool:
        """By model and id, and in user scope by owner."""
        if not isinstance(other, Model):
            return NotImplemented
        mine, its = type(self).__schema__, type(other).__schema__
        if mine.name != its.name or mine.scope != its.scope or self.id != other.id:
            return False
        return mine.scope == "global" or saving.owner_of(self) == saving.owner_of(other)

    def __hash__(self) -> int:
        return hash((type(self).__schema__.name, self.id))

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Raise `ArgumentError`: what a record holds is its node's, which is not copied or pickled."""
        raise ArgumentError(
            f"a record is not pickled or deep-copied, for it is one node's: `record.copy()` is a new one with the same values, "
            f"`await {type(self).__name__}.get(id)` another object of the same; `to_dict()` and `from_dict()` go anywhere"
        )

    def __repr__(self) -> str:
        shape = type(self).__shape__
        values = shape.decoded(self)
        shown = ", ".join(f"{name}={values.get(name)!r}" for name in shape.names if name != EXTRA)
        return f"{type(self).__name__}({shown})"

    # ------------------------------------------------------------------------------------------------ queries

    @classmethod
    def query(cls) -> Query[Self]:
        """Return a query for all records."""
        subject = cls.__subject__
        if subject is None:
            raise ModelError(f"{cls.__name__} is abstract: put `@model(...)` above the class to query it")
        return subject.every

    @overload
    @classmethod
    def where(cls, expr: Expr, /, *more: Expr) -> Query[Self]: ...
    @overload
    @classmethod
    def where(cls, field: str, value: object, /) -> Query[Self]: ...
    @overload
    @classmethod
    def where(cls, field: str, op: Op, value: object, /) -> Query[Self]: ...
    @classmethod
    def where(cls, *args: Any, **named: Any) -> Query[Self]:
        """Return a query for the records that meet the conditions.

        Raises:
            QueryError: a condition is wrong.
        """
        subject = cls.__subject__
        if subject is not None and not named:
            return subject.every.where(*args)
        if named:
            name = next(iter(named))
            raise QueryError(
                f"conditions are written out: `{cls.__name__}.where({cls.__name__}.{name} == ...)`, or by name `where({name!r}, ...)`"
            )
        return cls.query().where(*args)

    @classmethod
    def as_of(cls, at: int | datetime, /) -> Query[Self]:
        """Return a query for the records as they were: by what this node holds of the log up to then. Reads only.

        The first one for a time folds the log up to it; the last few are remembered.

        Args:
            at: a clock (`record.meta.clock`), or a time with a zone.

        Raises:
            QueryError: it is neither.
        """
        from debros.log.clock import at_time
        from debros.query.query import Query

        cls.query()  # which says if the class is abstract
        return Query(cls.__subject__.at(at_time(at)))

    @classmethod
    async def all(cls) -> Rows[Self]:
        """Return every record, by id."""
        return await cls.query().all()

    @classmethod
    async def count(cls) -> int:
        """Return how many records there are."""
        return await cls.query().count()

    @classmethod
    async def find_one(cls, *conditions: Expr, **named: Never) -> Self | None:
        """Return the first record, by id, that meets the conditions; `None` if there is none.

        Raises:
            QueryError: a condition is wrong.
        """
        return await (cls.where(*conditions, **named) if conditions or named else cls.query()).first()

    # ------------------------------------------------------------------------------------------------ by id

    @classmethod
    async def get(cls, id: str, /, *, deleted: bool = False) -> Self:
        """Return the record with this id.

        Args:
            id: the record's id.
            deleted: whether a deleted record is returned too.

        Raises:
            NotFoundError: there is none, or it is deleted.
            PartialResultError: it is not here, and may be in a shard that is not held.
            ValidationError: this is no text.
        """
        home = node_here().collection(cls.__schema__)
        try:
            row = home.row(id)
        except TypeError:  # it cannot be looked up
            refuse_no_text(cls.__name__, id)
            raise
        if row is None or (row[home.table.hidden_at] and not (deleted and _is_deleted(home, row))):
            refuse_no_text(cls.__name__, id)
            if row is None:
                must_be_here(home, (id,))
            raise NotFoundError(
                cls.__name__, (id,), left_out=row is not None and is_left_out(row[home.table.hidden_at])
            )
        record: Self = cls.__shape__.hydrate_one(row, home)
        return record

    @classmethod
    async def get_or_none(cls, id: str, /) -> Self | None:
        """Return the record with this id, or `None`.

        Raises:
            PartialResultError: it is not here, and may be in a shard that is not held.
            ValidationError: this is no text.
        """
        home = node_here().collection(cls.__schema__)
        try:
            row = home.row(id)
        except TypeError:  # it cannot be looked up
            refuse_no_text(cls.__name__, id)
            raise
        if row is None or row[home.table.hidden_at]:
            refuse_no_text(cls.__name__, id)
            if row is None:
                must_be_here(home, (id,))
            return None
        record: Self = cls.__shape__.hydrate_one(row, home)
        return record

    @classmethod
    async def get_many(cls, ids: Iterable[str], /, *, missing_ok: bool = False) -> list[Self]:
        """Return the records with these ids, in the order asked.

        Args:
            ids: the records' ids.
            missing_ok: whether those that are not there are left out instead.

        Raises:
            NotFoundError: naming all that are missing.
            PartialResultError: some are not here, and may be in shards that are not held.
            ValidationError: one of them is no text.
        """
        if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
            raise ArgumentError(f"get_many takes a list of ids, not {ids!r:.80}; `get(id)` gives one record")
        wanted = list(ids)
        try:
            different = list(dict.fromkeys(wanted))
        except TypeError:  # one cannot be looked up
            refuse_no_text(cls.__name__, *wanted)
            raise
        home = node_here().collection(cls.__schema__)
        hidden_at = home.table.hidden_at
        rows = [row for row in home.rows(different) if row is not None and not row[hidden_at]]
        found: dict[str, Self] = {record.id: record for record in cls.__shape__.hydrate(rows, home)}
        missing = tuple(id for id in different if id not in found)
        refuse_no_text(cls.__name__, *missing)
        must_be_here(home, missing)
        if missing and not missing_ok:
            raise NotFoundError(cls.__name__, missing)
        return [found[id] for id in wanted if id in found]

    # ------------------------------------------------------------------------------------------------ creating

    @classmethod
    async def create_many(cls, records: Iterable[Self | Mapping[str, Any]], /) -> list[Self]:
        """Save many new records, given as records or as dicts of constructor arguments; return them in order.

        All are validated, and checked for uniqueness, before the first is written. They go into as few entries
        as the size limits allow: one, inside a transaction.

        Raises:
            ValidationError: `errors` name the position too: `"3.title"`.
            UniqueError: a value or an id is taken, and nothing is written.
        """
        return await saving.create_many(cls, records, plainly=is_plain(cls))

    @classmethod
    async def upsert(cls, id: str, /, **values: Any) -> Self:
        """Create the record with this id, or change these fields of it.

        Raises:
            ValidationError, UniqueError, PermissionDeniedError: as `create` and `save`.
            PartialResultError: it is not here, and may be in a shard that is not held.
        """
        present = await cls.get_or_none(id)
        if present is None:
            try:
                made: Self = await saving.create(cls(id=id, **values), unseen=is_plain(cls))
            except UniqueError as error:  # another task created it meanwhile
                if error.fields != ("id",):
                    raise
                present = await cls.get(id)
            else:
                return made
        return await present.update(**values)

    @classmethod
    async def get_or_create(cls, defaults: Mapping[str, Any] | None = None, /, **by: Any) -> tuple[Self, bool]:
        """Return the record whose fields have these values, and whether it had to be created.

        Args:
            defaults: further constructor arguments if it is created.
            **by: fields and their values.

        Raises:
            MultipleFoundError: several records have these values.
            ArgumentError: `defaults` is given by name, or nothing to look for.
        """
        if "defaults" in by and "defaults" not in cls.__schema__.by_name:
            raise ArgumentError(
                "get_or_create takes the defaults first, by place: `get_or_create({'n': 3}, name='ana')`"
            )
        if not by:
            raise ArgumentError(
                f"get_or_create looks for fields that are given by name: `{cls.__name__}.get_or_create({{defaults}}, name='ana')`"
            )
        query = cls.query().where(*[cls.__subject__.column(name) == value for name, value in by.items()])
        if (found := await query.one_or_none()) is not None:
            return found, False
        try:
            made: Self = await saving.create(cls(**{**by, **(defaults or {})}), unseen=is_plain(cls))
        except UniqueError:  # another task created it meanwhile
            if (found := await query.one_or_none()) is None:
                raise
            return found, False
        return made, True

    @classmethod
    async def increment(cls, id: str, /, **by: int) -> None:
        """Add to counters without reading them; no hooks run.

        An unknown id becomes a record, if the model's other fields have plain defaults.

        Raises:
            ValidationError: a name is no counter, or an amount no whole number; or there is none.
            NotFoundError: the record is deleted, or unknown and cannot be made of defaults.
        """
        await saving.increment(cls, id, by)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], /) -> Self:
        """Return an unsaved record from Python or JSON forms: ISO times, decimals as text, bytes in base64.

        Computed fields in `data` are passed over, so what `to_dict` gave can be given back.

        Raises:
            ValidationError: listing everything that is wrong.
        """
        return cls(**forms.from_dict(cls, data))

    # ------------------------------------------------------------------------------------------------ writing

    async def save(self, *, if_unchanged: bool = False, skip_hooks: bool = False) -> Self:
        """Write the fields that changed since loading, all of them for a new record; return `self`.

        On return it is durable (inside a transaction: at its end), and the object holds the merged record.
        Nothing changed: nothing happens. If it fails, the object is as it was, its changes still unsaved.

        Args:
            if_unchanged: refuse if this node knows a newer version than was loaded.
            skip_hooks: run no hooks.

        Raises:
            ValidationError: a value is wrong, perhaps by a hook or an edit in place.
            UniqueError: another record has a unique value, or a new record's id.
            ConflictError: `if_unchanged`, and there is a newer version.
            NotFoundError: the record was deleted.
            ImmutableError: a record of an append-only store was changed.
            PermissionDeniedError: the acting identity may not write it.
        """
        self_: Self = await saving.save(self, if_unchanged, skip_hooks)
        return self_

    async def update(self, **values: Any) -> Self:
        """Assign all of these, or none if one is wrong, and save; return `self`.

        Raises:
            ValidationError: listing everything that is wrong.
            Exception: whatever `save` raises; then the values stay assigned and unsaved.
        """
        check_record(self, "update")
        saving.assign(self, values)
        return await self.save()

    async def delete(self, *, cascade: bool = False, skip_hooks: bool = False) -> None:
        """Delete the record; deleting it again is harmless.

        Args:
            cascade: delete what its `has_one` and `has_many` relations lead to as well, in one transaction.
            skip_hooks: run no hooks.

        Raises:
            NotFoundError: the record was never saved.
            ImmutableError: the store keeps its records: `events`, `counter`.
            RestrictedError: a record refers to it by an `on_delete="restrict"` relation.
            TooLargeError: `cascade` leads to more than 10,000 records.
        """
        from debros.models.deleting import delete

        check_record(self, "delete")
        await delete(self, cascade, skip_hooks)

    async def restore(self) -> Self:
        """Undo the deletion; the object then holds the present record. Return `self`.

        Raises:
            UniqueError: a unique value has since been taken.
            NotFoundError: the record was never saved.
        """
        from debros.models.deleting import restore

        await restore(self)
        return self

    async def refresh(self) -> Self:
        """Take the present values, drop unsaved changes and loaded relations; return `self`.

        Raises:
            NotFoundError: the record is not saved, or deleted.
        """
        from debros.models.deleting import refresh

        refresh(self)
        return self

    # ------------------------------------------------------------------------------------------------ looking

    @property
    def is_new(self) -> bool:
        """Whether the record was never saved."""
        return self._row is None

    @property
    def changes(self) -> dict[str, tuple[Any, Any]]:
        """`{name: (old, new)}` of what a save would write; in an after-hook, of what was written."""
        written: dict[str, tuple[Any, Any]] | None = self.__dict__.get("_written")
        return dict(written) if written is not None else changes_of(type(self).__shape__, vars(self), self._row)

    def is_changed(self, *names: str) -> bool:
        """Whether any of these fields (any at all, without names) has unsaved changes; a new record's all have.

        Raises:
            UnknownFieldError: the model has no such field.
        """
        shape = type(self).__shape__
        for name in names:
            if name not in shape.types:
                raise UnknownFieldError(type(self).__name__, name, shape.names)
        if self._row is None:
            return True
        changed = changed_fields(shape, vars(self), self._row)
        return bool(changed) if not names else any(spec.name in names for _, spec in changed)

    def validate(self) -> None:
        """Check the record as it stands.

        Raises:
            ValidationError: listing everything that is wrong.
        """
        shape = type(self).__shape__
        shape.check_whole(shape.decoded(self))

    def copy(self) -> Self:
        """Return an unsaved record with the same values, its own lists and sets, and a new id."""
        return forms.copy(self)

    def to_dict(self, *, mode: Literal["python", "json"] = "python", relations: bool = False) -> dict[str, Any]:
        """Return `id`, stored and computed fields as a dict; fields with `expose=False` are left out.

        Args:
            mode: `"python"` keeps the values' types, `"json"` gives what JSON can hold.
            relations: whether loaded relations are in it too.
        """
        return forms.to_dict(self, mode, relations)

    def to_json(self, *, relations: bool = False) -> str:
        """Return `to_dict(mode="json")` as JSON text."""
        return forms.to_json(self, relations)

    async def history(self) -> list[Version[Self]]:
        """Return every version of the record, oldest first.

        Raises:
            NotFoundError: the record is not saved.
        """
        return await versions.history(self)

    async def blame(self) -> dict[str, Version[Self]]:
        """Return, for each field, the version its present value comes from.

        Raises:
            NotFoundError: the record is not saved.
        """
        return await versions.blame(self)

    async def conflicts(self) -> dict[str, list[Version[Self]]]:
        """Return, for each field, the versions whose concurrent values lost (`merge="keep"`: all still held).

        Raises:
            NotFoundError: the record is not saved.
        """
        return await versions.conflicts(self)

    async def settled(self, replicas: int = 1, *, timeout_s: float | None = None) -> list[Receipt]:
        """Wait until so many peers hold the record's newest entry durably, and return their signed receipts.

        Raises:
            NotFoundError: the record is not saved.
            TransactionError: it was written in the transaction that this is in, so peers do not get it before its end.
            DeadlineError: not within `timeout_s`. The write is durable here all the same.
        """
        return await versions.settled(self, replicas, timeout_s)


def is_plain(cls: Any) -> bool:
    """Whether a model's records are made by nothing but the constructor of `Model`: then nobody has one before its maker."""
    return cls.__init__ is Model.__init__ and cls.__new__ is Model.__new__


def _is_deleted(home: Collection, row: Row) -> bool:
    """Whether a hidden row is only deleted, not unreadable, and was created once."""
    table = home.table
    return not row[table.hidden_at] & ~(DELETED | TARGET_GONE) and row[table.ct_at] is not None
