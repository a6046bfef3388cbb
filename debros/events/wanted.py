"""Which events a subscriber wants: kinds, fields, owners, and a condition on the record or on the event."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Final, get_args

from debros.errors import QueryError, UnknownFieldError, did_you_mean
from debros.events.event import Event
from debros.events.happenings import Happening, Kind
from debros.query.expressions import Expr
from debros.query.judging import Judge, speaks_of_one_row
from debros.query.meta import checked_did

if TYPE_CHECKING:
    from debros.query.query import Query
    from debros.shards.collection import Collection as Home

KINDS: Final[frozenset[str]] = frozenset(get_args(Kind))


class Wanted:
    """The filter of one subscription. What it can, it decides before an event is made."""

    def __init__(
        self, query: Query[Any], home: Home, on: Collection[str] | None, fields: Collection[str],
        owner: str | Iterable[str] | None, where: Expr | Callable[[Event[Any]], object] | None,
    ) -> None:  # fmt: skip
        """Check what is wanted.

        Raises:
            QueryError: a kind, a DID or a condition is wrong, or the condition looks at other records.
            UnknownFieldError: the model has no such field.
        """
        self._kinds = _kinds(on)
        self._fields = _fields(query, fields)
        self._function = None if where is None or isinstance(where, Expr) else where
        if where is not None and not isinstance(where, Expr) and not callable(where):
            raise QueryError(
                f"where= takes a condition, such as Post.likes > 3, or a function of the event, not {where!r}"
            )
        self._judge: Judge | None = None
        if isinstance(where, Expr):
            asked = query.where(where)
            if not speaks_of_one_row(where):
                raise QueryError("an event's condition is about the record alone; use a live query for related records")
            self._judge = Judge(asked, home)
        self.logs, self._owners = _whose(home, owner)

    def takes(self, happening: Happening) -> bool:
        """Whether a happening is wanted, as far as it can be told without the event."""
        if happening.kind not in self._kinds:
            return False
        if self.logs is not None and happening.log not in self.logs:
            return False
        if self._fields and self._fields.isdisjoint(happening.values):
            return False
        row = happening.after or happening.before
        return self._judge is None or row is None or self._judge.takes(row)

    def takes_event(self, event: Event[Any]) -> bool:
        """Whether the event is wanted."""
        if self._owners is not None and event.owner not in self._owners:
            return False
        return self._function is None or bool(self._function(event))


def _kinds(on: Collection[str] | None) -> frozenset[str]:
    if on is None:
        return KINDS
    if not isinstance(on, (str, Iterable)):
        raise QueryError(f"on= takes kinds of events, of {', '.join(sorted(KINDS))}, not {on!r}")
    kinds = frozenset({on} if isinstance(on, str) else on)
    for kind in sorted(map(str, kinds - KINDS)):
        raise QueryError(
            f"{kind!r} is no kind of event{did_you_mean(kind, KINDS)}; there are {', '.join(sorted(KINDS))}"
        )
    return kinds


def _fields(query: Query[Any], fields: Collection[str]) -> frozenset[str]:
    if not isinstance(fields, (str, Iterable)):
        raise QueryError(f"fields= takes names of fields, not {fields!r}")
    names = frozenset({fields} if isinstance(fields, str) else fields)
    known = query.columns.schema.by_name
    for name in sorted(map(str, names)):
        if name not in known:
            raise UnknownFieldError(query.columns.name, name, known)
    return names


def _whose(home: Home, owner: str | Iterable[str] | None) -> tuple[frozenset[int] | None, frozenset[str] | None]:
    """Return the numbers of the logs, and the DIDs of the owners, whose records are meant; `None`: all."""
    if owner == "all":
        return None, None
    if owner is not None and not isinstance(owner, Iterable):
        raise QueryError(f'owner= takes DIDs, or "all", not {owner!r}')
    dids = None if owner is None else tuple(map(checked_did, [owner] if isinstance(owner, str) else owner))
    if home.schema.scope == "user":
        logs = home.logs(dids)
        return None if logs is None else frozenset(logs), None
    return None, None if dids is None else frozenset(dids)
