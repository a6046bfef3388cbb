"""From a field's declaration to its `FieldSpec`; each error names the model, the field and the cure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from debros.errors import ModelError, ValidationError
from debros.models.fields import MISSING, Field
from debros.models.names import check_wire_name
from debros.models.validation import Validator
from debros.schema import FieldSpec, Merge
from debros.values import TypeInfo

if TYPE_CHECKING:
    from debros.models.options import Options

_NO_ORDER: Final = frozenset({"list", "set", "tuple", "map", "record", "file", "any"})
_EMPTY: Final[dict[Any, Any]] = {list: [], set: [], dict: {}}  # what a missing cell reads as with these factories


def field_spec(
    model: str, name: str, declaration: Field[Any], info: TypeInfo, options: Options, validator: Validator
) -> FieldSpec:
    """Return the specification of one stored field.

    Raises:
        ModelError: options that do not fit the type or each other, or a default that is no good value.
    """
    where = f"{model}.{name}"
    wire = name if declaration.wire is None else declaration.wire
    check_wire_name(model, name, wire)
    if declaration.index not in (True, False, "global"):
        raise ModelError(f"{where}: index={declaration.index!r} is not True, False or 'global'")
    if declaration.unique not in (True, False, "derived"):
        raise ModelError(f"{where}: unique={declaration.unique!r} is not True, False or 'derived'")
    merge = _merge(where, declaration, info, options)
    if declaration.unique and (info.codec.kind in _NO_ORDER or merge != "lww"):
        raise ModelError(f"{where}: unique= needs a plain value that the last write decides, not {info.codec.name}")
    has_default, default = _default(where, declaration, info, merge, validator)
    return FieldSpec(
        name=name,
        wire=wire,
        codec=info.codec,
        nullable=info.nullable,
        merge=merge,
        index=declaration.index,
        unique=declaration.unique,
        expose=declaration.expose,
        has_default=has_default,
        default=default,
        bounds=info.bounds,
    )


def _merge(where: str, declaration: Field[Any], info: TypeInfo, options: Options) -> Merge:
    merge, kind = declaration.merge, info.codec.kind
    if merge not in (None, "lww", "counter", "set", "keep"):
        raise ModelError(f"{where}: merge={merge!r} is not 'lww', 'counter', 'set' or 'keep'")
    if options.store == "counter":
        if kind != "int" or info.nullable or merge not in (None, "counter"):
            raise ModelError(f"{where}: every field of a store='counter' model is a counter: `Field[int]`")
        merge = "counter"
    if options.store == "keyvalue":
        if merge is not None:
            raise ModelError(f"{where}: in store='keyvalue' the last save wins whole; leave merge= out")
        return "lww"
    if merge is None:
        return "set" if kind == "set" and not info.nullable else "lww"
    if merge == "counter":
        if kind != "int" or info.nullable:
            raise ModelError(f"{where}: merge='counter' is for `Field[int]`, not {_named(info)}")
        if declaration.index == "global" or declaration.unique:
            raise ModelError(f"{where}: a counter cannot be unique or indexed globally")
    if merge == "set" and (kind != "set" or info.nullable):
        raise ModelError(f"{where}: merge='set' is for `Field[set[...]]` without None, not {_named(info)}")
    return merge


def _named(info: TypeInfo) -> str:
    return f"{info.codec.name} | None" if info.nullable else info.codec.name


def _default(
    where: str, declaration: Field[Any], info: TypeInfo, merge: Merge, validator: Validator
) -> tuple[bool, Any]:
    """Return whether a missing cell reads as a default, and the wire value of it."""
    default, factory = declaration.default, declaration.default_factory
    if factory is not None and default is not MISSING:
        raise ModelError(f"{where}: give default= or default_factory=, not both")
    if factory is not None and not callable(factory):
        raise ModelError(f"{where}: default_factory={factory!r} cannot be called; for a plain value use default=")
    if merge == "counter":
        if factory is not None or default not in (MISSING, 0) or isinstance(default, bool):
            raise ModelError(f"{where}: a counter begins at 0; leave the default out")
        return True, 0
    if merge == "set":
        if default is not MISSING:
            raise ModelError(f"{where}: a set changes in place, so each record needs its own: default_factory=set")
        return True, []
    if factory is not None:
        return (True, _EMPTY[factory]) if factory in _EMPTY else (False, None)
    if default is MISSING:
        return False, None
    if default is None:
        if not info.nullable:
            raise ModelError(f"{where}: default=None needs `Field[{info.codec.name} | None]`")
        return True, None
    if type(default).__hash__ is None:
        raise ModelError(
            f"{where}: the default {default!r} changes in place, so each record needs its own:"
            f" default_factory={type(default).__name__ if not default else 'lambda: ...'}"
        )
    try:
        good = validator.check_one(declaration.name, default)
    except ValidationError as error:
        raise ModelError(f"{where}: the default {default!r} is not a good value: {error.errors[0].message}") from error
    return True, good if info.codec.to_wire is None else info.codec.to_wire(good)
