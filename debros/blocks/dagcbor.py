"""Strict DAG-CBOR: the one byte form of every value, and a decoder that knows no other.

Canonical form (docs/format.md, Blocks): map keys are text, ascending by (UTF-8 length, bytes), without
duplicates; integers and lengths are the shortest possible, integers within -2**64..2**64-1; floats have 64 bits
and are finite; `false true null`; definite lengths; valid UTF-8; tag 42 only; no trailing bytes; at most
24 levels of arrays and maps, the outermost being the first.

`decode` is the authority. `decode_fast` gives the same verdicts and values: it accepts what the `libipld`
codec (`cbor2`, where that one could be made to ask for too much memory) decodes and `libipld` encodes again to the
same bytes, and asks the authority about everything else. Python's
`1 == 1.0 == True` is not equality of values here: two values are equal when their encodings are.

DAG-CBOR specification: https://ipld.io/specs/codecs/dag-cbor/spec/; CBOR is RFC 8949.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import repeat
from math import isfinite
from operator import sub
from struct import Struct, pack, unpack
from typing import Any, Final, TypeAlias

import cbor2
import libipld

from debros.blocks import cid

Value: TypeAlias = "bool | int | float | str | bytes | cid.Link | list[Any] | dict[str, Any] | None"

MAX_DEPTH: Final = 24
_FLOAT_HEAD: Final = 0xFB
_LINK_HEAD: Final = b"\xd8\x2a"
_LINK_FIRST: Final = _LINK_HEAD[0]
_NEGATIVE_ZERO: Final = bytes.fromhex("fb8000000000000000")
_LINK_BODY: Final = 37  # a zero byte, then 36 bytes of CID
# what any link begins with that the extension would take, canonical or not; other bytes meet it once in 10**8
_LINK: Final = re.compile(rb"\xd8\x2a(?:[\x40-\x57]|\x58.|\x59..|\x5a.{4}|\x5b.{8})\x00", re.DOTALL)
_CONTAINER_HEADS: Final = bytes(range(0x80, 0xC0))  # each array and map begins with one of these bytes
_LONG_HEADS: Final = bytes.fromhex("999a9bb9babb")  # those with a length of two bytes and more
_SHORT_HEADS: Final = tuple(bytes((initial,)) for initial in range(256))
_HEAD_2: Final = Struct(">BH").pack
_HEAD_4: Final = Struct(">BI").pack
_HEAD_8: Final = Struct(">BQ").pack
_TOGETHER: Final = 64  # items that are checked at once: what they decode to stays in a processor's cache
_SMALL: Final = 2048  # bytes: what is no longer cannot ask for much, however deep it is
_MODEST_ITEMS: Final = 1 << 21
_SIMPLE: Final = {0xF4: False, 0xF5: True, 0xF6: None}


class _NoTags(dict[int, Any]):
    """Decoders of tags, for a codec that would otherwise make dates, sets and shared values of them."""

    def __missing__(self, tag: int) -> Any:
        raise ValueError(f"tag {tag}")


_NO_TAGS: Final = _NoTags()


def decode(data: bytes) -> Value:
    """Decode one canonical DAG-CBOR document.

    Raises:
        ValueError: the bytes are not the canonical form of any value.
    """
    value, end = _item(data, 0, 0)
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes behind the value")
    return value


def decode_fast(data: bytes) -> Value:
    """Decode like `decode`, several times faster where the value holds no link.

    Raises:
        ValueError: as for `decode`.
    """
    # A link would come back as bytes, so documents that may hold one go to the authority. `Exception` is what
    # the extensions raise for bad input; whatever they think, the authority has the word.
    # One byte is looked for the quickest.
    if _LINK_FIRST not in data or _LINK_HEAD not in data or _LINK.search(data) is None:
        try:
            if _is_modest(data):
                value = libipld.decode_dag_cbor(data)
                is_good = is_shallow(data) or _depth_is_good(value)
            else:  # slower, but it makes no room for what it has not seen, and keeps to a depth
                depth = MAX_DEPTH - 1  # it does not count an empty one at the end
                value = cbor2.loads(data, max_depth=depth, allow_indefinite=False, semantic_decoders=_NO_TAGS)
                is_good = True
            if is_good and libipld.encode_dag_cbor(value) == data:
                return value  # type: ignore[no-any-return]  # untyped extension
        except Exception:  # noqa: S110 - the authority below decides, and raises
            pass
    return decode(data)


def cut_alike(region: bytes, start: bytes) -> list[bytes] | None:
    """Cut the items of an array, one behind the other, where something stands with which all of them begin.

    Returns:
        Pieces that are `region` if they are joined: its items, if each `is_inner`, or if they are known to be canonical
        and each decodes. `None`: it does not begin so, or holds what may be a link.
    """
    rests = region.split(start)
    if rests.pop(0) or _LINK.search(region) is not None:
        return None
    return [start + rest for rest in rests]


def is_inner(data: bytes) -> bool:
    """Whether this is surely a canonical document that may stand in the second level of another, and holds no link.

    A large document is checked part by part so that nothing in it can promise much: as a whole, it would go to a slow
    codec where its text or floats hold bytes that might be the heads of long arrays. A false answer says nothing.
    """
    try:
        if not _is_modest(data):
            return False
        value = libipld.decode_dag_cbor(data)
        if libipld.encode_dag_cbor(value) != data:
            return False
        containers = len(data) - len(data.translate(None, _CONTAINER_HEADS))
        return containers <= MAX_DEPTH - 2 or _depth_is_good([[value]])
    except Exception:  # whatever the extensions think, the authority has the word
        return False


def are_inner(items: list[bytes]) -> bool:
    """Whether each of these `is_inner`, asked of some together where all are small."""
    if max(map(len, items), default=0) >= _SMALL:
        return all(map(is_inner, items))
    for at in range(0, len(items), _TOGETHER):
        some = items[at : at + _TOGETHER]
        kept = map(bytes.translate, some, repeat(None), repeat(_CONTAINER_HEADS))
        try:
            is_good = (
                max(map(sub, map(len, some), map(len, kept))) <= MAX_DEPTH - 2
                and list(map(libipld.encode_dag_cbor, map(libipld.decode_dag_cbor, some))) == some
            )
        except Exception:  # as above
            is_good = False
        if not is_good and not all(map(is_inner, some)):
            return False
    return True


def may_hold_links(data: bytes) -> bool:
    """Whether bytes look like a link somewhere, though it may be in the middle of others; if not, there is none."""
    return _LINK_FIRST in data and _LINK_HEAD in data and _LINK.search(data) is not None


def decode_known(data: bytes) -> Value:
    """Decode a document that `decode` or `decode_fast` took before, and whose digest says that it is the same."""
    # links would come back as bytes, and -0.0 as 0.0
    if _NEGATIVE_ZERO not in data and not may_hold_links(data):
        return libipld.decode_dag_cbor(data)  # type: ignore[no-any-return]  # untyped extension
    return decode(data)


def decoder_of_cut(data: bytes) -> Callable[[bytes], Value]:
    """Return what decodes the pieces of `cut_alike`, like `decode_known`: these bytes, in which they stand, are searched once.

    Such pieces hold no link.
    """
    return decode_known if _NEGATIVE_ZERO in data else libipld.decode_dag_cbor


def encode(value: object) -> bytes:
    """Encode a value in canonical form. Tuples are written as arrays.

    Raises:
        ValueError: the value has a type, size, key or depth that has no canonical form.
    """
    parts: list[bytes] = []
    _write(value, parts, 0)
    return b"".join(parts)


def key_order(key: str) -> tuple[int, bytes]:
    """Sort key of map keys: (UTF-8 length, bytes)."""
    raw = key.encode()
    return len(raw), raw


def is_shallow(data: bytes) -> bool:
    """Is this canonical document surely no deeper than `MAX_DEPTH`? Cheap, and a false answer says nothing."""
    return len(data) - len(data.translate(None, _CONTAINER_HEADS)) <= MAX_DEPTH


def head(major: int, argument: int) -> bytes:
    """Return the head of a data item: major type 0..7 and its argument in the shortest form."""
    if argument < 24:
        return _SHORT_HEADS[major << 5 | argument]
    if argument < 0x100:
        return bytes((major << 5 | 24, argument))
    if argument < 0x10000:
        return _HEAD_2(major << 5 | 25, argument)
    if argument < 0x100000000:
        return _HEAD_4(major << 5 | 26, argument)
    return _HEAD_8(major << 5 | 27, argument)


def _item(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    try:
        initial = data[at]
    except IndexError:
        raise ValueError("the bytes end inside a value") from None
    if initial in _SIMPLE:
        return _SIMPLE[initial], at + 1
    if initial == _FLOAT_HEAD:
        return _float(data, at + 1)
    major = initial >> 5
    if major == 7:
        raise ValueError(f"simple value or short float at byte {at}")
    argument, at = _argument(data, at)
    if major == 0:
        return argument, at
    if major == 1:
        return -1 - argument, at
    if major == 2:
        return _take(data, at, argument), at + argument
    if major == 3:
        return _take(data, at, argument).decode(), at + argument  # UnicodeDecodeError is a ValueError
    if major == 6:
        return _link(data, at, argument)
    if depth == MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} levels")
    if argument > len(data) - at:  # an item has at least one byte: no bomb of empty promises
        raise ValueError(f"{argument} items promised, {len(data) - at} bytes left")
    return _array(data, at, argument, depth + 1) if major == 4 else _map(data, at, argument, depth + 1)


def _argument(data: bytes, at: int) -> tuple[int, int]:
    info = data[at] & 31
    if info < 24:
        return info, at + 1
    if info > 27:
        raise ValueError(f"indefinite or reserved length at byte {at}")
    size = 1 << (info - 24)
    argument = int.from_bytes(_take(data, at + 1, size), "big")
    if argument < (24, 0x100, 0x10000, 0x100000000)[info - 24]:
        raise ValueError(f"integer or length at byte {at} is not in its shortest form")
    return argument, at + 1 + size


def _take(data: bytes, at: int, size: int) -> bytes:
    taken = data[at : at + size]
    if len(taken) != size:
        raise ValueError("the bytes end inside a value")
    return taken


def _float(data: bytes, at: int) -> tuple[float, int]:
    number: float = unpack(">d", _take(data, at, 8))[0]
    if not isfinite(number):
        raise ValueError("a float that is not finite")
    return number, at + 8


def _link(data: bytes, at: int, tag: int) -> tuple[cid.Link, int]:
    if tag != 42:
        raise ValueError(f"tag {tag}")
    end = at + 2 + _LINK_BODY
    body = data[at:end]
    if body[:3] != b"\x58\x25\x00":
        raise ValueError("tag 42 without a CID of 36 bytes")
    return cid.from_bytes(body[3:]), end


def _array(data: bytes, at: int, size: int, depth: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    for _ in range(size):
        value, at = _item(data, at, depth)
        items.append(value)
    return items, at


def _map(data: bytes, at: int, size: int, depth: int) -> tuple[dict[str, Any], int]:
    items: dict[str, Any] = {}
    last = (-1, b"")
    for _ in range(size):
        if at >= len(data) or data[at] >> 5 != 3:
            raise ValueError("a map key that is not text")
        length, start = _argument(data, at)
        raw = _take(data, start, length)
        if (length, raw) <= last:
            raise ValueError(f"map key {raw[:40]!r} out of order")
        last = (length, raw)
        value, at = _item(data, start + length, depth)
        items[raw.decode()] = value
    return items, at


def _write(value: object, parts: list[bytes], depth: int) -> None:
    kind = type(value)
    if kind is str:
        raw = value.encode()  # type: ignore[attr-defined]  # narrowed by `kind`; lone surrogates raise ValueError
        parts += (head(3, len(raw)), raw)
    elif kind is int:
        parts.append(_integer(value))  # type: ignore[arg-type]
    elif value is None or kind is bool:
        parts.append(b"\xf6" if value is None else b"\xf5" if value else b"\xf4")
    elif kind is float:
        if not isfinite(value):  # type: ignore[arg-type]
            raise ValueError("a float that is not finite")
        parts.append(pack(">Bd", _FLOAT_HEAD, value))
    elif kind is bytes:
        parts += (head(2, len(value)), value)  # type: ignore[arg-type]
    elif kind is cid.Link:
        parts += (_LINK_HEAD, b"\x58\x25\x00", cid.to_bytes(value.digest, value.codec))  # type: ignore[attr-defined]
    elif kind is list or kind is tuple or kind is dict:
        if depth == MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels")
        _write_container(value, parts, depth + 1)
    else:
        raise ValueError(f"{kind.__name__} has no canonical form")


def _write_container(value: Any, parts: list[bytes], depth: int) -> None:
    if type(value) is not dict:
        parts.append(head(4, len(value)))
        for item in value:
            _write(item, parts, depth)
        return
    parts.append(head(5, len(value)))
    if not all(type(key) is str for key in value):
        raise ValueError("a map key that is not text")
    for _, raw, key in sorted((*key_order(key), key) for key in value):
        parts += (head(3, len(raw)), raw)
        _write(value[key], parts, depth)


def _integer(value: int) -> bytes:
    if not -(2**64) <= value < 2**64:
        raise ValueError(f"integer beyond 64 bits: {value}")
    return head(0, value) if value >= 0 else head(1, -1 - value)


def _is_modest(data: bytes) -> bool:
    """Whether the arrays and maps that may begin in `data` promise, all together, a bearable number of items.

    The extension makes room for what a head promises before it looks at the items, and knows no limit of 24
    levels: a document of 1 MiB could ask for gigabytes.
    """
    size = len(data)
    return size < _SMALL or (size - len(data.translate(None, _LONG_HEADS))) * min(size, 1 << 17) <= _MODEST_ITEMS


def _depth_is_good(value: object) -> bool:
    level: list[Any] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        level = [
            item
            for container in level
            for item in (container.values() if type(container) is dict else container)
            if type(item) is dict or type(item) is list
        ]
        if not level:
            return True
    return False
