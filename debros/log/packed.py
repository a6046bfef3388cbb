"""The changes of a large body, left encoded: each is decoded when it is asked for, and forgotten behind it.

A thousand decoded changes take some megabytes. Made all at once, every later look at them waits for memory that has left
the processor's cache; one by one, each is decoded, judged and folded while it is near, in two thirds of the time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from debros.blocks import dagcbor

# how the usual large body goes on behind the head of its map: perhaps `tx`, then `ops`, whose first change is of a model
_USUAL: Final = re.compile(
    rb"(?:\xa2|\xa3\x62tx\x82\x50(.{16})([\x01-\x17]))\x63ops(?:([\x81-\x97])|\x98([\x18-\xff])|\x99([\x01-\xff].))"
    rb"(?=(\x84[\x61-\x77]))",
    re.DOTALL,
)


class PackedOps:
    """The `ops` of a body, decoded anew whenever they are gone through."""

    __slots__ = ("_decode", "_items", "_raw", "model")

    def __init__(self, items: list[bytes], raw: bytes, model: str | None) -> None:
        self._items = items  # joined, they are what stands in the body; each decodes for itself, if they were checked
        self._decode = dagcbor.decoder_of_cut(raw)
        self._raw = raw
        self.model = model  # that all of them name, where they were checked

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        return self._unchecked() if self.model is None else map(self._decode, self._items)

    def _unchecked(self) -> Iterator[Any]:
        n = 0
        try:
            for item in map(self._decode, self._items):
                yield item
                n += 1
        except ValueError:  # cut where a value only looked like the beginning of a change
            body: Any = dagcbor.decode(self._raw)
            yield from body["ops"][n:]  # what was whole before that, stands there too

    def naming(self, text: str) -> Iterator[Any]:
        """Yield at least the items that hold a text."""
        if self.model is None:  # an item that was not checked may be what somebody wrote into a value of another one
            yield from self
            return
        wanted = text.encode()
        for item in self._items:
            if wanted in item:
                yield self._decode(item)


def packed_ops(raw: bytes, end: int, *, known: bool) -> tuple[PackedOps, bytes | None, int] | None:
    """Cut the changes of a large body without acts, all of which begin alike; `None`: decode it whole.

    Args:
        raw: the body.
        end: what stands behind its changes.
        known: whether it was read before, and is surely canonical.

    Returns:
        The changes, the id of the transaction, if it is a part of one, and over how many logs that goes.
    """
    found = _USUAL.match(raw)
    if found is None:
        return None
    name, logs, few, some, many, start = found.groups()
    count = few[0] & 31 if few else int.from_bytes(some or many, "big")
    begin = found.end()
    behind = begin + len(start) + (start[-1] & 31)
    model = raw[begin + 2 : behind]
    start = raw[begin : behind + 2]  # with the version, if it is a small one, and the head of a short id
    items = dagcbor.cut_alike(raw[begin:end], start) if len(start) > 1 else None
    if items is None or len(items) != count or not (known or dagcbor.are_inner(items)):
        return None
    return PackedOps(items, raw, None if known else model.decode()), name, 0 if name is None else logs[0]
