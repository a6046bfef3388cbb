"""New documents of a model, by functions that are made for it once: values -> change and columns, change -> row.

What is known when a model is declared (which field stands where, which converts, which merges) is written out as
source, as `dataclasses` does, so that a create walks no lists. In the source stand positions, and names of fields, which
are identifiers (`debros.schema.NAME`) and are quoted all the same; functions are handed in, values never.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import libipld

from debros.blocks import dagcbor
from debros.log.forms import INT_MAX, INT_MIN
from debros.replica.tables import OUT_OF_BOUNDS, WRONG_SHARD, Row, to_column
from debros.schema import Codec, FieldSpec
from debros.values.composites import encode_sorted, sorted_texts
from debros.values.scalars import EARLIEST, LATEST, TEXT

# of which the type of a wire value alone tells that it is good
_TYPES: Final = {"text": "str", "float": "float", "bytes": "bytes", "bool": "bool"}
_RANGES: Final = {"int": (INT_MIN, INT_MAX), "instant": (EARLIEST, LATEST)}  # of those that are integers
# what a row has behind its fields, in the order of `SYSTEM`
_KEPT: Final = ("log", "e", "None", "flags", "version", "doc", "hidden", "clock", "e", "clock", "by")
_BEYOND: Final = (
    ("ge", "v{} <"), ("gt", "v{} <="), ("le", "v{} >"), ("lt", "v{} >="), ("min_length", "len(v{}) <"), ("max_length", "len(v{}) >"),
)  # fmt: skip
_FLAT: Final = frozenset(
    {"text", "int", "float", "bool", "instant", "duration", "date", "time", "decimal", "uuid", "choice"}
)


def new_document(
    fields: Sequence[FieldSpec],
) -> Callable[[dict[str, Any]], tuple[dict[str, Any], tuple[Any, ...] | None]]:
    """Return the function from a new record's checked values, by attribute, to its change and the columns of its fields.

    The change has all fields but empty sets and zeros. The columns are those that the fold makes of the change, good and within
    bounds; `None` where that is not sure: sets that a column does not hold to the bit, and patterns, which are asked again,
    for pydantic's expressions are not Python's.
    """
    given: dict[str, Any] = {}
    lines = ["def made(own):"]
    for at, spec in enumerate(fields):
        value, convert = f"own[{spec.name!r}]", spec.codec.to_wire
        if convert is not None:
            given[f"to_wire_{at}"] = convert
            if spec.merge == "set":  # an empty one, or null, reads as a set without a cell
                value = f"to_wire_{at}(v) if (v := {value}) else []"
            else:
                value = _unless_null(f"to_wire_{at}", value, spec)
        lines += [f"    v{at} = {value}"]
    parts = ["'live': True"]
    for key, merge, form in (("put", "lww", "v{0}"), ("keep", "keep", "[v{0}, []]")):
        some = [f"{spec.wire!r}: {form.format(at)}" for at, spec in enumerate(fields) if spec.merge == merge]
        parts += [f"{key!r}: {{{', '.join(some)}}}"] if some else []
    lines += [f"    change = {{{', '.join(parts)}}}"]
    for key, merge in (("inc", "counter"), ("add", "set")):
        for at, spec in enumerate(fields):
            if spec.merge == merge:
                lines += [f"    if v{at}:", f"        change.setdefault({key!r}, {{}})[{spec.wire!r}] = v{at}"]
    if any(spec.merge == "set" and not is_exact(spec.codec) for spec in fields):
        return _made([*lines, "    return change, None"], given)
    for at, spec in enumerate(fields):
        if spec.bounds is not None and spec.bounds.pattern is not None:
            given[f"search_{at}"] = re.compile(spec.bounds.pattern).search
            lines += [f"    if v{at} is not None and search_{at}(v{at}) is None:", "        return change, None"]
    columns = "".join(f"{_column(at, spec, given)}, " for at, spec in enumerate(fields))
    return _made([*lines, f"    return change, ({columns})"], given)


def rows_in(
    fields: Sequence[FieldSpec],
    beyond: Mapping[int, Callable[[Any], bool]],
    is_in_place: Callable[[int, str, Any], bool] | None,
    key_at: int | None,
) -> Callable[[str, Any, int, int, int, int, int, int, int], Row | None]:
    """Return the function from a document that a peer's change made to its row, as far as fields and the fold's keeping go.

    Args:
        fields: of the model.
        beyond: by place of a field, whether a value of it lies beyond its bounds.
        is_in_place: of a sharded model, whether a log is the one for an id and a key.
        key_at: the place of that key; `None`: the id is the key.

    Returns:
        Of id, change, number of the log, of the entry, version, number of the document, reasons why it does not show, clock,
        and number of the user, the columns of the row. `None` where the change leaves a field out that has to be there,
        knows others, or holds a value that does not show as it is. Nobody needs to have looked at the form of the change: it
        gives a row only where `is_change`.
    """
    given: dict[str, Any] = {"nothing": {}, "sort": encode_sorted, "texts": sorted_texts, "in_place": is_in_place}
    put = [(at, spec) for at, spec in enumerate(fields) if spec.merge == "lww"]
    its = {
        key: [(at, spec) for at, spec in enumerate(fields) if spec.merge == merge]
        for key, merge in (("inc", "counter"), ("add", "set"), ("keep", "keep"))
    }
    unused = ["rem", *(key for key, some in its.items() if not some)]  # what has them all the same goes the long way
    lines = [
        "def made(id, change, log, e, version, doc, hidden, clock, by):",
        "    if type(change) is not dict or change.get('live') is not True:",
        "        return None",
        f"    if {' or '.join(f'{key!r} in change' for key in unused)}:",
        "        return None",
        "    put = change.get('put', nothing)",
        f"    if type(put) is not dict or len(put) != {len(put)}:",
        "        return None",
    ]
    if put:
        lines += ["    try:", *(f"        v{at} = put[{spec.wire!r}]" for at, spec in put)]
        lines += ["    except KeyError:", "        return None"]
        lines += [f"    if {' or '.join(_does_not_show(at, spec, given) for at, spec in put)}:", "        return None"]
    for part, some in its.items():
        if some:
            lines += [
                f"    {part} = change.get({part!r}, nothing)",
                f"    if type({part}) is not dict:",
                "        return None",
            ]
            lines += [f"    left = len({part})"]
            for at, spec in some:
                lines += _taken(at, spec, given)
            lines += ["    if left:", "        return None"]  # fields that only a newer schema knows
    if is_in_place is not None:
        key = None if key_at is None else f"v{key_at}"
        lines += [f"    if not in_place(log, id, {key}):", f"        hidden |= {WRONG_SHARD}"]
    lines += _flags(fields, beyond, given)
    columns = ", ".join(["id", *(_column(at, spec, given) for at, spec in enumerate(fields)), *_KEPT])
    return _made([*lines, f"    return {columns}"], given)


def _taken(at: int, spec: FieldSpec, given: dict[str, Any]) -> list[str]:
    """Return the lines that take the value of a counter, a merging set or a kept field."""
    wire, refuse = repr(spec.wire), f"if {_does_not_show(at, spec, given)}: return None"
    if spec.merge == "keep":
        taken = [
            f"kept = keep.get({wire})",
            "if type(kept) is not list or len(kept) != 2 or kept[1] != []: return None",
        ]
        return [f"    {line}" for line in ["left -= 1", *taken, f"v{at} = kept[0]", refuse]]
    if spec.merge == "counter":
        key, value, missing = "inc", f"inc[{wire}]", "0"
    elif spec.codec.item is TEXT:
        key, value, missing, refuse = "add", f"texts(add[{wire}])", "[]", f"if v{at} is None: return None"
    else:
        key, value, missing = "add", f"sort(add[{wire}])", "[]"
    lines = [f"if {wire} in {key}:", "    left -= 1"]
    lines += [f"    if type(add[{wire}]) is not list: return None"] if key == "add" else []
    lines += [f"    v{at} = {value}", f"    {refuse}"]
    if spec.merge == "set" and not is_exact(spec.codec):
        given[f"is_kept_{at}"] = lambda wire: to_column(spec.codec, wire) == dagcbor.encode(wire)
        # else -0.0, which the column does not keep, and ends name the very value
        lines += [f"    if not is_kept_{at}(v{at}): return None"]
    return [f"    {line}" for line in [*lines, "else:", f"    v{at} = {missing}"]]


def _does_not_show(at: int, spec: FieldSpec, given: dict[str, Any]) -> str:
    """Return the condition under which a value is not one of its field's type."""
    kind = spec.codec.kind
    given[f"accepts_{at}"] = spec.codec.accepts
    if kind in _TYPES:
        other = f"type(v{at}) is not {_TYPES[kind]}"
    elif kind in _RANGES:
        other = f"type(v{at}) is not int or not {_RANGES[kind][0]} <= v{at} <= {_RANGES[kind][1]}"
    else:
        other = f"not accepts_{at}(v{at})"
    may_be_null = spec.nullable and spec.merge in ("lww", "keep")
    if may_be_null:
        return f"(v{at} is not None and ({other}))"
    return f"(v{at} is None or {other})" if kind not in _TYPES | _RANGES.keys() else other


def _lies_beyond(at: int, spec: FieldSpec, check: Callable[[Any], bool], given: dict[str, Any]) -> str:
    """Return the condition under which a value lies beyond its field's bounds: comparisons, where `check` has no more."""
    bounds = spec.bounds
    if bounds is None or bounds.pattern is not None or spec.codec.to_key is not None:
        given[f"beyond_{at}"] = check
        return f"beyond_{at}(v{at})"
    terms = []
    for name, term in _BEYOND:
        if (limit := getattr(bounds, name)) is not None:
            given[f"{name}_{at}"] = limit
            terms.append(f"{term.format(at)} {name}_{at}")
    return " or ".join(terms)


def is_exact(codec: Codec) -> bool:
    """Whether the column of a set certainly holds its elements to the bit; floats may lose a sign."""
    item = codec.item
    return item is not None and item.kind not in ("float", "list", "set", "tuple", "map", "record", "any")


def _flags(
    fields: Sequence[FieldSpec], beyond: Mapping[int, Callable[[Any], bool]], given: dict[str, Any]
) -> list[str]:
    """Return the lines that find out whether a value lies beyond its bounds."""
    lines = ["    flags = 0"]
    for at, check in beyond.items():
        condition = _lies_beyond(at, fields[at], check, given)
        spec = fields[at]
        is_there = spec.codec.kind in _TYPES | _RANGES.keys() and not spec.nullable
        lines += [f"    if {condition}:" if is_there else f"    if v{at} is not None and ({condition}):"]
        lines += [f"        flags = {OUT_OF_BOUNDS}"]
    return lines


def _column(at: int, spec: FieldSpec, given: dict[str, Any]) -> str:
    if spec.codec.to_column is None:
        return f"v{at}"
    given[f"to_{at}"] = spec.codec.to_column
    return _unless_null(f"to_{at}", f"v{at}", spec)


def encoder_of(fields: Sequence[FieldSpec]) -> Callable[[list[Any]], bytes] | None:
    """Return what encodes the `[model, version, id, change]` of a model's new documents; `None`: only `encode_change` does.

    The extension may take bytes for a link, and knows no depth: numbers and text, and lists of these, have neither.
    """
    return libipld.encode_dag_cbor if all(map(_is_flat, [spec.codec for spec in fields])) else None


def _is_flat(codec: Codec) -> bool:
    if codec.kind in ("set", "list"):
        return codec.item is not None and codec.item.kind in _FLAT
    return codec.kind in _FLAT


def _unless_null(convert: str, value: str, spec: FieldSpec) -> str:
    if spec.nullable or spec.codec.kind == "any":
        return f"None if (v := {value}) is None else {convert}(v)"
    return f"{convert}({value})"


def _made(lines: list[str], given: dict[str, Any]) -> Callable[..., Any]:
    exec("\n".join(lines), given)  # noqa: S102 - of positions and checked names only, see above
    made: Callable[..., Any] = given["made"]
    return made
