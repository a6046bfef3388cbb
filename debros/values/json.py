"""JSON forms of values: ISO times, decimal and UUID text, base64 bytes, sets as sorted lists."""

from __future__ import annotations

import dataclasses
import json
from functools import lru_cache, partial
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ArgsKwargs, to_jsonable_python

from debros.values import TypeInfo
from debros.values.composites import hints_of

_UNCHANGED = (str, int, bool, float)


def to_json(info: TypeInfo, value: Any) -> Any:
    """Return a value of a field in its JSON form."""
    return json_form(value)


def json_form(value: Any) -> Any:
    """Return a value in its JSON form, whatever its type."""
    if type(value) in _UNCHANGED:
        return value
    if isinstance(value, set):
        return sorted(map(json_form, value), key=lambda part: (type(part).__name__, part))
    if isinstance(value, (list, tuple)):
        return [json_form(part) for part in value]
    if isinstance(value, dict):
        return {key: json_form(part) for key, part in value.items()}
    if isinstance(value, BaseModel) or dataclasses.is_dataclass(value):  # not as its own class would write bytes
        return {name: json_form(getattr(value, name)) for name in hints_of(type(value))}
    return to_jsonable_python(value, bytes_mode="base64", timedelta_mode="iso8601")


def from_json(info: TypeInfo, value: Any) -> Any:
    """Return the Python value that a JSON form stands for. What is none comes back as it is, for the validator.

    Constraints are not asked here: a value beyond them is still one, and the validator says which it breaks.
    """
    if type(value) in _UNCHANGED and info.codec.kind in ("text", "int", "float", "bool"):
        return value
    return _read(info.annotation, value)


def _read(annotation: Any, value: Any) -> Any:
    try:
        text = json.dumps([value], allow_nan=False)
    except (TypeError, ValueError):
        return value  # it is in Python's form already
    try:
        return _adapter(_bare(annotation)).validate_json(text, strict=True)[0]
    except ValidationError:
        return value


@lru_cache(maxsize=1024)
def _adapter(bare: Any) -> TypeAdapter[list[Any]]:
    made: Any = list[_opening(bare)]  # type: ignore[misc]  # made at run time
    return TypeAdapter(made, config=ConfigDict(val_json_bytes="base64"))


def _bare(annotation: Any) -> Any:
    """Take constraints off, at every level."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    return _inside(annotation, _bare)


def _opening(annotation: Any) -> Any:
    """Have the fields of nested models read by this module: pydantic asks each class how its bytes look in JSON."""
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)):
        return Annotated[annotation, BeforeValidator(partial(_opened, annotation))]
    return _inside(annotation, _opening)


def _opened(cls: type, value: Any) -> Any:
    if type(value) is not dict:
        return value
    hints = hints_of(cls)
    values = {name: _read(hints[name], part) if name in hints else part for name, part in value.items()}
    return values if issubclass(cls, BaseModel) else ArgsKwargs((), values)


def _inside(annotation: Any, change: Any) -> Any:
    origin: Any = get_origin(annotation)
    args = get_args(annotation)
    if origin in (list, set, dict, tuple):
        return origin.__class_getitem__(tuple(map(change, args)))
    if origin in (Union, UnionType):
        return Union[tuple(map(change, args))]  # noqa: UP007 - members known at run time
    return annotation
