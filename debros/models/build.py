"""From the declarations of a class to its `Schema` and the machinery its records run on.

Everything that can be wrong about one model alone is found here, when the class is made; each error names the
model, the field and the cure. What needs other models waits for `linking`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast

from debros.errors import ModelError, did_you_mean
from debros.models.body import Declared
from debros.models.computing import computed_spec
from debros.models.fields import Computed, Field
from debros.models.hydration import EXTRA
from debros.models.relating import relation_of
from debros.models.relations import RelationDeclaration
from debros.models.shape import Shape
from debros.models.sharding import shard_spec
from debros.models.specs import field_spec
from debros.models.subject import ModelSubject
from debros.models.validation import Validator
from debros.schema import FieldSpec, IndexSpec, Schema
from debros.values import TypeInfo, describe

if TYPE_CHECKING:
    from debros.models.options import Index, Options
    from debros.models.sharding import Sharding, Strategy

MOST_FIELDS: Final = 900  # a table of SQLite has 2,000 columns, and a field up to two


def build(
    cls: Any, options: Options, wires: Mapping[str, str] = MappingProxyType({}), sharding: Sharding | Strategy | None = None
) -> None:  # fmt: skip
    """Give a model class its schema, shape and subject.

    Args:
        cls: the class.
        options: what `@model(...)` was given.
        wires: stored names of fields that migrations renamed.
        sharding: the strategy with the first layout, where migrations changed the one that is declared.

    Raises:
        ModelError: the declaration is wrong.
    """
    declared: dict[str, Declared] = cls.__declared__
    fields = {name: d for name, d in declared.items() if isinstance(d.declaration, Field)}
    declarations = {name: cast(Field[Any], d.declaration) for name, d in fields.items()}
    types = {name: _type_of(cls, name, d, **declarations[name].bounds) for name, d in fields.items()}
    if options.keeps_extra:
        types[EXTRA] = describe(dict[str, Any])
    validator, rechecker = _validators(cls, declarations, types, options)
    specs = [
        field_spec(cls.__name__, name, declaration, types[name], options, validator)
        for name, declaration in declarations.items()
    ]
    if options.keeps_extra:
        specs.append(FieldSpec(EXTRA, EXTRA, types[EXTRA].codec, expose=False, has_default=True, default={}))
    specs = [replace(spec, wire=wires[spec.name]) if spec.name in wires else spec for spec in specs]
    _check_differ(cls, [(spec.name, spec.wire) for spec in specs])
    _check_derived(cls, specs, options)
    computed_types = {
        name: _type_of(cls, name, d) for name, d in declared.items() if isinstance(d.declaration, Computed)
    }
    computed = [
        computed_spec(cls, cast("Computed[Any]", declared[name].declaration), info, specs)
        for name, info in computed_types.items()
    ]
    if len(specs) + len(computed) > MOST_FIELDS:
        raise ModelError(
            f"{cls.__name__} has {len(specs) + len(computed):,} fields, and {MOST_FIELDS} are allowed; nested values hold more: a "
            "dataclass, or `dict[str, T]`"
        )
    _check_differ(cls, [(spec.name, spec.name) for spec in computed])
    known = {spec.name: spec for spec in specs}
    relations = {
        name: relation_of(cls, name, d, known, declared)
        for name, d in declared.items()
        if isinstance(d.declaration, RelationDeclaration)
    }
    sharding = sharding or options.sharding
    schema = Schema(
        name=options.name,
        version=options.version,
        scope=options.scope,
        store=options.store,
        write=options.write,
        fields=tuple(specs),
        computed=tuple(computed),
        indexes=_indexes(cls, specs, [spec.name for spec in computed if spec.index], options),
        relations=tuple(relation.spec for relation in relations.values()),
        sharding=None if sharding is None else shard_spec(cls.__name__, sharding, options.scope, specs),
        pinning=options.pinning,
        pubsub=() if options.pubsub is None else options.pubsub.operations,
    )
    cls.__options__ = options
    cls.__schema__ = schema
    cls.__shape__ = Shape(cls, options, types, computed_types, declarations, relations, validator, rechecker)
    cls.__subject__ = ModelSubject(cls)


def _type_of(cls: Any, name: str, declared: Declared, **bounds: Any) -> TypeInfo:
    try:
        return describe(declared.type, **bounds)
    except ModelError as error:
        raise ModelError(f"{cls.__name__}.{name}: {error}") from error


def _validators(
    cls: Any, fields: dict[str, Field[Any]], types: dict[str, TypeInfo], options: Options
) -> tuple[Validator, Validator]:
    """Return the validator of given values, and that of a whole record (which was converted before)."""
    converts = {name: f.convert for name, f in fields.items() if f.convert is not None}
    validates = {name: f.validate for name, f in fields.items() if f.validate is not None}
    validator = Validator(cls.__name__, types, strict=options.strict, convert=converts, validate=validates)
    rechecker = validator
    if converts:
        rechecker = Validator(cls.__name__, types, strict=options.strict, convert={}, validate=validates)
    return validator, rechecker


def _check_differ(cls: Any, names: list[tuple[str, str]]) -> None:
    """Refuse attributes or stored names that are equal but for case: the view's columns do not tell them apart."""
    for what, position in (("named", 0), ("stored as", 1)):
        seen: dict[str, str] = {}
        for pair in names:
            other = seen.setdefault(pair[position].lower(), pair[0])
            if other != pair[0]:
                raise ModelError(
                    f"{cls.__name__}.{pair[0]} and {cls.__name__}.{other} are {what} alike (case does not count);"
                    " rename one, or give it another `field(name=...)`"
                )


def _check_derived(cls: Any, specs: list[FieldSpec], options: Options) -> None:
    derived = [spec for spec in specs if spec.unique == "derived"]
    if not derived:
        return
    where = f"{cls.__name__}.{derived[0].name}"
    if len(derived) > 1:
        raise ModelError(f"{where} and {derived[1].name}: one field at most is unique='derived', for it is the id")
    if derived[0].codec.kind != "text" or derived[0].nullable:
        raise ModelError(f"{where}: unique='derived' is for `Field[str]`, for the value is the id")
    if options.write != "anyone":
        raise ModelError(
            f"{where}: unique='derived' does not go with write={options.write!r}, whose ids name the writer"
        )


def _check_path(cls: Any, index: Index, name: str, spec: FieldSpec) -> None:
    """Refuse an index on a path that is none, or that cannot be unique."""
    if spec.codec.kind not in ("map", "record", "list", "tuple", "any") or "" in name.split(".") or len(name) > 200:
        raise ModelError(
            f"{cls.__name__}: {index!r}: {spec.name!r} is {spec.codec.name}, so {name!r} is no path into it"
        )
    if index.unique:
        raise ModelError(f"{cls.__name__}: {index!r} is unique, and {name!r} is nested; index only fields")


def _indexes(cls: Any, specs: list[FieldSpec], computed: list[str], options: Options) -> tuple[IndexSpec, ...]:
    found = [
        IndexSpec(((spec.name, False),), unique=spec.unique is True) for spec in specs if spec.index or spec.unique
    ]
    found += [IndexSpec(((name, False),)) for name in computed]
    stored = {spec.name for spec in specs if spec.name != EXTRA}
    for index in options.indexes:
        for name in (written.removeprefix("-") for written in index.fields):
            head, _, path = name.partition(".")
            if path and head in stored:
                _check_path(cls, index, name, next(spec for spec in specs if spec.name == head))
                continue
            if name not in stored and name not in computed:
                hint = did_you_mean(name, {*stored, *computed})
                raise ModelError(
                    f"{cls.__name__}: {index!r} names {name!r}, which is no field and no @computed(index=True){hint}"
                )
            if index.unique and name not in stored:
                raise ModelError(f"{cls.__name__}: {index!r} is unique, and {name!r} is not stored; index only fields")
        fields = tuple((written.removeprefix("-"), written.startswith("-")) for written in index.fields)
        if (spec := IndexSpec(fields, index.unique)) not in found:
            found.append(spec)
    return tuple(found)
