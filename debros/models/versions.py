"""The past of a record: `history`, `blame` and `conflicts`, read from the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from debros.current import check_here
from debros.errors import NotFoundError

if TYPE_CHECKING:
    from debros.models.ports import Collection, Operation, Step
    from debros.models.record import Model
    from debros.sync.receipts import Receipt

R = TypeVar("R")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Version(Generic[R]):
    """What one entry did to a record."""

    kind: Operation
    row: R  # the record as the entry left it
    changes: Mapping[str, tuple[Any, Any]]  # {field: (before, after)}
    author: str  # DID of the user
    at: datetime  # UTC, by the writer's clock
    cid: str  # of the entry


def _home(record: Model) -> Collection:
    if record._row is None or record._home is None:
        raise NotFoundError(type(record).__name__, (record.id,))
    check_here(record._home.node.thread)
    return record._home


def _version(record: Any, home: Collection, step: Step, before: Step | None) -> Version[Any]:
    shape = type(record).__shape__
    now = shape.values_of(step.row)
    old = {} if before is None else shape.values_of(before.row)
    [row] = shape.hydrate([step.row], home)
    return Version(
        kind=step.kind,
        row=row,
        changes={name: (old.get(name), now[name]) for name in step.changed},
        author=step.user,
        at=_EPOCH + timedelta(milliseconds=step.at_ms),
        cid=step.cid,
    )


async def history(record: Any) -> list[Version[Any]]:
    """Return every version of a record, oldest first.

    Raises:
        NotFoundError: the record is not saved.
    """
    home = _home(record)
    steps = await home.history(record._row)
    return [_version(record, home, step, steps[n - 1] if n else None) for n, step in enumerate(steps)]


async def blame(record: Any) -> dict[str, Version[Any]]:
    """Return, for each field, the version that its present value comes from."""
    home = _home(record)
    known = {version.cid: version for version in await history(record)}
    found = await home.blame(record._row)
    return {name: known.get(step.cid) or _version(record, home, step, None) for name, step in found.items()}


async def conflicts(record: Any) -> dict[str, list[Version[Any]]]:
    """Return, for each field, the versions whose concurrent values lost; fields without any are left out."""
    home = _home(record)
    found = await home.conflicts(record._row)
    if not found:
        return {}
    known = {version.cid: version for version in await history(record)}
    return {
        name: [known.get(step.cid) or _version(record, home, step, None) for step in steps]
        for name, steps in found.items()
    }


async def settled(record: Any, replicas: int, timeout_s: float | None) -> list[Receipt]:
    """Return receipts for a record's newest entry from so many peers.

    Raises:
        NotFoundError: the record is not saved.
        TransactionError: it was written in the transaction that this is in.
        DeadlineError: not within `timeout_s`.
    """
    return await _home(record).settled(record._row, replicas, timeout_s)
