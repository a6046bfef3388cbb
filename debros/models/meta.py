"""`record.meta`: what the log knows about a record beside its fields."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast, overload

from debros.errors import ModelError, NotFoundError
from debros.models.options import version_text
from debros.replica.tables import DELETED

if TYPE_CHECKING:
    from debros.models.record import Model
    from debros.query.meta import MetaColumns

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Meta:
    """What the log knows about one record, as of the version that the object holds."""

    created_by: str  # DID of the user
    owner: str | None  # DID of the user who alone may write it
    created_at: datetime  # UTC, by the writer's clock, in milliseconds; in a version of before its creation, when that was written
    updated_at: datetime
    is_deleted: bool
    flagged: bool  # not unique, out of bounds, rewritten, or of another type: through a merge, a peer or a changed declaration
    clock: int  # hybrid clock of the newest entry: milliseconds << 16 + counter
    version: str  # of the schema that wrote the newest entry
    cid: str  # of the newest entry
    address: str  # of the log


class MetaOf:
    """The descriptor behind `Model.meta`."""

    @overload
    def __get__(self, obj: None, owner: type) -> MetaColumns: ...
    @overload
    def __get__(self, obj: object, owner: type) -> Meta: ...
    def __get__(self, obj: object | None, owner: type) -> Any:
        if obj is None:
            return _columns(owner)
        record = cast("Model", obj)
        home = record._home
        return _meta(record) if home is None else home.call(_meta, record)


def _columns(owner: Any) -> MetaColumns:
    from debros.query.meta import MetaColumns  # the query room loads when it is needed

    if owner.__subject__ is None:
        raise ModelError(f"{owner.__name__} has no `@model`, so it cannot be queried")
    names = ("created_by", "owner", "created_at", "updated_at")
    return MetaColumns({name: owner.__subject__.column(f"meta.{name}") for name in names})


def time_of(clock: int) -> datetime:
    """Return the wall time of a hybrid clock, in UTC."""
    return _EPOCH + timedelta(milliseconds=clock >> 16)


def _meta(record: Model) -> Meta:
    row, home = record._row, record._home
    if row is None or home is None:
        raise NotFoundError(type(record).__name__, (record.id,))
    table, row = home.table, home.whole(row)
    facts = home.meta(row)
    return Meta(
        created_by=facts.created_by,
        owner=facts.owner,
        created_at=time_of(row[table.t_at] if row[table.ct_at] is None else row[table.ct_at]),
        updated_at=time_of(row[table.t_at]),
        is_deleted=bool(row[table.hidden_at] & DELETED),
        flagged=bool(row[table.flags_at]),
        clock=row[table.t_at],
        version=version_text(row[table.v_at]),
        cid=facts.cid,
        address=facts.address,
    )
