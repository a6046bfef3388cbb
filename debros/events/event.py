"""An event: what one entry did to one record, as a subscriber gets it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from debros.blocks import cid
from debros.events import cursor
from debros.events.happenings import Kind
from debros.identity.did import did_of
from debros.log import clock

if TYPE_CHECKING:
    from debros.events.happenings import Happening
    from debros.replica.entries import EntryRow
    from debros.shards.collection import Collection

R = TypeVar("R")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Event(Generic[R]):
    """One thing that an entry did. What costs something to make is made when it is asked for."""

    def __init__(
        self, happening: Happening, entry: EntryRow, home: Collection, hydrate: Callable[..., list[R]],
        origin: Literal["local", "remote"], mark: bytes,
    ) -> None:  # fmt: skip
        self.kind: Kind = happening.kind
        self.model = happening.model
        self.id = happening.id
        self.origin = origin  # whether a key of this home wrote it
        self._happening = happening
        self._entry = entry
        self._home = home
        self._hydrate = hydrate
        self._mark = mark

    @cached_property
    def row(self) -> R | None:
        """The record as the entry left it; `None` when it is gone."""
        after = self._happening.after
        return None if after is None else self._hydrate([after], self._home)[0]

    @cached_property
    def changes(self) -> Mapping[str, tuple[Any, Any]]:
        """`{field: (before, after)}`; of a conflict: (the value that lost, the value that shows)."""
        found: dict[str, tuple[Any, Any]] = {}
        specs = self._home.schema.by_name
        for name, (old, new) in self._happening.values.items():
            decode = specs[name].codec.from_column if name in specs else None
            if decode is not None:
                old, new = None if old is None else decode(old), None if new is None else decode(new)
            found[name] = (old, new)
        return found

    @property
    def fields(self) -> frozenset[str]:
        """The names of the fields that changed."""
        return frozenset(self._happening.values)

    @property
    def author(self) -> str:
        """DID of the user who wrote it."""
        return did_of(self._entry.user)

    @property
    def owner(self) -> str:
        """DID of whose record it is: of the log's owner, in user scope, else of who created the record."""
        row = self._happening.after or self._happening.before
        assert row is not None, "an event is about a record that shows, or did"
        return self._home.meta(row).owner or self._home.meta(row).created_by

    @property
    def at(self) -> datetime:
        """When it was written, by the writer's clock, in UTC."""
        return _EPOCH + timedelta(milliseconds=clock.ms(self._entry.clock))

    @property
    def cid(self) -> str:
        """CID of the entry."""
        return cid.to_text(self._entry.digest)

    @property
    def cursor(self) -> str:
        """Where to go on: `since=event.cursor` begins with the event behind this one. Also a name for the event."""
        return cursor.write(self._mark, self._entry, self._happening.nth)

    @property
    def order(self) -> tuple[int, int]:
        """Where it stands among the events of all models of this node, in this session."""
        return self._entry.e, self._happening.nth

    def __repr__(self) -> str:
        return f"<{self.kind} {self.model} {self.id} ({self.origin})>"
