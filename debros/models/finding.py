"""Records that are not found by their ids: a node that holds some of a model's shards cannot say that there are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from debros.models.ports import Collection


def must_be_here(home: Collection, ids: Sequence[str]) -> None:
    """Refuse to say that there are no records with these ids where the shards that may have them are not held.

    Raises:
        PartialResultError: some of these shards are not here.
    """
    if home.is_partial and ids:
        from debros.query.catalog import columns
        from debros.query.routing import logs_of

        asked = columns(home.schema)
        logs_of(home, None, asked, asked.id.in_(ids), partial=False)
