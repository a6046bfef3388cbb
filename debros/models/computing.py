"""Computed fields, as the view and the queries call them: a function over wire values."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import Any

from debros.errors import ModelError
from debros.models.fields import Computed
from debros.schema import ComputedSpec, FieldSpec
from debros.values import TypeInfo
from debros.values.code import body_of


def computed_spec(cls: Any, computed: Computed[Any], info: TypeInfo, fields: Sequence[FieldSpec]) -> ComputedSpec:
    """Return the specification of a computed field.

    Raises:
        ModelError: it is a coroutine function, or takes more than `self`.
    """
    method = computed.method
    code = getattr(method, "__code__", None)
    if not isinstance(code, CodeType) or code.co_argcount + code.co_kwonlyargcount != 1 or code.co_flags & 0x80:
        raise ModelError(f"{cls.__name__}.{computed.name}: a computed field is a plain method that takes only `self`")
    return ComputedSpec(
        name=computed.name,
        codec=info.codec,
        index=computed.index,
        expose=computed.expose,
        function=_over_wire_values(cls, method, info, fields),
        version=hashlib.sha256(repr(body_of(code)).encode()).hexdigest()[:16],
    )


def _over_wire_values(
    cls: Any, method: Callable[[Any], Any], info: TypeInfo, fields: Sequence[FieldSpec]
) -> Callable[[Mapping[str, Any]], Any]:
    """Return the method as a function of wire values by attribute; it raises where the method does."""
    decoders = [(spec.name, spec.codec.from_wire) for spec in fields if spec.codec.from_wire is not None]
    to_wire, is_operand = info.codec.to_wire, info.codec.is_operand

    def function(values: Mapping[str, Any]) -> Any:
        record = object.__new__(cls)
        own = record.__dict__
        own.update(values)
        for name, decode in decoders:
            if (value := own.get(name)) is not None:
                own[name] = decode(value)
        result = method(record)
        if result is None:
            return None
        if not is_operand(result):
            raise TypeError(f"{method.__qualname__} returned {result!r}, not {info.codec.name}")
        return result if to_wire is None else to_wire(result)

    return function
