"""Digests of what code does: they change when the body of a function, an operation, or what a class takes does."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from types import CellType, CodeType
from typing import Any, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_PLAIN = (str, bytes, int, float, bool, type(None), Decimal, date, time, timedelta, UUID, Enum)


def digest_of(value: Any) -> str:
    """Return 16 hex digits over a value made of dataclasses, collections, plain values, types and functions."""
    return hashlib.sha256(repr(_told(value)).encode()).hexdigest()[:16]


def digest_of_class(cls: type) -> str:
    """Return 16 hex digits over what decides which values a pydantic model or a dataclass takes: its fields and its code."""
    own = [base for base in cls.__mro__ if base is not object and base is not BaseModel]
    functions = [
        (name, getattr(found, "__func__", found)) for base in own for name, found in sorted(vars(base).items())
    ]
    code = [
        (name, function) for name, function in functions if isinstance(getattr(function, "__code__", None), CodeType)
    ]
    declared = getattr(cls, "__pydantic_fields__", None)
    return digest_of((declared, getattr(cls, "model_config", None), code))


def body_of(code: CodeType) -> tuple[object, ...]:
    """What a function does, without where it stands: changes when its body does."""
    return (code.co_code, [_constant(value) for value in code.co_consts], code.co_names, code.co_varnames)


def _constant(value: object) -> object:
    if isinstance(value, CodeType):
        return body_of(value)
    if isinstance(value, frozenset):  # its order differs in each process
        return sorted(map(repr, value))
    return repr(value)


def _told(value: Any) -> object:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, tuple | list):
        return [_told(part) for part in value]
    if isinstance(value, Set):
        return sorted(repr(_told(part)) for part in value)
    if isinstance(value, Mapping):
        return sorted((str(key), _told(part)) for key, part in value.items())
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__name__, *(_told(getattr(value, each.name)) for each in fields(value))]
    if isinstance(value, FieldInfo):
        limits = [getattr(part, "__dict__", None) or part for part in value.metadata]  # some are pydantic's own objects
        return [_told(part) for part in (value.annotation, limits, value.default, value.default_factory)]
    if args := get_args(value):
        return [_told(get_origin(value)), *map(_told, args)]
    function: Any = value
    code = getattr(function, "__code__", None)
    if isinstance(code, CodeType):
        closed = [cell.cell_contents for cell in function.__closure__ or () if cell != CellType()]
        seen = [part for part in (*(function.__defaults__ or ()), *closed) if isinstance(part, _PLAIN)]
        return [body_of(code), seen]
    return getattr(value, "__qualname__", type(value).__qualname__)  # an address would differ in each process
