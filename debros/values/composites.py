"""Codecs of values made of parts: lists, sets, tuples, maps, nested models and dataclasses, and `Any`.

Their column is the DAG-CBOR of the wire value. A nested value is replaced whole; unknown keys of a newer declaration of
it stay in the log.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, get_type_hints

import libipld
from pydantic import BaseModel

from debros.blocks import dagcbor
from debros.errors import ModelError
from debros.schema import Codec, Kind
from debros.values.code import digest_of, digest_of_class

MAX_DEPTH: Final = 16
Describe = Callable[[Any, int], "tuple[Codec, bool]"]  # annotation, depth -> codec, nullable


def encode_sorted(values: list[Any]) -> list[Any]:
    """Return the wire values of a set: ascending by encoding, each once."""
    if len(values) < 2:
        return values
    if (found := sorted_texts(values)) is not None:
        return found
    return [value for _, value in sorted({dagcbor.encode(value): value for value in values}.items())]


def sorted_texts(values: Collection[Any]) -> list[Any] | None:
    """Return texts like `encode_sorted`; `None` where one is no text."""
    try:
        is_ascii = "".join(values).isascii()
    except TypeError:
        return None
    if is_ascii and type(values) is list:  # from a peer: mostly sorted, which is seen in a third of the time
        size, last = 0, ""
        for text in values:
            if (n := len(text)) < size or (n == size and text <= last):
                break
            size, last = n, text
        else:
            return values
    found = sorted(set(values))
    found.sort(key=len if is_ascii else dagcbor.key_order)  # of ASCII the length in bytes is that in characters
    return found


def to_blob(codec_holds_bytes: bool) -> Callable[[Any], bytes]:
    """Return the encoder of a column. The fast one might take bytes for a CID, so it is for values without bytes."""
    if codec_holds_bytes:
        return lambda wire: dagcbor.encode(unsigned_zero(wire))  # `from_blob` raises where it meets -0.0
    encode: Callable[[Any], bytes] = libipld.encode_dag_cbor
    return encode


def unsigned_zero(wire: Any) -> Any:
    """Return a copy of a wire value with 0.0 for each -0.0, which is not written (docs/format.md, Values)."""
    kind = type(wire)
    if kind is float:
        return wire + 0.0
    if kind is list:
        return [unsigned_zero(part) for part in wire]
    if kind is dict:
        return {key: unsigned_zero(part) for key, part in wire.items()}
    return wire


def from_blob(raw: bytes) -> Any:
    """Return the wire value in a column: the column's bytes are our own, and hold no links."""
    return libipld.decode_dag_cbor(raw)


def collection(kind: Kind, item: Codec, nullable: bool, name: str) -> Codec:
    """Return the codec of `list[T]`, `set[T]` or `tuple[T, ...]`."""
    made: Any = {"list": list, "set": set, "tuple": tuple}[kind]
    to_item, from_item = _nullable(item.to_wire, nullable), _nullable(item.from_wire, nullable)
    accepts_item = _accepts(item, nullable)
    is_texts = kind == "set" and to_item is None and item.kind == "text"
    is_item = _is_operand(item, nullable)

    def accepts(wire: Any) -> bool:
        return type(wire) is list and all(map(accepts_item, wire))

    def is_operand(value: Any) -> bool:
        return isinstance(value, made) and all(map(is_item, value))

    def to_wire(value: Any) -> list[Any]:
        if is_texts and (found := sorted_texts(value)) is not None:
            return found
        wire = list(value) if to_item is None else [to_item(part) for part in value]
        return encode_sorted(wire) if kind == "set" else wire

    def from_wire(wire: list[Any]) -> Any:
        return made(wire) if from_item is None else made([from_item(part) for part in wire])

    decode: Callable[[bytes], Any] = from_blob
    if holds_links(item):
        read_blob = _blob_reader(True)
        decode = lambda raw: from_wire(read_blob(raw))  # noqa: E731 - as below
    elif kind != "list" or from_item is not None:
        decode = lambda raw: from_wire(libipld.decode_dag_cbor(raw))  # noqa: E731 - one step for every row read
    return Codec(
        kind, "BLOB", name, accepts, is_operand, to_wire, from_wire,
        to_blob(holds_bytes(item)), decode, mutable=kind != "tuple" or item.mutable, item=item, version=item.version,
    )  # fmt: skip


def fixed_tuple(items: Sequence[tuple[Codec, bool]], name: str) -> Codec:
    """Return the codec of `tuple[A, B]`."""
    checks = [_accepts(codec, nullable) for codec, nullable in items]
    tests = [_is_operand(codec, nullable) for codec, nullable in items]
    writers = [_nullable(codec.to_wire, nullable) or _same for codec, nullable in items]
    readers = [_nullable(codec.from_wire, nullable) or _same for codec, nullable in items]

    def accepts(wire: Any) -> bool:
        if type(wire) is not list or len(wire) != len(checks):
            return False
        return all(check(value) for check, value in zip(checks, wire, strict=True))

    def is_operand(value: Any) -> bool:
        if not isinstance(value, tuple) or len(value) != len(tests):
            return False
        return all(test(part) for test, part in zip(tests, value, strict=True))

    read_blob = _blob_reader(any(holds_links(codec) for codec, _ in items))

    def from_wire(wire: list[Any]) -> tuple[Any, ...]:
        return tuple([read(part) for read, part in zip(readers, wire, strict=True)])

    return Codec(
        "tuple", "BLOB", name, accepts, is_operand,
        lambda value: [write(part) for write, part in zip(writers, value, strict=True)], from_wire,
        to_blob(any(holds_bytes(codec) for codec, _ in items)), lambda raw: from_wire(read_blob(raw)),
        mutable=any(codec.mutable for codec, _ in items), holds_links=any(holds_links(codec) for codec, _ in items),
        version="".join(codec.version for codec, _ in items),
    )  # fmt: skip


def mapping(item: Codec, nullable: bool, name: str) -> Codec:
    """Return the codec of `dict[str, V]`."""
    to_item, from_item = _nullable(item.to_wire, nullable), _nullable(item.from_wire, nullable)
    accepts_item = _accepts(item, nullable)

    def accepts(wire: Any) -> bool:
        return type(wire) is dict and all(map(accepts_item, wire.values()))

    is_item = _is_operand(item, nullable)
    read_blob = _blob_reader(holds_links(item))

    def is_operand(value: Any) -> bool:
        return isinstance(value, dict) and all(type(key) is str for key in value) and all(map(is_item, value.values()))

    def to_wire(value: Mapping[str, Any]) -> dict[str, Any]:
        return dict(value) if to_item is None else {key: to_item(part) for key, part in value.items()}

    def from_wire(wire: dict[str, Any]) -> dict[str, Any]:
        return wire if from_item is None else {key: from_item(part) for key, part in wire.items()}

    return Codec(
        "map", "BLOB", name, accepts, is_operand, to_wire, from_wire,
        to_blob(holds_bytes(item)), from_blob if from_item is None else lambda raw: from_wire(read_blob(raw)),
        mutable=True, item=item, version=item.version,
    )  # fmt: skip


def record(cls: type, describe: Describe, depth: int) -> Codec:
    """Return the codec of a pydantic model or a dataclass: a map of its fields."""
    parts = {name: describe(hint, depth + 1) for name, hint in hints_of(cls).items()}
    checks = {name: _accepts(codec, nullable) for name, (codec, nullable) in parts.items()}
    writers = {name: _nullable(codec.to_wire, nullable) or _same for name, (codec, nullable) in parts.items()}
    readers = {name: _nullable(codec.from_wire, nullable) or _same for name, (codec, nullable) in parts.items()}

    tests = {name: _is_operand(codec, nullable) for name, (codec, nullable) in parts.items()}
    read_blob = _blob_reader(any(holds_links(codec) for codec, _ in parts.values()))

    def is_operand(value: Any) -> bool:  # not of a subclass: what it adds would be lost
        return type(value) is cls and all(test(getattr(value, name, _same)) for name, test in tests.items())

    def from_wire(wire: dict[str, Any]) -> Any:
        return cls(**{name: readers[name](value) for name, value in wire.items() if name in readers})

    def accepts(wire: Any) -> bool:
        if type(wire) is not dict or not all(name in checks and checks[name](value) for name, value in wire.items()):
            return False
        try:
            from_wire(wire)
        except Exception:  # the class's own code decides what it takes, and may raise anything
            return False
        return True

    return Codec(
        "record", "BLOB", f"{cls.__qualname__}{{{', '.join(f'{n}: {c.name}' for n, (c, _) in parts.items())}}}",
        accepts, is_operand,
        lambda value: {name: write(getattr(value, name)) for name, write in writers.items()}, from_wire,
        to_blob(any(holds_bytes(codec) for codec, _ in parts.values())), lambda raw: from_wire(read_blob(raw)),
        mutable=True, holds_links=any(holds_links(codec) for codec, _ in parts.values()),
        version=digest_of([digest_of_class(cls), *((name, null, codec.version) for name, (codec, null) in parts.items())]),
    )  # fmt: skip


def hints_of(cls: Any) -> dict[str, Any]:
    """Return the stored fields of a pydantic model or dataclass, with their annotations."""
    hints = get_type_hints(cls, include_extras=True)
    if issubclass(cls, BaseModel):
        return {name: hints.get(name, info.annotation) for name, info in cls.model_fields.items()}
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def _any_is_good(value: Any, depth: int = 0) -> bool:
    kind = type(value)
    if kind is list:
        return depth < MAX_DEPTH and all(_any_is_good(part, depth + 1) for part in value)
    if kind is dict:
        return depth < MAX_DEPTH and all(type(k) is str and _any_is_good(v, depth + 1) for k, v in value.items())
    if kind is int:
        return bool(-(2**63) <= value < 2**63)
    return value is None or kind in (bool, str, bytes, float)


ANY: Final = Codec(
    "any", "BLOB", "Any", _any_is_good, lambda value: True, unsigned_zero, None, to_blob(True), from_blob, mutable=True
)


def holds_bytes(codec: Codec) -> bool:
    """Whether values of this type may hold bytes somewhere."""
    if codec.kind in ("bytes", "file", "any", "record", "tuple"):
        return codec.kind != "tuple" or codec.item is None or holds_bytes(codec.item)
    return codec.item is not None and holds_bytes(codec.item)


def holds_links(codec: Codec) -> bool:
    """Whether values of this type may refer to content: files, or what holds them."""
    return codec.kind == "file" or codec.holds_links or (codec.item is not None and holds_links(codec.item))


def _blob_reader(links: bool) -> Callable[[bytes], Any]:
    return dagcbor.decode if links else from_blob  # the fast decoder takes links for bytes


def _accepts(codec: Codec, nullable: bool) -> Callable[[Any], bool]:
    accepts = codec.accepts
    return (lambda wire: wire is None or accepts(wire)) if nullable else accepts


def _is_operand(codec: Codec, nullable: bool) -> Callable[[Any], bool]:
    is_operand = codec.is_operand
    return (lambda value: value is None or is_operand(value)) if nullable else is_operand


def _nullable(function: Callable[[Any], Any] | None, nullable: bool) -> Callable[[Any], Any] | None:
    if function is None or not nullable:
        return function
    return lambda value: None if value is None else function(value)


def _same(value: Any) -> Any:
    return value


def too_deep(annotation: object) -> ModelError:
    """Return the error for a type that nests too far."""
    return ModelError(f"{annotation} nests deeper than {MAX_DEPTH} levels")
