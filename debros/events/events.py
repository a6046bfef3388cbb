"""`db.events`: what happens, for whoever subscribes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from debros.current import context
from debros.errors import TransactionError
from debros.events import cursor as cursors
from debros.events.cursor import Place
from debros.events.event import Event
from debros.events.happenings import Kind
from debros.events.subscription import Feed, Subscription
from debros.events.wanted import Wanted
from debros.models.declare import schema_of
from debros.query.query import Query

if TYPE_CHECKING:
    from debros.models.record import Model
    from debros.node import Debros
    from debros.query.expressions import Expr

M = TypeVar("M", bound="Model")


class Events:
    """The events of one node."""

    def __init__(self, node: Debros, salt: bytes, own_keys: Callable[[], frozenset[bytes]]) -> None:
        self._node = node
        self._feed = Feed(node.store, cursors.mark_of(salt), own_keys)

    def subscribe(
        self, model: type[M], /, *, on: Collection[Kind] | Kind | None = None, since: str | None = None,
        where: Expr | Callable[[Event[M]], object] | None = None, fields: Collection[str] = (),
        owner: str | Iterable[str] | None = None,
    ) -> AbstractAsyncContextManager[Subscription[M]]:  # fmt: skip
        """Return a model's events, local and foreign writes alike, in the order of this node's log, each once.

        Args:
            model: whose records.
            on: kinds, every one by default.
            since: `event.cursor` of the last event that was dealt with, `"start"` for all there ever were, `None`: from
                now on.
            where: a condition on the record as the entry left it (as it was, of a deleted one), or a function of the
                event.
            fields: only events in which one of these fields changed.
            owner: DIDs of whose records are meant; `"all"`. In user scope the acting identity's if not given, in global scope
                everybody's.

        Entering raises:
            QueryError, UnknownFieldError: what is wanted is wrong.
            CursorError: `since` is damaged, of another home, or of entries that the log lost.
            TransactionError: inside a transaction.
        """
        return self._subscribed(model, on, since, where, fields, owner)

    @asynccontextmanager
    async def _subscribed(
        self, model: type[M], on: Collection[str] | str | None, since: str | None,
        where: Expr | Callable[[Event[M]], object] | None, fields: Collection[str], owner: str | Iterable[str] | None,
    ) -> AsyncIterator[Subscription[M]]:  # fmt: skip
        node, store = self._node, self._node.store
        store.check_open()
        transaction = context().transaction
        if transaction is not None and transaction.belongs_to(store):
            raise TransactionError("subscribe before or after the transaction: its events come once it is over")
        home = node.collection(schema_of(model))
        query: Query[Any] = Query(model.__subject__)
        if home.schema.scope == "user":
            query = query.all_users()
        with node.current():
            wanted = Wanted(query, home, on, fields, owner, where)
        await trio.lowlevel.checkpoint()
        if since is None:
            start = Place(store.entries.next_e, -1)
        elif since == "start":
            start = Place(1, -1)
        else:
            start = cursors.read(since, self._feed.mark, store)
        subscription: Subscription[M] = Subscription(self._feed, home, model.__subject__.hydrate, wanted, start)
        try:
            yield subscription
        finally:
            subscription.close()

    def close(self) -> None:
        """Wake all subscribers: the node closes."""
        self._feed.close()
