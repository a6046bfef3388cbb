"""How values travel: from a type annotation to the codec between Python, the log and the view.

`describe` is called once per field, when a model is defined. The wire forms are those of docs/format.md, Values.
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import annotated_types as at
from pydantic import BaseModel, StringConstraints
from pydantic.fields import FieldInfo
from pydantic_core import SchemaError, SchemaValidator, core_schema

from debros.errors import ModelError
from debros.schema import Bounds, Codec, Kind
from debros.values import composites, scalars
from debros.values.file import FILE, File

CONSTRAINTS: Final = ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern")
_COLLECTIONS: Final[dict[Any, Kind]] = {list: "list", set: "set"}


_STORED: Final = (
    "those of str, bool, int, float, Decimal, datetime, date, time, timedelta, UUID, bytes, Enum, Literal, File, of lists, sets, tuples "
    "and dict[str, ...] of them, of dataclasses and of pydantic models can"
)


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """What a field's annotation means."""

    codec: Codec
    nullable: bool  # `T | None`
    bounds: Bounds | None  # of wire values
    annotation: Any  # for pydantic, with all constraints in it


def describe(annotation: Any, **constraints: Any) -> TypeInfo:
    """Say how values of a type travel. `constraints` are `ge gt le lt min_length max_length pattern`.

    Raises:
        ModelError: values of this type cannot be stored, or a constraint does not fit them.
    """
    inner, nullable, metadata = _peel(annotation)
    codec, _ = _codec(inner, 1)
    found: dict[str, Any] = {}
    for item in metadata:
        found.update(_constraints_in(item))
    given = {name: value for name, value in constraints.items() if value is not None}
    if unknown := given.keys() - set(CONSTRAINTS):
        raise ModelError(f"no such constraint: {', '.join(sorted(unknown))}; there are {', '.join(CONSTRAINTS)}")
    _check_fit(codec, found)
    _check_fit(codec, given)
    built = annotation
    if given:
        given = {name: _tighter(name, found.get(name), value) for name, value in given.items()}
        found.update(given)
        built = Annotated[(annotation, *_metadata(given))]
    return TypeInfo(codec, nullable, _bounds(codec, found) if found else None, built)


def _peel(annotation: Any) -> tuple[Any, bool, list[Any]]:
    """Take `Annotated` and `| None` off: the type itself, whether null is allowed, and what was annotated."""
    metadata: list[Any] = []
    nullable = False
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            metadata += more
            continue
        if get_origin(annotation) in (Union, types.UnionType):
            members = [member for member in get_args(annotation) if member is not type(None)]
            if len(members) == 1 and len(members) < len(get_args(annotation)):
                annotation, nullable = members[0], True
                continue
        return annotation, nullable, metadata


def _codec(annotation: Any, depth: int) -> tuple[Codec, bool]:
    """Return the codec of a type, and whether null is allowed where it stands."""
    if depth > composites.MAX_DEPTH + 1:  # what stands in the innermost collection is no level
        raise composites.too_deep(annotation)
    annotation, nullable, _ = _peel(annotation)
    if annotation in scalars.SCALARS:
        return scalars.SCALARS[annotation], nullable
    if annotation is Any or annotation is object:
        return composites.ANY, nullable
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        members = {value: value for value in args}
        return scalars.choice("Literal", members, _is_one_of(members)), nullable
    if origin in _COLLECTIONS or annotation in _COLLECTIONS:
        kind = _COLLECTIONS[origin or annotation]
        item, item_nullable = _codec(args[0] if args else Any, depth + 1)
        name = f"{kind}[{_named(item, item_nullable)}]"
        if kind == "set" and item.mutable:  # Python could not make the set when a row is read
            raise ModelError(f"values of type {name} cannot be stored: what stands in a set must not change in place")
        return composites.collection(kind, item, item_nullable, name), nullable
    if origin is tuple:
        return _tuple(args, depth), nullable
    if origin is dict or annotation is dict:
        if args and args[0] is not str:
            raise ModelError(f"the keys of {annotation} are not text; only dict[str, ...] can be stored")
        item, item_nullable = _codec(args[1] if args else Any, depth + 1)
        return composites.mapping(item, item_nullable, f"dict[str, {_named(item, item_nullable)}]"), nullable
    if isinstance(annotation, type):
        return _class(annotation, depth), nullable
    if origin in (Union, types.UnionType):
        raise ModelError(
            f"values of type {annotation} cannot be stored: a field has one type, or that and None; `Any` holds more"
        )
    raise ModelError(f"values of type {annotation} cannot be stored; {_STORED}")


def _class(cls: type, depth: int) -> Codec:
    if cls is File:
        return FILE
    if issubclass(cls, Enum):
        members = {member.value: member for member in cls}
        return scalars.choice(cls.__qualname__, members, lambda value: isinstance(value, cls))
    if issubclass(cls, BaseModel) or dataclasses.is_dataclass(cls):
        return composites.record(cls, _codec, depth)
    if hasattr(cls, "__schema__"):  # a model's
        raise ModelError(
            f"records, as of {cls.__qualname__}, are not values of others: store the id, `author_id: Field[str]`, and relate them, "
            "`author: One[Author] = belongs_to('author_id')`"
        )
    raise ModelError(f"values of type {cls.__qualname__} cannot be stored; {_STORED}")


def _tuple(args: tuple[Any, ...], depth: int) -> Codec:
    if len(args) == 2 and args[1] is Ellipsis:
        item, nullable = _codec(args[0], depth + 1)
        return composites.collection("tuple", item, nullable, f"tuple[{_named(item, nullable)}, ...]")
    items = [_codec(arg, depth + 1) for arg in args]
    return composites.fixed_tuple(items, f"tuple[{', '.join(_named(codec, nullable) for codec, nullable in items)}]")


def _is_one_of(members: dict[Any, Any]) -> Callable[[Any], bool]:
    kinds = {type(value) for value in members}
    return lambda value: type(value) in kinds and value in members and type(members[value]) is type(value)


def _named(codec: Codec, nullable: bool) -> str:
    return f"{codec.name} | None" if nullable else codec.name


def _constraints_in(item: Any) -> Iterator[tuple[str, Any]]:
    """Yield what one piece of `Annotated` metadata says, of the kinds that pydantic knows."""
    if isinstance(item, FieldInfo):
        for part in item.metadata:
            yield from _constraints_in(part)
    elif isinstance(item, at.GroupedMetadata) and not isinstance(item, StringConstraints):
        for part in item:
            yield from _constraints_in(part)
    else:
        for name in CONSTRAINTS:
            value = getattr(item, name, None)
            if value is not None:
                yield name, getattr(value, "pattern", value) if name == "pattern" else value


def _tighter(name: str, one: Any, other: Any) -> Any:
    """Return what holds where a constraint is given twice: in `Annotated` and as an argument of `field`."""
    if one is None or one == other:
        return other
    if name == "pattern":
        raise ModelError(f"two patterns, {one!r} and {other!r}; give one that says both")
    return max(one, other) if name in ("ge", "gt", "min_length") else min(one, other)


def _metadata(constraints: dict[str, Any]) -> list[Any]:
    classes = {"ge": at.Ge, "gt": at.Gt, "le": at.Le, "lt": at.Lt, "min_length": at.MinLen, "max_length": at.MaxLen}
    made: list[Any] = [classes[name](value) for name, value in constraints.items() if name in classes]
    return [*made, StringConstraints(pattern=constraints["pattern"])] if "pattern" in constraints else made


def _check_fit(codec: Codec, constraints: dict[str, Any]) -> None:
    ordered = codec.kind in ("int", "float", "decimal", "instant", "duration", "date", "time", "text")
    sized = codec.kind in ("text", "bytes", "list", "set", "tuple", "map")
    for name, value in constraints.items():
        fits = codec.kind == "text" if name == "pattern" else sized if name.endswith("_length") else ordered
        if not fits:
            raise ModelError(f"{name}= does not fit values of type {codec.name}")
        if name.endswith("_length") and (type(value) is not int or value < 0):
            raise ModelError(f"{name}= is a count, not {value!r}")
        if name in ("ge", "gt", "le", "lt") and not codec.is_operand(value):
            raise ModelError(f"{name}={value!r} is no value of type {codec.name}")
        if name == "pattern":
            _check_pattern(value)


def _check_pattern(pattern: Any) -> None:
    # pydantic's engine guards writes, Python's flags what peers wrote: both must know the expression
    try:
        SchemaValidator(core_schema.str_schema(pattern=pattern))
        re.compile(pattern)
    except (SchemaError, re.error) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ModelError(f"pattern={pattern!r} is no regular expression that pydantic knows: {reason}") from error


def _bounds(codec: Codec, constraints: dict[str, Any]) -> Bounds:
    to_wire = codec.to_wire
    return Bounds(
        **{
            name: to_wire(value) if to_wire is not None and name in ("ge", "gt", "le", "lt") else value
            for name, value in constraints.items()
        }
    )
