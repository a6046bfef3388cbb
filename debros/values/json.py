"""JSON forms of values: ISO times, decimal and UUID text, base64 bytes, sets as sorted lists."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from debros.values import TypeInfo

_UNCHANGED = (str, int, bool, float)


def to_json(info: TypeInfo, value: Any) -> Any:
    """Return a value of a field in its JSON form."""
    if type(value) in _UNCHANGED:
        return value
    if isinstance(value, set):
        return sorted((_plain(part) for part in value), key=lambda part: (type(part).__name__, part))
    return _plain(value)


def _plain(value: Any) -> Any:
    return to_jsonable_python(value, bytes_mode="base64", timedelta_mode="iso8601")


def from_json(info: TypeInfo, value: Any) -> Any:
    """Return the Python value that a JSON form stands for. What is none comes back as it is, for the validator."""
    if type(value) in _UNCHANGED and info.codec.kind in ("text", "int", "float", "bool"):
        return value
    try:
        text = json.dumps([value], allow_nan=False)
    except (TypeError, ValueError):
        return value  # it is in Python's form already
    try:
        return _adapter(info.annotation).validate_json(text, strict=True)[0]
    except ValidationError:
        return value


@lru_cache(maxsize=1024)
def _adapter(annotation: Any) -> TypeAdapter[list[Any]]:
    return TypeAdapter(list[annotation], config=ConfigDict(val_json_bytes="base64"))
