"""What a save, a delete or an increment asks of the log, before it is signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from debros.replica.tables import Row


@dataclass(slots=True)
class Draft:
    """One change of one document, by wire names and wire values.

    `create` of a living id is a `UniqueError`; of a deleted one it starts again from these values. `update` of
    a document that is deleted or was never created is a `NotFoundError`; `delete` of such a one does nothing.
    `rem` names values only: the dots they have in `base`, the row the record was loaded from, are what ends; so a value
    that somebody added since stays. In `keep`, likewise, the values shown by `base` are what is replaced.
    """

    kind: Literal["create", "update", "delete", "restore", "increment"]
    id: str
    put: dict[str, Any] | None = None
    inc: dict[str, int] | None = None
    add: dict[str, list[Any]] | None = None
    rem: dict[str, list[Any]] | None = None
    keep: dict[str, Any] | None = None
    base: Row | None = None  # what the writer saw; None for a create
    if_unchanged: bool = False  # ConflictError when the newest entry is not that of `base`
    fresh: bool = False  # the id was generated just now, so nothing can be there
    # of a create of good values: what to write where nothing is there; of an update: what `put` alone comes to
    change: dict[str, Any] | None = None
    columns: tuple[Any, ...] | None = None  # and the columns of its fields, as the fold would make them
