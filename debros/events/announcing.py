"""What models announce by themselves: `@model(pubsub=publish("create", "update"))`.

Each local write of such an operation becomes a message `model.<name>.<operation>` with `{"model", "id", "user", "changes", "at", "cid"}`.
`changes` are the new values as JSON has them, without fields that are not exposed; `None` where they are too large for a message. Like
every message it comes at most once: a peer that must not miss a write subscribes to the model's events, which come from its log.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from debros.blocks import dagcbor
from debros.errors import ClosedError, StorageError
from debros.events.cursor import Place
from debros.events.message import MAX_DATA
from debros.events.subscription import Feed, Subscription
from debros.events.wanted import Wanted
from debros.query.query import Query

if TYPE_CHECKING:
    from debros.node import Debros
    from debros.shards.collection import Collection

_LOGGER: Final = logging.getLogger("debros.events")
_SPARE = 1024  # bytes of a message around its changes


class Announcing:
    """The announcements of one model."""

    def __init__(self, node: Debros, home: Collection, feed: Feed, say: Callable[[str, Any], Awaitable[None]]) -> None:
        self._say, self._name = say, home.schema.name
        cls = node.class_of(home.schema)
        query: Query[Any] = Query(cls.__subject__)
        query = query.all_users() if home.schema.scope == "user" else query
        wanted = Wanted(query, home, home.schema.pubsub, (), "all", None)
        self._exposed = {spec.name for spec in home.schema.fields if spec.expose}
        start = Place(node.store.entries.next_e, -1)
        self._events: Subscription[Any] = Subscription(feed, home, cls.__subject__.hydrate, wanted, start)

    async def run(self) -> None:
        """Announce until the node closes."""
        try:
            async for event in self._events:
                if event.origin == "local":
                    await self._say(f"model.{event.model}.{event.kind}", self._data(event))
        except ClosedError:
            return
        except StorageError as error:  # a message comes at most once anyway; the node goes on, and writers are told
            _LOGGER.warning("%s is not announced any more: %s", self._name, error)

    def _data(self, event: Any) -> dict[str, Any]:
        values = {} if event.row is None else event.row.to_dict(mode="json")
        changes = {name: values.get(name) for name in sorted(event.fields & self._exposed)}
        small = len(dagcbor.encode(changes)) <= MAX_DATA - _SPARE
        return {
            "model": event.model, "id": event.id, "user": event.author, "changes": changes if small else None,
            "at": event.at.isoformat(), "cid": event.cid,
        }  # fmt: skip
