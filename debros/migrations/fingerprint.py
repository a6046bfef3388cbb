"""A digest of what a migration does: it changes when an operation or the body of a function does."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import CellType, CodeType
from typing import Any

from debros.models.computing import body_of

_PLAIN = (str, bytes, int, float, bool, type(None))


def digest_of(value: Any) -> str:
    """Return 16 hex digits over a value made of dataclasses, collections, plain values and functions."""
    return hashlib.sha256(repr(_told(value)).encode()).hexdigest()[:16]


def _told(value: Any) -> object:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, tuple | list):
        return [_told(part) for part in value]
    if isinstance(value, Mapping):
        return sorted((str(key), _told(part)) for key, part in value.items())
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__name__, *(_told(getattr(value, each.name)) for each in fields(value))]
    function: Any = value
    code = getattr(function, "__code__", None)
    if isinstance(code, CodeType):
        closed = [cell.cell_contents for cell in function.__closure__ or () if cell != CellType()]
        seen = [part for part in (*(function.__defaults__ or ()), *closed) if isinstance(part, _PLAIN)]
        return [body_of(code), seen]
    return getattr(value, "__qualname__", type(value).__qualname__)  # an address would differ in each process
