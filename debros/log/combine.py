"""Two changes of one document become one, for an entry holds at most one per document.

A transaction that writes a document again joins the new change to the one it has. `own` stands for the digest of
the entry that is not signed yet: it is the dot of what the transaction itself adds and keeps, as its own reads
show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from debros.blocks import dagcbor
from debros.errors import TooLargeError
from debros.log.forms import INT_MAX, INT_MIN, MAX_DOTS

Change: TypeAlias = Mapping[str, Any]


def combine(first: Change, second: Change, own: bytes) -> dict[str, Any]:
    """Return the one change that does what `first` and then `second` do in one entry.

    Registers take the later value and counters the sum. Where `second` ends a value under the dot `own`, it is
    one that `first` adds, so it is just not added; what it keeps instead of `own` replaces what `first` keeps.

    Raises:
        TooLargeError: increments whose sum leaves 64 bits, or more than 256 dots of one value.
    """
    made = {
        "put": {**first.get("put", {}), **second.get("put", {})},
        "inc": _sums(first.get("inc", {}), second.get("inc", {})),
        "add": _adds(first.get("add", {}), second, own),
        "rem": _rems(first.get("rem", {}), second.get("rem", {}), own),
        "keep": _keeps(first.get("keep", {}), second.get("keep", {}), own),
    }
    made = {key: fields for key, fields in made.items() if fields}
    live = second.get("live", first.get("live"))
    return made if live is None else {**made, "live": live}


def _sums(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    sums = dict(first)
    for field, more in second.items():
        sums[field] = total = sums.get(field, 0) + more
        if not INT_MIN <= total <= INT_MAX:
            raise TooLargeError(f"the increments of {field!r} in one entry sum to {total}, beyond 64 bits")
    return sums


def _adds(first: Mapping[str, list[Any]], second: Change, own: bytes) -> dict[str, list[Any]]:
    added = {field: {dagcbor.encode(value): value for value in values} for field, values in first.items()}
    for field, ends in second.get("rem", {}).items():
        for value, dots in ends:
            if own in dots and field in added:
                added[field].pop(dagcbor.encode(value), None)
    for field, values in second.get("add", {}).items():
        added.setdefault(field, {}).update((dagcbor.encode(value), value) for value in values)
    return {field: [value for _, value in sorted(values.items())] for field, values in added.items() if values}


def _rems(first: Mapping[str, list[Any]], second: Mapping[str, list[Any]], own: bytes) -> dict[str, list[Any]]:
    ended: dict[str, dict[bytes, tuple[Any, set[bytes]]]] = {}
    for fields in (first, second):
        for field, ends in fields.items():
            for value, dots in ends:
                of_value = ended.setdefault(field, {}).setdefault(dagcbor.encode(value), (value, set()))
                of_value[1].update(dots)
    rems = {
        field: [[value, _sorted(dots - {own}, field)] for value, dots in values.values() if dots - {own}]
        for field, values in ended.items()
    }
    return {field: ends for field, ends in rems.items() if ends}


def _keeps(first: Mapping[str, list[Any]], second: Mapping[str, list[Any]], own: bytes) -> dict[str, list[Any]]:
    kept = dict(first)
    for field, (value, dots) in second.items():
        before = first[field][1] if field in first else ()
        kept[field] = [value, _sorted({*before, *dots} - {own}, field)]
    return kept


def _sorted(dots: Iterable[bytes], field: str) -> list[bytes]:
    listed = sorted(dots)
    if len(listed) > MAX_DOTS:
        raise TooLargeError(f"one entry ends {len(listed)} dots of a value of {field!r}; {MAX_DOTS} are allowed")
    return listed
