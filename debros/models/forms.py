"""Records as dicts and JSON text, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from debros.errors import FieldError, ValidationError
from debros.models.hydration import EXTRA

if TYPE_CHECKING:
    from debros.models.record import Model
    from debros.models.shape import Shape

M = TypeVar("M", bound="Model")


def to_dict(record: Model, mode: Literal["python", "json"], relations: bool) -> dict[str, Any]:
    """Return a record as a dict; see `Model.to_dict`."""
    return _to_dict(record, mode == "json", relations, frozenset())


def _to_dict(record: Any, json_mode: bool, relations: bool, above: frozenset[int]) -> dict[str, Any]:
    cls = type(record)
    shape: Shape = cls.__shape__
    own = shape.decoded(record)
    shown: dict[str, Any] = {"id": record.id}
    for spec in shape.fields:
        if spec.expose:
            shown[spec.name] = _shown(shape.types[spec.name], own[spec.name], json_mode)
    if shape.keeps_extra:
        shown |= _shown(shape.types[EXTRA], own[EXTRA], json_mode)
    for computed in cls.__schema__.computed:
        if computed.expose:
            shown[computed.name] = _shown(shape.computed[computed.name], getattr(record, computed.name), json_mode)
    if relations:
        inside = above | {id(record)}  # a record that leads back to one above it is cut there
        for name, value in own.get("_loaded", {}).items():
            shown[name] = _related(value, json_mode, inside)
    return shown


def _shown(info: Any, value: Any, json_mode: bool) -> Any:
    if not json_mode or value is None:
        return value
    from debros.values.json import to_json as value_to_json

    return value_to_json(info, value)


def _related(value: Any, json_mode: bool, above: frozenset[int]) -> Any:
    if isinstance(value, Sequence):
        return [_to_dict(each, json_mode, id(each) not in above, above) for each in value]
    return None if value is None else _to_dict(value, json_mode, id(value) not in above, above)


def to_json(record: Model, relations: bool) -> str:
    """Return a record as JSON text; see `Model.to_json`."""
    return json.dumps(to_dict(record, "json", relations), ensure_ascii=False, separators=(",", ":"))


def from_dict(cls: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return constructor arguments from Python or JSON forms; what is no field is left for the constructor to refuse.

    Raises:
        ValidationError: it is no mapping of names to values.
    """
    from debros.values.json import from_json

    if not isinstance(data, Mapping):
        flaw = FieldError("", data, "dict_type", f"a record is made of a mapping, not of a {type(data).__name__}")
        raise ValidationError(cls.__name__, (flaw,))
    shape: Shape = cls.__shape__
    values: dict[str, Any] = {}
    for name, value in data.items():
        if not isinstance(name, str):
            flaw = FieldError(repr(name), value, "string_type", "a field's name is text")
            raise ValidationError(cls.__name__, (flaw,))
        if name in shape.computed:
            continue
        values[name] = from_json(shape.types[name], value) if name in shape.types and value is not None else value
    return values


def copy(record: M) -> M:
    """Return an unsaved record with the same values; see `Model.copy`."""
    cls: Any = type(record)
    shape: Shape = cls.__shape__
    made: M = object.__new__(cls)
    own = vars(made)
    values = shape.decoded(record)
    for spec in shape.fields:
        value = values[spec.name]
        own[spec.name] = deepcopy(value) if spec.codec.mutable else value
    shape.name_new(own)
    return made
