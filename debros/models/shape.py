"""What the records of one model run on: made once from the schema, read on every hot path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from debros.current import choosing, context, current_node
from debros.errors import FieldError, ImmutableError, ValidationError, did_you_mean
from debros.models.fields import MISSING, Field
from debros.models.ids import flaw_of, new_id
from debros.models.names import RESERVED_NAMES
from debros.replica.tables import Row

if TYPE_CHECKING:
    from debros.models.options import Options
    from debros.models.ports import Collection
    from debros.models.relating import BoundRelation
    from debros.models.validation import Validator
    from debros.replica.transaction import Transaction
    from debros.values import TypeInfo

EXTRA: Final = "_extra"  # the field that holds undeclared values of a model with extra="keep"

_new = object.__new__


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


def _getter(keys: Sequence[Any]) -> Callable[[Any], Sequence[Any]]:
    """Return a function that takes these values out of a dict or row; `itemgetter` of one would not give a tuple."""
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda values: [values[key] for key in keys]


class Shape:
    """Names, conversions, defaults and checks of one model."""

    def __init__(
        self,
        cls: Any,
        options: Options,
        types: Mapping[str, TypeInfo],
        computed: Mapping[str, TypeInfo],
        declarations: Mapping[str, Field[Any]],
        relations: Mapping[str, BoundRelation],
        validator: Validator,
        rechecker: Validator,
    ) -> None:
        schema = cls.__schema__
        self.cls = cls
        self.types = types
        self.computed = computed
        self.relations = relations
        self.names: tuple[str, ...] = ("id", *(spec.name for spec in schema.fields))
        self.fields = schema.fields
        self.validator = validator
        self.rechecker = rechecker
        self.keeps_extra = options.keeps_extra
        self.is_counted = options.pinning is not None  # reads count for what its content is worth
        self.append_only = schema.store in ("events", "feed")
        self.undeletable = schema.store in ("events", "counter")
        self.whole = schema.store == "keyvalue"  # a save writes every field
        self.decoders: list[tuple[str, Callable[[Any], Any]]] = [
            (spec.name, spec.codec.from_column) for spec in schema.fields if spec.codec.from_column is not None
        ]
        self.late: dict[str, tuple[int, Callable[[Any], Any]]] = {  # decoded when first looked at: position, how
            spec.name: (at, spec.codec.from_column)
            for at, spec in enumerate(schema.fields, 1)
            if spec.codec.from_column is not None and spec.name != EXTRA
        }
        self.plain = {name: at for at, name in enumerate(self.names) if name not in self.late}  # as they stand in a row
        self._plain = tuple(self.plain.items())
        self.field_values = _getter([spec.name for spec in schema.fields])
        self.to_wires = [(at, s.codec.to_wire) for at, s in enumerate(schema.fields) if s.codec.to_wire is not None]
        registers = [at for at, spec in enumerate(schema.fields) if spec.merge == "lww"]
        self.register_wires = [schema.fields[at].wire for at in registers]
        self.registers_of = _getter(registers)
        self.merging = [(at, spec.wire, spec.merge) for at, spec in enumerate(schema.fields) if spec.merge != "lww"]
        self.mutable = [spec for spec in schema.fields if spec.codec.mutable]
        self.derived = next((spec.name for spec in schema.fields if spec.unique == "derived"), None)
        self.has_suffix = schema.write != "anyone"
        self.plain_ids = not self.has_suffix and self.derived is None
        self.defaults: dict[str, Any] = {}
        self.factories: list[tuple[str, Callable[[], Any]]] = []
        for name, declaration in declarations.items():
            if declaration.default is not MISSING:
                self.defaults[name] = declaration.default
            elif declaration.default_factory is not None:
                self.factories.append((name, declaration.default_factory))
            elif schema.by_name[name].merge == "counter":
                self.defaults[name] = 0
        if self.keeps_extra:
            self._decode_extra = next(decode for name, decode in self.decoders if name == EXTRA)
            self.factories.append((EXTRA, dict))
        self.forgets: dict[str, list[str]] = {}  # field -> relations that follow it
        for name, relation in relations.items():
            key = relation.spec.ids if relation.spec.kind == "many_to_many" else relation.spec.key
            if relation.spec.kind == "belongs_to" or relation.spec.ids:
                self.forgets.setdefault(key, []).append(name)

    def construct(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the `__dict__` of a new record: checked values, `id` among them, of what the constructor was given.

        Raises:
            ValidationError: listing everything that is wrong.
        """
        given = values.pop("id", MISSING)
        complete = {**self.defaults, **values}
        for name, factory in self.factories:
            if name not in values:
                complete[name] = factory()
        flaw = None
        if given is MISSING and self.plain_ids:
            id, fresh = new_id(), True
        else:
            id, flaw = self._identify(given, values)
            fresh = given is MISSING and self.derived is None
        if flaw is not None:
            self._check_each(id, flaw, complete)  # which raises, and tells of the rest too
        try:
            own = self.validator.check_all(complete)
        except ValidationError:
            own = self._check_each(id, flaw, complete)
        own["id"] = id
        if fresh:
            own["_fresh"] = True
        return own

    def name_new(self, own: dict[str, Any]) -> None:
        """Give a record with checked values a new id."""
        own["id"], _ = self._identify(MISSING, own)
        if self.derived is None:
            own["_fresh"] = True

    def _identify(self, given: Any, values: Mapping[str, Any]) -> tuple[Any, str | None]:
        """Return the id of a new record, and what is wrong with it."""
        suffix = current_node().collection(self.cls.__schema__).owner_suffix() if self.has_suffix else ""
        if self.derived is not None:
            value = values.get(self.derived)
            if given is not MISSING and given != value:
                return given, f"the id is the value of {self.derived!r}; leave it out"
            return (value, flaw_of(value, "")) if isinstance(value, str) else (value, None)
        if given is MISSING:
            return new_id() + suffix, None
        return given, flaw_of(given, suffix)

    def _check_each(self, id: Any, flaw: str | None, complete: dict[str, Any]) -> dict[str, Any]:
        """Check values of which some are undeclared, missing or wrong: keep what may be kept, list all that is not."""
        errors = [] if flaw is None else [FieldError("id", id, "id", flaw)]
        for name in [name for name in complete if name not in self.types]:
            value = complete.pop(name)
            if self.keeps_extra and self.may_be_extra(name):
                complete[EXTRA] = {**complete[EXTRA], name: value}
            else:
                errors.append(self.unknown(name, value))
        checked: dict[str, Any] = {}
        for name in self.types:  # one by one, so that one wrong value does not hide another
            if name not in complete:
                errors.append(FieldError(name, None, "missing", "a value is required"))
                continue
            try:
                checked[name] = self.validator.check_one(name, complete[name])
            except ValidationError as error:
                errors += error.errors
        if errors:
            raise ValidationError(self.cls.__name__, tuple(errors))
        return checked

    def may_be_extra(self, name: str) -> bool:
        """Whether `extra="keep"` takes a value of this name: nothing else of the class has it."""
        taken = name.startswith("_") or name in RESERVED_NAMES or hasattr(self.cls, name)
        return name.isidentifier() and not taken

    def unknown(self, name: str, value: object) -> FieldError:
        """Say why a record takes no such argument."""
        if name in self.relations:
            spec = self.relations[name].spec
            cure = (
                f"give {spec.key}= instead" if spec.kind == "belongs_to" else "relate the records once they are saved"
            )
            return FieldError(name, value, "relation", f"is a relation, not a field; {cure}")
        if name in self.computed:
            return FieldError(name, value, "computed", "is computed from the other fields and cannot be given")
        known = [known for known in (*self.names, *self.relations) if known != EXTRA]
        return FieldError(name, value, "extra_forbidden", f"no such field{did_you_mean(name, known)}")

    def hydrate(self, rows: Sequence[Row], home: Collection) -> list[Any]:
        """Make a record of each row. They are trusted: the view holds only values of the declared types.

        A record takes its values from its row when one of them is first looked at (`Field.__get__`).
        """
        cls = self.cls
        made = []
        for row in rows:
            record = _new(cls)
            own = record.__dict__
            own["_row"] = row
            own["_home"] = home
            made.append(record)
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
        """Give a record that was read the values that stand in its row as they are; what was assigned since stays."""
        row = own["_row"]
        since = dict(own) if len(own) > 2 else None
        for name, at in self._plain:
            own[name] = row[at]
        if since is not None:
            own.update(since)

    def look(self, own: dict[str, Any], name: str) -> Any:
        """Return a value of a record that was read, at the first look at it: plain ones come together, others one by one."""
        if "id" not in own:
            self._fill(own)
        return self._decode(own, name) if name in self.late else own[name]

    def _follow(self, transaction: Transaction, records: Sequence[Any], home: Collection) -> None:
        """Let records that show provisional rows take the final ones when their transaction ends, either way."""
        changed = transaction.rows.get(self.cls.__schema__.name, {})
        log_at, e_at = home.table.log_at, home.table.e_at
        for record in records:
            provisional = changed.get((record._row[log_at], record.id))
            if provisional is not None and provisional[e_at] == record._row[e_at]:
                settle = partial(_settle, record, home, transaction)
                transaction.settled.append(settle)
                transaction.on_rollback.append(settle)

    def _decode(self, own: dict[str, Any], name: str) -> Any:
        at, decode = self.late[name]
        value = own["_row"][at]
        if value is not None:
            try:
                value = decode(value)
            except Exception as error:  # what the view holds can be decoded, unless it has rotted
                raise own["_home"].damage(error) from error
        own[name] = value
        return value

    def decoded(self, record: Any) -> dict[str, Any]:
        """Return a record's `__dict__` with all its values in it."""
        own: dict[str, Any] = record.__dict__
        if record._row is not None:
            if "id" not in own:
                self._fill(own)
            for name in self.late:
                if name not in own:
                    self._decode(own, name)
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

    def check_whole(self, own: dict[str, Any]) -> None:
        """Check a record's present values, as a hook or an edit in place may have left them.

        Raises:
            ValidationError: listing everything that is wrong.
        """
        checked = self.rechecker.check_all({name: own[name] for name in self.types})
        for name, value in checked.items():
            if value != own[name] or type(value) is not type(own[name]):  # only pydantic's coercion changes a value
                own[name] = value

    def check_changed(self, own: dict[str, Any], changed: Sequence[str]) -> None:
        """Check the whole record, but let stand what was so when it was loaded.

        A merge may bring a counter, or a peer any value, beyond its bounds; that is flagged, and must not keep others from saving other fields.

        Raises:
            ValidationError: listing everything that is wrong in changed fields.
        """
        try:
            self.check_whole(own)
        except ValidationError:
            self._check_some(own, changed)

    def check_mutable(self, own: dict[str, Any]) -> None:
        """Check the values that may have changed in place since they were assigned.

        Raises:
            ValidationError: listing everything that is wrong.
        """
        if self.mutable:
            self._check_some(own, [spec.name for spec in self.mutable])

    def _check_some(self, own: dict[str, Any], names: Sequence[str]) -> None:
        errors: list[FieldError] = []
        for name in names:
            try:
                checked = self.rechecker.check_one(name, own[name])
            except ValidationError as error:
                errors += error.errors
                continue
            if checked != own[name]:  # only pydantic's coercion changes a value
                own[name] = checked
        if errors:
            raise ValidationError(self.cls.__name__, tuple(errors))

    def refuse_change(self, what: str) -> None:
        """Raise `ImmutableError`."""
        schema = self.cls.__schema__
        raise ImmutableError(f"{self.cls.__name__} is a {schema.store!r} store: its records cannot be {what}")
