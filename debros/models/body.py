"""What a class body declares: fields, computed fields and relations, each with its type or target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, ClassVar, Final, get_origin

from debros.errors import ModelError
from debros.models.annotations import Place, Target, field_type, head_and_argument, list_item, return_of, target_of
from debros.models.fields import Computed, Declaration, Field
from debros.models.names import check_attribute
from debros.models.relations import Many, One, RelationDeclaration

_NOTHING = object()
_OPTIONS_ELSEWHERE: Final = frozenset({"Meta", "Config", "Settings", "model_config", "__tablename__", "__table_args__"})


@dataclass(slots=True, eq=False)
class Declared:
    """One declaration of a class body."""

    declaration: Declaration
    type: Any = None  # of a field or computed field
    target: Target | None = None  # of a relation
    place: Place | None = None  # where a relation's target is looked up


def own_declarations(namespace: Mapping[str, Any], place: Place) -> dict[str, Declared]:
    """Return what a class body declares, by attribute: annotated names first, then decorated methods.

    Raises:
        ModelError: an annotation and its value do not belong together, or a name is reserved.
    """
    found: dict[str, Declared] = {}
    for name, raw in namespace.get("__annotations__", {}).items():
        value = namespace.get(name, _NOTHING)
        if name.startswith("_") and not isinstance(value, Declaration) and not _is_declaration(raw):
            continue
        head, argument = head_and_argument(raw, place, name)
        if head is ClassVar:
            continue
        _check_name(place, name)
        found[name] = _annotated(head, argument, value, place, name)
    for name, value in namespace.items():
        _refuse_what_does_nothing(place, name, value)
        if isinstance(value, property) and isinstance(value.fget, Declaration):
            raise ModelError(f"{place.owner}.{name}: a computed field is a plain method: leave `@property` out")
        if isinstance(value, Declaration) and name not in found:
            _check_name(place, name)
            found[name] = _decorated(value, place, name)
    return found


def _refuse_what_does_nothing(place: Place, name: str, value: object) -> None:
    """Refuse what other libraries look at in a class body: passed over, it would be taken to hold."""
    if type(value).__module__.startswith("pydantic.") and not isinstance(value, type):
        raise ModelError(
            f"{place.owner}.{name}: a model is none of pydantic's, whose decorators and settings do nothing here: "
            "`field(validate=...)` and `field(convert=...)` check and change one value, `@before_save` sees the record"
        )
    if name in _OPTIONS_ELSEWHERE and not (
        isinstance(value, type) and (value.__bases__ != (object,) or is_dataclass(value))
    ):
        raise ModelError(
            f"{place.owner}.{name} does nothing here: options of a model are those of its decorator, `@model(name=..., indexes=[...])`"
        )


def _is_declaration(raw: Any) -> bool:
    """Whether an annotation that is not resolved is a `Field[...]`, `One[...]` or `Many[...]`."""
    if isinstance(raw, str):
        return raw.strip("'\" ").removeprefix("debros.").startswith(("Field[", "One[", "Many["))
    return get_origin(raw) in (Field, One, Many)


def _check_name(place: Place, name: str) -> None:
    check_attribute(place.owner, name)
    if name.startswith("_"):
        raise ModelError(f"{place.owner}.{name}: names that begin with `_` are not fields; rename it")


def _annotated(head: Any, argument: Any, value: Any, place: Place, name: str) -> Declared:
    where = f"{place.owner}.{name}"
    if head is Field:
        if argument is None:
            raise ModelError(f"{where}: say what the field holds: `Field[str]`")
        if value is _NOTHING:
            value = Field()
        if not isinstance(value, Field):
            cure = "`One[...]` or `Many[...]`" if isinstance(value, RelationDeclaration) else "`= field(default=...)`"
            raise ModelError(f"{where}: a `Field[...]` is not set to {value!r}; write {cure}")
        return Declared(value, type=field_type(argument, place, name))
    if head is One or head is Many:
        if not isinstance(value, RelationDeclaration):
            kinds = "belongs_to(...) or has_one(...)" if head is One else "has_many(...) or many_to_many(...)"
            raise ModelError(f"{where}: say how it is related: `= {kinds}`")
        if not isinstance(value, head):
            raise ModelError(f"{where}: {value.kind} is a {type(value).__name__}[...], not a {head.__name__}[...]")
        if argument is None:
            raise ModelError(f"{where}: say which model it leads to: `{head.__name__}[User]`")
        return Declared(value, target=target_of(argument, place, name), place=place.for_targets())
    wanted = "One[...]" if isinstance(value, One) else "Many[...]" if isinstance(value, Many) else "Field[...]"
    raise ModelError(f"{where}: annotate it as `{wanted}`, or as `ClassVar[...]` if it is no field of the records")


def _decorated(value: Declaration, place: Place, name: str) -> Declared:
    where = f"{place.owner}.{name}"
    if isinstance(value, Computed):
        returned = return_of(value.method)
        if returned is None:
            raise ModelError(f"{where}: a computed field says what it returns: `def {name}(self) -> str`")
        return Declared(value, type=field_type(returned, place, name))
    if isinstance(value, RelationDeclaration):
        returned = return_of(value.method) if value.method else None
        if returned is None:
            head = type(value).__name__
            raise ModelError(f"{where}: say which model it leads to: `{name}: {head}[User] = {value.kind}(...)`")
        if isinstance(value, Many):
            argument = list_item(returned)
            if argument is None:
                raise ModelError(f"{where}: a {value.kind} method returns `list[Post]`")
            returned = argument
        return Declared(value, target=target_of(returned, place, name), place=place.for_targets())
    raise ModelError(f"{where}: annotate it: `{name}: Field[str] = field(...)`")
