"""What the records of one model run on: made once from the schema, read on every hot path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from debros.current import current_node
from debros.errors import FieldError, ImmutableError, ValidationError, did_you_mean
from debros.models.fields import MISSING, Field
from debros.models.hydration import EXTRA, Hydration
from debros.models.ids import flaw_of, new_id
from debros.models.names import RESERVED_NAMES
from debros.replica.packing import new_document

if TYPE_CHECKING:
    from debros.models.options import Options
    from debros.models.relating import BoundRelation
    from debros.models.validation import Validator
    from debros.values import TypeInfo


class Shape(Hydration):
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
        super().__init__(cls, schema, keeps_extra=options.keeps_extra, is_counted=options.pinning is not None)
        self.types = types
        self.computed = computed
        self.relations = relations
        self.validator = validator
        self.rechecker = rechecker
        self.append_only = schema.store in ("events", "feed")
        self.undeletable = schema.store in ("events", "counter")
        self.whole = schema.store == "keyvalue"  # a save writes every field
        self.new_document = new_document(schema.fields)
        self.places = [(at, spec.name, spec) for at, spec in enumerate(schema.fields, 1)]  # in a row
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
            self.factories.append((EXTRA, dict))
        self.forgets: dict[str, list[str]] = {}  # field -> relations that follow it
        for name, relation in relations.items():
            key = relation.spec.ids if relation.spec.kind == "many_to_many" else relation.spec.key
            if relation.spec.kind == "belongs_to" or relation.spec.ids:
                self.forgets.setdefault(key, []).append(name)

    def construct(self, values: Mapping[str, Any], ids: Iterator[str] | None = None) -> dict[str, Any]:
        """Return the `__dict__` of a new record: checked values, `id` among them, of what the constructor was given.

        `ids` are new ones, drawn for many records at once.

        Raises:
            ValidationError: listing everything that is wrong.
        """
        complete = {**self.defaults, **values}
        given = complete.pop("id", MISSING)
        for name, factory in self.factories:
            if name not in complete:
                complete[name] = factory()
        flaw = None
        if given is MISSING and self.plain_ids:
            id, fresh = new_id() if ids is None else next(ids), True
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
            if type(name) is not str:
                errors.append(FieldError(str(name), value, "extra_forbidden", "names of fields are text"))
            elif self.keeps_extra and self.may_be_extra(name):
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

    def check_whole(self, own: dict[str, Any]) -> None:
        """Check a record's present values, as a hook or an edit in place may have left them.

        Raises:
            ValidationError: listing everything that is wrong.
        """
        checked = self.rechecker.check_all({name: own[name] for name in self.types})
        for name, value in checked.items():
            _replace(own, name, value)

    def check_mutable(self, own: dict[str, Any]) -> None:
        """Check the values that may have changed in place since they were assigned.

        Raises:
            ValidationError: listing everything that is wrong.
        """
        if self.mutable:
            self.check_some(own, [spec.name for spec in self.mutable])

    def check_some(self, own: dict[str, Any], names: Iterable[str]) -> None:
        """Check present values of some fields.

        Those that did not change since the record was loaded stand: a merge may have brought a counter, or a peer any value,
        beyond its bounds; that is flagged, and must not keep others from saving other fields.

        Raises:
            ValidationError: listing everything that is wrong.
        """
        errors: list[FieldError] = []
        for name in names:
            try:
                checked = self.rechecker.check_one(name, own[name])
            except ValidationError as error:
                errors += error.errors
                continue
            _replace(own, name, checked)
        if errors:
            raise ValidationError(self.cls.__name__, tuple(errors))

    def refuse_change(self, what: str) -> None:
        """Raise `ImmutableError`."""
        schema = self.cls.__schema__
        raise ImmutableError(f"{self.cls.__name__} is a {schema.store!r} store: its records cannot be {what}")


def _replace(own: dict[str, Any], name: str, checked: Any) -> None:
    """Take a checked value where it is another one, which only pydantic's coercion makes it; else the object stays."""
    now = own[name]
    if checked is not now and (checked != now or type(checked) is not type(now)):
        own[name] = checked
