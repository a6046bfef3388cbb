"""Ids of new records: UUIDv7 in text (RFC 9562), ordered by time of making, also within one millisecond.

The bits beside the time are random in the first id of a millisecond; the following ones add a random step of up
to 2^32 (RFC 9562, section 6.2, method 2), so the ids of a process rise strictly and stay unguessable. Time and
randomness are the node's where one is current, so a simulated world makes the same ids from the same seed.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from struct import Struct
from threading import Lock
from typing import Final
from weakref import WeakKeyDictionary

from debros import current
from debros.env import SYSTEM, Env
from debros.errors import FieldError, ValidationError

_STEPS: Final = Struct("<1024I")
_FIRST: Final = 0x8000000000000000  # variant 10, then 62 random bits; those of a millisecond begin in the lower half
_END: Final = 0xC000000000000000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class IdSource:
    """Rising ids from one environment's clock and randomness. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._ms = -1
        self._prefix = ""
        self._low = _FIRST
        self.forget_randomness()

    def forget_randomness(self) -> None:
        """Drop what was drawn ahead: a forked child must not repeat its parent's ids."""
        self._steps: list[int] = []

    def _begin(self, env: Env, ms: int) -> None:
        drawn = int.from_bytes(env.random_bytes(10), "big")
        text = f"{ms:012x}"
        self._ms = ms
        self._prefix = f"{text[:8]}-{text[8:]}-7{drawn >> 68:03x}-"
        self._low = _FIRST | (drawn & 0x1FFFFFFFFFFFFFFF)

    def next(self, env: Env) -> str:
        """Return the next id, greater than every earlier one of this source."""
        with self._lock:
            return self._next(env, env.now_us() // 1000)

    def several(self, env: Env, count: int) -> list[str]:
        """Return the next ids, rising, all of this moment."""
        with self._lock:
            ms = env.now_us() // 1000
            return [self._next(env, ms) for _ in range(count)]

    def _next(self, env: Env, ms: int) -> str:
        if ms > self._ms:
            self._begin(env, ms)
        else:  # the same millisecond, or a clock that went back
            if not self._steps:
                self._steps = list(_STEPS.unpack(env.random_bytes(_STEPS.size)))
            self._low += 1 + self._steps.pop()
            if self._low >= _END:
                self._begin(env, self._ms + 1)
        low = f"{self._low:x}"  # of 16 digits
        return f"{self._prefix}{low[:4]}-{low[4:]}"


_system = IdSource()
_others: WeakKeyDictionary[Env, IdSource] = WeakKeyDictionary()  # of simulated worlds
os.register_at_fork(after_in_child=_system.forget_randomness)


def current_env() -> Env:
    """Return the environment of the node that the running task means, else the system's."""
    node = current.context().node
    if node is not None:
        return node.env
    opened = current.open_nodes
    return opened[0].env if len(opened) == 1 else SYSTEM


def new_id() -> str:
    """Return a new UUIDv7 in text, by the current node's clock, the system's where none is."""
    env = current_env()
    return _source(env).next(env)


def new_ids(count: int) -> list[str]:
    """Return as many new ids, rising: at a third of the price of one by one."""
    env = current_env()
    return _source(env).several(env, count)


def _source(env: Env) -> IdSource:
    if env is SYSTEM:
        return _system
    source = _others.get(env)
    if source is None:
        source = _others[env] = IdSource()
    return source


def now() -> datetime:
    """Return the time in UTC to the microsecond: the current node's wall clock, the process's where none is."""
    return _EPOCH + timedelta(microseconds=current_env().now_us())


_GOOD: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f/~\ud800-\udfff]+")


def refuse_no_text(model: str, *ids: object) -> None:
    """Refuse what no record could have as its id.

    Raises:
        ValidationError: one of these is no text.
    """
    for id in ids:
        if not isinstance(id, str):
            raise ValidationError(model, (FieldError("id", id, "id", f"an id is text, not {type(id).__name__}"),))


def flaw_of(id: object, suffix: str) -> str | None:
    """Return what is wrong with a given id, `None` if nothing is.

    Args:
        id: what was given.
        suffix: what it must end in, from the model's `write=`: nothing, `~<tag>` or `~admin`.
    """
    if not isinstance(id, str):
        return f"an id is text, not {type(id).__name__}"
    if not id.endswith(suffix):
        return f"the model's write= wants an id that ends in {suffix!r}, so that its writer is known"
    bare = id[: len(id) - len(suffix)]
    if not _GOOD.fullmatch(bare):
        return "an id is 1 to 128 bytes without control characters, '/' and '~'"
    if len(id.encode()) > 128:
        return f"an id is at most 128 bytes, this one has {len(id.encode())}"
    return None
