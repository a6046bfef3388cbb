"""Changes: what an entry says about one document, `[model, version, id, change]`.

The change names its own merge kinds (`put inc add rem keep live`), so the fold needs no schema. A change of
another form than docs/format.md, Changes, states is *skipped*, alone and whole; unknown keys of a change are ignored.
Whether the writer may touch the document is `debros.log.rights`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import libipld

from debros.blocks import dagcbor
from debros.log.combine import combine
from debros.log.forms import is_change, is_id, is_name

__all__ = ["GoodChange", "combine", "encode_change", "good_changes", "only_change"]

GoodChange: TypeAlias = tuple[int, str, int, str, dict[str, Any]]
"""Position in `ops`, model, version, id, change."""


def good_changes(ops: Iterable[Any], *, unformed: bool = False) -> Iterator[GoodChange]:
    """Yield the changes of good form, at most one per document; every other position of `ops` is skipped.

    The first change of a document whose model, version and id are good is the one that counts, and if its form is
    bad, none does. `unformed`: it is yielded before anybody asked `is_change`, for a caller who will.
    """
    seen: set[str] = set()  # ids of the model that the last change was of
    ids_of: dict[str, set[str]] = {}
    last: str | None = None
    for position, item in enumerate(ops):
        if type(item) is not list or len(item) != 4:
            continue
        model, version, id, change = item
        if type(model) is not str or type(version) is not int or version < 0 or type(id) is not str:
            continue
        if model != last:
            if not is_name(model):
                continue
            last, seen = model, ids_of.setdefault(model, set())
        if id in seen or not is_id(id):
            continue
        seen.add(id)
        if unformed or is_change(change):
            yield position, model, version, id, change


def only_change(item: Any) -> GoodChange | None:
    """Return the one item of `ops` as `good_changes` yields it `unformed`, without a generator; `None`: it is skipped."""
    if type(item) is not list or len(item) != 4:
        return None
    model, version, id, change = item
    if type(model) is not str or type(version) is not int or version < 0 or type(id) is not str:
        return None
    return (0, model, version, id, change) if is_name(model) and is_id(id) else None


def encode_change(model: str, version: int, id: str, change: dict[str, Any]) -> bytes:
    """Return the canonical bytes of a change, its maps in any order. -0.0 is written 0.0.

    Raises:
        ValueError: it holds what has no canonical form, or more than 24 levels.
    """
    item = [model, version, id, change]
    # The extension writes -0.0 as 0.0 and refuses links and tuples, but takes some bytes for links.
    try:
        raw: bytes = libipld.encode_dag_cbor(item)
    except (ValueError, RecursionError):
        return dagcbor.encode(_without_negative_zero(item, 0))
    if b"\xd8\x2a" in raw or not dagcbor.is_shallow(raw):
        return dagcbor.encode(_without_negative_zero(item, 0))
    return raw


def _without_negative_zero(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is float:
        return value + 0.0  # -0.0 + 0.0 is 0.0
    if kind is list or kind is tuple or kind is dict:
        if depth == dagcbor.MAX_DEPTH:
            raise ValueError(f"more than {dagcbor.MAX_DEPTH} levels")
        if kind is dict:
            return {key: _without_negative_zero(item, depth + 1) for key, item in value.items()}
        return [_without_negative_zero(item, depth + 1) for item in value]
    return value
