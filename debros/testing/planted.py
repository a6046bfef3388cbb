"""Bugs to plant: each breaks one law on purpose, and a storm must find it, or the storm proves nothing.

with planted("skip signature"):
storm(seed)          # raises `Broken`, for some of the first seeds
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple
from unittest import mock

from debros.blocks.logfile import LogFile
from debros.errors import EntryRefusedError, FutureError, OrphanError
from debros.identity.certificate import Certificate
from debros.log import gate
from debros.log.entry import Header, parse_header
from debros.log.manifest import Manifest
from debros.replica import receive as receiving
from debros.replica import replica as replicas
from debros.replica.cells import Document
from debros.replica.store import Store
from debros.sync import serving
from debros.sync import sync as syncing
from debros.sync.held import Held, Pool


class Bug(NamedTuple):
    """Something to replace, and by what; several pairs belong together."""

    target: Any
    name: str
    other: Callable[..., Any]


def _append_unsynced(store: Store, blocks: list[Any], parts: Any) -> list[int]:
    return store.log.append(blocks, durable=False)


def _tie_by_arrival(document: Document, clock: int, tie: Any, other_clock: int, other_tie: Any) -> bool:
    return clock >> 28 >= other_clock >> 28  # who writes within four seconds of another


def _no_check(*_: Any) -> None:
    return None


def _read_any_log(header_raw: bytes, log: Any, digest: bytes | None = None) -> Header:
    return parse_header(header_raw)


def _anybody(author: bytes, certificates: Sequence[Certificate], manifest: Manifest) -> bytes:
    return certificates[0].by if certificates and certificates[0].may == "device" else author


_check_place = gate.check_place


def _before_parents(header: Header, log: Any) -> bytes:
    try:
        return _check_place(header, log)
    except OrphanError:
        return _anybody(header.author, header.certificates, log.manifest)


def _refuse_by_clock(header: Header, now_ms: int) -> None:
    try:
        _check_time(header, now_ms)
    except FutureError as error:
        raise EntryRefusedError(str(error)) from error


_check_time = gate.check_time


def _any_chain(header: Header, log: Any) -> bytes:
    found = [log.entry(parent) for parent in header.parents()]
    if None in found:
        raise OrphanError("parents are missing", tuple(header.parents()))
    return _anybody(header.author, header.certificates, log.manifest)


def _never_known(batch: Any, digest: bytes) -> None:
    return None


def _drop_orphan(pool: Pool, held: Held) -> None:
    _refused_for_ever.add(held.digest)


_refused_for_ever: set[bytes] = set()
_lacking = syncing.Sync.lacking
_all_judged = syncing.Sync.all_judged


def _forgets_dropped(sync: Any, replica: Any, digests: Any) -> set[bytes]:
    return _lacking(sync, replica, digests) - _refused_for_ever


def _dropped_are_judged(sync: Any, replica: Any, heads: Sequence[bytes]) -> bool:
    return _all_judged(sync, replica, [head for head in heads if head not in _refused_for_ever])


def _equal_by_count(heads: Any) -> bytes:
    return len(heads).to_bytes(32, "big")


_admit = replicas.Replica._admit


def _last_change_only(replica: Any, entry: Any, parents: Any, changes: Any, *rest: Any, **how: Any) -> None:
    kept = [change for change in changes if entry.digest[0] % 4]
    _admit(
        replica, entry, parents, kept if replica.manifest.scope == "global" and not entry.e % 3 else changes, *rest, **how
    )  # fmt: skip


def _counts_twice(replica: Any, entry: Any, parents: Any, changes: Any, *rest: Any, **how: Any) -> None:
    _admit(replica, entry, parents, changes, *rest, **how)
    if entry.e % 5 == 0:
        for change in changes:
            model = replica._store.models.get(change.model)
            if model is not None and change.row is None and "inc" in change.value:
                replica.fold(model, change, entry)


def _keeps_old_heads(replica: Any, entry: Any, parents: Any, changes: Any, *rest: Any, **how: Any) -> None:
    _admit(replica, entry, [parent for parent in parents if parent[0] & 3], changes, *rest, **how)


def _truncating(log: LogFile, blocks: Any, *, durable: bool) -> list[int]:
    return log._tail.append(blocks, durable=durable and log._tail.end % 4 == 0)


PLANTED: Final[dict[str, list[Bug]]] = {
    "acknowledge before sync": [Bug(Store, "_append", _append_unsynced)],
    "sync now and then": [Bug(LogFile, "append", _truncating)],
    "tie by arrival": [Bug(Document, "_after", _tie_by_arrival)],
    "skip signature": [Bug(gate, "check_signature", _no_check)],
    "skip log id": [Bug(gate, "read", _read_any_log)],
    "skip rights": [Bug(gate, "user_of_chain", _anybody)],
    "skip chain": [Bug(gate, "check_place", _any_chain)],
    "apply before parents": [Bug(gate, "check_place", _before_parents)],
    "refuse by local clock": [Bug(gate, "check_time", _refuse_by_clock)],
    "admit what is known": [
        Bug(receiving._Log, "entry", lambda log, digest: None if digest in log._offered and digest not in
            {admission.header.digest for _, admission, *_ in log.accepted} else log._replica.entry(digest)
            or log._known.get(digest)),
    ],
    "drop orphans": [
        Bug(Pool, "add", _drop_orphan), Bug(syncing.Sync, "lacking", _forgets_dropped),
        Bug(syncing.Sync, "all_judged", _dropped_are_judged),
    ],
    "equal by count of heads": [Bug(serving, "print_of", _equal_by_count)],
    "lose a change": [Bug(replicas.Replica, "_admit", _last_change_only)],
    "count twice": [Bug(replicas.Replica, "_admit", _counts_twice)],
    "keep old heads": [Bug(replicas.Replica, "_admit", _keeps_old_heads)],
}  # fmt: skip


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Plant a bug for the block."""
    _refused_for_ever.clear()
    patches = [mock.patch.object(bug.target, bug.name, bug.other) for bug in PLANTED[name]]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in reversed(patches):
            patch.stop()
