"""Which shard of a model holds a document: a pure function of its key's value, and the names of the shards' logs.

A layout says how many shards there are and how a value finds its own. Its shards' names stand in the manifests of
their logs, so peers that mean the same shard find the same log without asking (docs/format.md, Shards).

Hash shards use jump consistent hash: from n to n + 1 shards 1 / (n + 1) of the keys move (Lamping, Veach, "A Fast,
Minimal Memory, Consistent Hash Algorithm", arXiv:1406.2294, 2014).
"""

from __future__ import annotations

from base64 import b32encode
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import pairwise
from typing import Any, Final, Literal, TypeAlias

from debros.blocks import dagcbor
from debros.log.rights import id_owner
from debros.schema import Codec, ShardSpec

MAX_SHARDS: Final = 1024  # of one layout
MAX_LAYOUTS: Final = 16  # of one model
RANGED: Final = frozenset({"text", "int", "float", "decimal", "instant", "duration", "date", "time"})
Kind: TypeAlias = Literal["hash", "range", "user", "custom"]
Place: TypeAlias = Callable[[str, Any], "int | None"]
"""The shard of a document, given its id and its key's wire value; `None`: none holds such a value."""

_MASK: Final = (1 << 64) - 1
_KEYS: Final = {"hash": {"n"}, "user": {"n"}, "range": {"bounds"}, "custom": {"n", "name"}}


@dataclass(frozen=True, slots=True)
class Layout:
    """How many shards, and how a value finds its own. `bounds` are wire values, n - 1 of them."""

    kind: Kind
    n: int
    bounds: tuple[Any, ...] = ()
    name: str = ""

    def part(self, shard: int) -> str:
        """Return a shard's name, as manifests have it."""
        count = f"{shard}/{self.n}"
        if self.kind == "hash":
            return count
        if self.kind == "range":
            digest = sha256(dagcbor.encode(list(self.bounds))).digest()
            return f"range {count} {b32encode(digest).decode().lower()[:16]}"
        return f"{'user' if self.kind == 'user' else self.name} {count}"

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of all shards."""
        return tuple(map(self.part, range(self.n)))

    def announced(self, seq: int) -> dict[str, Any]:
        """Return the layout as the document that announces it has it; `seq` says which one is newer."""
        form: dict[str, Any] = {"kind": self.kind, "seq": seq}
        if self.kind == "range":
            return {**form, "bounds": list(self.bounds)}
        return {**form, "n": self.n, **({"name": self.name} if self.kind == "custom" else {})}


def declared(spec: ShardSpec) -> Layout:
    """Return the layout that a model declares."""
    return Layout(spec.kind, spec.n, spec.bounds, spec.name)


def read(value: Any, spec: ShardSpec, codec: Codec) -> tuple[int, Layout] | None:
    """Return an announced layout and its `seq`; `None` if it is none, or not of the model's strategy."""
    if type(value) is not dict or value.get("kind") != spec.kind:
        return None
    if value.keys() != {"kind", "seq"} | _KEYS[spec.kind] or value.get("name", "") != spec.name:
        return None
    bounds, seq = value.get("bounds", []), value["seq"]
    if type(seq) is not int or not 0 <= seq < 2**53 or type(bounds) is not list:
        return None
    n = len(bounds) + 1 if spec.kind == "range" else value["n"]
    if type(n) is not int or not 1 <= n <= MAX_SHARDS or not all(map(codec.accepts, bounds)):
        return None
    made = Layout(spec.kind, n, tuple(bounds), spec.name)
    return None if flaw_of_bounds(made.bounds, codec) else (seq, made)


def flaw_of_bounds(bounds: Sequence[Any], codec: Codec) -> str:
    """Return what is wrong with bounds (wire values of the right type), an empty text if nothing is."""
    order = sort_key(codec)
    for one, other in pairwise(bounds):
        if order(one) >= order(other):
            return f"{other!r} follows {one!r}; bounds ascend, each once"
    return ""


def wire_bounds(bounds: Iterable[Any], codec: Codec) -> tuple[Any, ...]:
    """Return the wire values of bounds that a program gave.

    Raises:
        ValueError: the key has no ranges, a bound is of another type than the key, or they do not ascend.
    """
    if codec.kind not in RANGED:
        raise ValueError(f"ranges are of numbers, dates, times and text, not of {codec.name}")
    wires = []
    for bound in bounds:
        if bound is None or not codec.is_operand(bound):
            raise ValueError(f"the bound {bound!r} is not of the key's type, {codec.name}")
        wires.append(bound if codec.to_wire is None else codec.to_wire(bound))
    if len(wires) >= MAX_SHARDS:
        raise ValueError(f"{len(wires)} bounds are too many; a layout has at most {MAX_SHARDS} shards")
    if flaw := flaw_of_bounds(wires, codec):
        raise ValueError(flaw)
    return tuple(wires)


def sort_key(codec: Codec) -> Callable[[Any], Any]:
    """Return the function from a wire value to what sorts like it."""
    return codec.to_key or codec.to_column or _itself


def place(layout: Layout, spec: ShardSpec, codec: Codec) -> Place:
    """Return the function that finds a document's shard in a layout."""
    if layout.kind == "user":
        return partial(_of_owner, layout.n)
    choose = _chooser(layout, spec, codec)
    if spec.key == "id":
        return lambda id, _: choose(id)
    accepts = codec.accepts
    return lambda _, value: choose(value) if value is not None and accepts(value) else None


def _of_owner(n: int, id: str, _: Any) -> int | None:
    owner = id_owner(id)
    return None if owner is None or owner == "admin" else of_hash(owner, n)


def _chooser(layout: Layout, spec: ShardSpec, codec: Codec) -> Callable[[Any], int | None]:
    """Return the function from a good wire value to its shard."""
    n = layout.n
    if layout.kind == "hash":
        return lambda value: of_hash(value, n)
    if layout.kind == "range":
        order = sort_key(codec)
        bounds = [order(bound) for bound in layout.bounds]
        return lambda value: bisect_right(bounds, order(value))
    if spec.choose is None:
        raise ValueError(f"the strategy {spec.name!r} has no function")
    return partial(_chosen, spec.choose, n)


def _chosen(choose: Callable[[Any, int], int], n: int, value: Any) -> int | None:
    """Ask a strategy of the user's; what it raises, or a number that is no shard, means: none."""
    try:
        shard = choose(value, n)
    except Exception:  # whatever user code raises: a document's place must not stop the fold
        return None
    return shard if type(shard) is int and 0 <= shard < n else None


def of_hash(value: Any, n: int) -> int:
    """Return the hash shard, 0..n-1, of a wire value."""
    return jump(int.from_bytes(sha256(dagcbor.encode(value)).digest()[:8], "big"), n)


def jump(key: int, n: int) -> int:
    """Return the bucket, 0..n-1, of a 64-bit key: jump consistent hash."""
    bucket, after = -1, 0
    while after < n:
        bucket = after
        key = (key * 2862933555777941757 + 1) & _MASK
        after = int((bucket + 1) * (float(1 << 31) / float((key >> 33) + 1)))
    return bucket


def _itself(value: Any) -> Any:
    return value
