"""`db.events`: what happens, for whoever subscribes; and topics on which applications talk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, overload

import trio

from debros.current import check_here, context
from debros.errors import CursorError, QueryError, TopicError, TransactionError
from debros.events import cursor as cursors
from debros.events.announcing import Announcing
from debros.events.cursor import ALL, Place
from debros.events.event import Event
from debros.events.exchange import Exchange, Priority
from debros.events.handling import Handle, Handler
from debros.events.happenings import Kind, row_as_of
from debros.events.message import Message
from debros.events.messages import Messages, Overflow
from debros.events.notices import Notices
from debros.events.presence import Presence, Present
from debros.events.stats import Counts, Stats
from debros.events.subscription import Feed, Subscription
from debros.events.topics import checked_topic, is_topic
from debros.events.wanted import Wanted
from debros.models.declare import schema_of
from debros.query.query import Query
from debros.replica.lifting import MODEL as MIGRATIONS

if TYPE_CHECKING:
    from debros.models.record import Model
    from debros.node import Debros
    from debros.query.expressions import Expr
    from debros.replica.tables import Row

M = TypeVar("M", bound="Model")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Events:
    """The events and topics of one node."""

    def __init__(self, node: Debros, salt: bytes, own_keys: Callable[[], frozenset[bytes]], name: str) -> None:
        self._node = node
        self._feed = Feed(node.store, cursors.mark_of(salt, node.store.numbering), own_keys)
        self._exchange = Exchange(node.env, name, node.tasks, lambda: node.met.transport)
        self._exchange.identities = lambda: [node.identity]
        self._presence = Presence(self._say, node.tasks, node.env.random_bytes)
        self._rooms: Messages | None = None
        self._handlers: list[Handler] = []
        self._closed = False
        Notices(node, self.emit_notice).begin()
        announced = [home for home in node.collections() if home.schema.pubsub]
        for home in announced:
            node.tasks.start_soon(Announcing(node, home, self._feed, self._say).run)

    # -- subscribing -----------------------------------------------------------------------------------------------

    @overload
    def subscribe(
        self, model: type[M], /, *, on: Collection[Kind] | Kind | None = None, since: str | None = None,
        where: Expr | Callable[[Event[M]], object] | None = None, fields: Collection[str] = (),
        owner: str | Iterable[str] | None = None,
    ) -> AbstractAsyncContextManager[Subscription[M]]: ...  # fmt: skip
    @overload
    def subscribe(
        self, topic: str, /, *, where: Callable[[Message], object] | None = None, overflow: Overflow = "drop_oldest",
        history: int = 0, own: bool = False,
    ) -> AbstractAsyncContextManager[Messages]: ...  # fmt: skip
    def subscribe(self, what: Any, /, **how: Any) -> AbstractAsyncContextManager[Any]:
        """Return a model's events, or the messages of topics, as an async context manager over an async iterator.

        Of a model: local and foreign writes alike, in the order of this node's log, each once.

        Args:
            what: a model, or a topic or pattern: `"chat.*"`.
            how: of a model `on=` kinds (every one by default); `since=` the `event.cursor` of the last event that was dealt
                with, `"start"` for all there ever were, else from now on; `where=` a condition on the record as the
                entry left it (as it was, of a deleted one), or a function of the event; `fields=` only events in which one of
                these changed; `owner=` DIDs of whose records are meant, or `"all"` (in user scope the acting identity's
                if not given, in global scope everybody's). Of topics `where=` a function of the message;
                `overflow=` what a slow subscriber loses: `"drop_oldest"`, all but the `"latest"`, or `"error"`;
                `history=` how many of the last messages of each topic come first; `own=` whether what this node publishes
                comes too.

        Entering raises:
            QueryError, UnknownFieldError: what is wanted is wrong.
            CursorError: `since` is damaged, of another home, or of entries that the log lost.
            TransactionError: inside a transaction.
            TopicError: the pattern is of no good form.
        """
        return self._subscribed(what, how)

    @asynccontextmanager
    async def _subscribed(self, what: Any, how: Mapping[str, Any]) -> AsyncIterator[Any]:
        check_here(self._node.thread)
        await trio.lowlevel.checkpoint()
        if isinstance(what, str):
            messages = self._listen(what, **how)
            try:
                yield messages
            finally:
                self._exchange.unsubscribe(messages)
            return
        subscription = self._follow(what, **how)
        try:
            yield subscription
        finally:
            subscription.close()

    def _listen(
        self, pattern: str, *, where: Callable[[Message], object] | None = None, overflow: Overflow = "drop_oldest",
        history: int = 0, own: bool = False,
    ) -> Messages:  # fmt: skip
        self._node.store.check_open()
        if any(
            pattern in (home.schema.name, self._node.class_of(home.schema).__name__)
            for home in self._node.collections()
        ):
            raise TopicError(
                f"{pattern!r} is a model here, no topic: `subscribe({pattern})` hears of its records, and "
                f"'model.{pattern}.*' are the messages of `@model(pubsub=...)`"
            )
        if where is not None and not callable(where):
            raise TopicError(f"where= of a topic takes a function of the message, not {where!r}")
        if type(history) is not int or history < 0:
            raise TopicError(f"history={history!r} is how many messages are wanted: 0 or more")
        messages = Messages(pattern, where, overflow, own, Counts(self._node.env.now_us), self._node.thread)
        self._exchange.subscribe(messages, history)
        return messages

    def _follow(
        self, model: type[M], *, on: Collection[str] | str | None = None, since: str | None = None,
        where: Expr | Callable[[Event[M]], object] | None = None, fields: Collection[str] = (),
        owner: str | Iterable[str] | None = None,
    ) -> Subscription[M]:  # fmt: skip
        node, store = self._node, self._node.store
        store.check_open()
        if not isinstance(model, type):
            raise QueryError(
                f"subscribe takes a model class or a topic, not {model!r}; `where=Post.id == id` means one record"
            )
        transaction = context().transaction
        if transaction is not None and transaction.belongs_to(store):
            raise TransactionError("subscribe before or after the transaction: its events come once it is over")
        home = node.collection(schema_of(model))
        query: Query[Any] = Query(model.__subject__)
        if home.schema.scope == "user":
            query = query.all_users()
        with node.current():
            wanted = Wanted(query, home, on, fields, owner, where)
        if since is None:
            start = Place(store.entries.next_e, -1)
        elif since == "start":
            start = Place(1, -1)
        else:
            start = cursors.read(since, self._feed.mark, store)
        return Subscription(self._feed, home, model.__subject__.hydrate, wanted, start)

    # -- for live queries that go on where they were -----------------------------------------------------------------

    def cursor(self, name: str) -> str:
        """Return the cursor behind all that there is now of a model.

        While its rows are still made anew, by a migration of a peer, they are of before it, and so is the cursor.
        """
        store = self._node.store
        last = int(min(store.entries.next_e, store.lifts.not_shown_yet(store.models[name]))) - 1
        return "start" if last < 1 else cursors.write(self._feed.mark, store.entries.by_number(last), ALL)

    def past(self, name: str, since: str) -> list[tuple[tuple[str, int, str], Row | None]]:
        """Return the documents of a model that changed behind a cursor, and their rows as of the cursor.

        Entries behind it touched them, or made earlier ones void, or count again.

        Raises:
            CursorError: it is damaged, of another home, of entries that the log lost, or of before a migration.
        """
        store = self._node.store
        e = 0 if since == "start" else cursors.read(since, self._feed.mark, store).e
        store.view.hide_provisional()
        store.flush()  # by which cuts take effect
        model, logs = store.models[name], store.by_number
        later = [store.entries.by_number(number) for number in range(e + 1, store.entries.next_e)]
        turned = [entry for log in {entry.log for entry in later} for entry in logs[log].rights.turned_since(e)]
        lifted = bool(store.lifts.lifts_of(model))
        touched: dict[tuple[str, int, str], None] = {}
        for entry in (*turned, *later):
            for change in store.changes_of(entry):
                if change.model == name:
                    touched[name, entry.log, change.id] = None
                elif e and change.model == MIGRATIONS and (lifted or entry.e <= e):
                    raise CursorError(
                        f"the cursor {since[:40]!r} is of before a migration, by which records read otherwise; open live() and "
                        "compare with what you have"
                    )
        was_void = {entry.e for entry in turned}
        return [(place, row_as_of(store, model, logs[place[1]], place[2], e, was_void)) for place in touched]

    # -- handlers ------------------------------------------------------------------------------------------------------

    def on(
        self, what: type[Model] | str, handle: Handle, /, *, retries: int = 3, delay_s: float = 1.0,
        dead_letter: str | None = None, **how: Any,
    ) -> Handler:  # fmt: skip
        """Call a function, sync or async, with each event of a model or message of topics, one after another.

        Where it raises it is called again after `delay_s`, twice that, and so on; after `retries` of these the event or message goes to
        the topic `dead_letter` of this node, if one is named, as `{"of", "error", "data"}`, and the next has its turn.

        Args:
            what: a model, or a topic or pattern.
            handle: called in the node's own tasks, with this node as the current one.
            retries: how often it is called again.
            delay_s: seconds to the first.
            dead_letter: a topic.
            how: as for `subscribe`.

        Raises:
            TopicError, QueryError, CursorError: what is wanted is wrong, or `handle` no function.
        """
        if not callable(handle):
            raise TopicError(f"a handler is a function of the event or message, sync or async, not {handle!r}")
        if dead_letter is not None:
            checked_topic(dead_letter)
        if type(retries) is not int or retries < 0 or not isinstance(delay_s, (int, float)) or not delay_s >= 0:
            raise TopicError(f"retries={retries!r} is a whole number and delay_s={delay_s!r} seconds, both 0 or more")
        items: Any = self._listen(what, **how) if isinstance(what, str) else self._follow(what, **how)

        def give_up(item: Any, error: BaseException) -> None:
            if dead_letter is not None:
                data = (
                    item.data
                    if isinstance(item, Message)
                    else {"kind": item.kind, "id": item.id, "cursor": item.cursor}
                )
                of = item.topic if isinstance(item, Message) else item.model
                self._local(dead_letter, {"of": of, "error": f"{type(error).__name__}: {error}", "data": data})

        handler = Handler(items, handle, items.counts, retries=retries, delay_s=delay_s, give_up=give_up)
        self._handlers.append(handler)
        self._node.tasks.start_soon(self._run, handler, items)
        return handler

    async def _run(self, handler: Handler, items: Any) -> None:
        try:
            with self._node.current():
                await handler.run()
        finally:
            if handler in self._handlers:
                self._handlers.remove(handler)
            if isinstance(items, Messages):
                self._exchange.unsubscribe(items)
            else:
                items.close()

    def off(self, handler: Handler | None = None) -> None:
        """End a handler, or all of them."""
        if handler is not None and not isinstance(handler, Handler):
            raise TopicError(f"off takes what on(...) returned, not {handler!r}; off() ends all handlers")
        for one in [handler] if handler is not None else list(self._handlers):
            one.off()

    # -- publishing ----------------------------------------------------------------------------------------------------

    async def publish(
        self, topic: str, data: Any, /, *, priority: Priority = "normal", to: str | Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None, compress: bool = True,
    ) -> None:  # fmt: skip
        """Tell whoever subscribes to a topic, on this node and others, at most once; signed, and not stored.

        Args:
            topic: words between dots, `"chat.typing"`.
            data: what JSON can hold, and bytes; at most 64 KiB.
            priority: `"high"` goes at once; others wait for company: 100 messages, 50 ms, 5 s where it is `"low"`.
            to: DIDs of the only users who can read it (sealed boxes); others see that there is a message, and who sent it.
            metadata: what goes along.
            compress: whether data of 1 KiB or more is compressed.

        Raises:
            TopicError: the topic is of no good form or reserved, or the data of no type that a message holds.
            TooLargeError: the data is too large.
        """
        check_here(self._node.thread)
        self._node.store.check_open()
        if not isinstance(to, (str, Iterable)):
            raise TopicError(f"to= takes the DIDs of users, not {to!r}")
        recipients = [to] if isinstance(to, str) else list(to)
        await self._exchange.publish(
            self._node.device(), checked_topic(topic), data, priority=priority, to=recipients, metadata=metadata or {},
            compress=compress, own=True,
        )  # fmt: skip

    def emit(self, topic: str, data: Any = None, /) -> None:
        """Tell the subscribers of this node alone; `data` may be anything. Own messages are theirs here.

        Raises:
            TopicError: the topic is of no good form, or reserved.
        """
        self._node.store.check_open()
        self._local(checked_topic(topic), data)

    def emit_notice(self, kind: str, data: Mapping[str, Any]) -> None:
        """Tell the subscribers of this node what it notices; quick, never raising."""
        if not self._closed:
            self._local(f"node.{kind}", dict(data))
            if kind == "peer_joined":
                self._presence.say_again()

    def _local(self, topic: str, data: Any) -> None:
        env = self._node.env
        at = _EPOCH + timedelta(microseconds=env.now_us())
        self._exchange.counts(topic).published += 1
        self._exchange.hand_out(Message(topic, data, self._node.identity.did, at, env.random_bytes(16), {}), own=False)

    async def _say(self, topic: str, data: Any) -> None:
        """Publish to a reserved topic; subscribers of this node hear it too."""
        if self._closed:
            return
        await self._exchange.publish(
            self._node.device_of(self._node.identity), topic, data, priority="high", to=(), metadata={}, compress=True,
            own=False,
        )  # fmt: skip

    async def flush(self) -> None:
        """Send what waits for company."""
        check_here(self._node.thread)
        await self._exchange.flush()

    # -- looking -------------------------------------------------------------------------------------------------------

    def history(self, topic: str, n: int = 100) -> list[Message]:
        """Return the last messages of a topic that this node has seen since it listens, oldest first, at most 100."""
        if type(n) is not int or n < 0:
            raise TopicError(f"n={n!r} is how many messages are wanted: 0 or more")
        if not is_topic(topic):
            raise TopicError(f"{topic!r} is no topic; history is of one topic, not of a pattern")
        return self._exchange.last(topic, n)

    def topics(self) -> list[str]:
        """Return the patterns that somebody subscribes to, on this node."""
        return sorted({messages.pattern for messages in self._exchange.subscribers})

    def subscribers(self, topic: str) -> int:
        """Return how many subscriptions of this node a topic's messages go to."""
        return sum(messages.takes(topic, False) for messages in self._exchange.subscribers)

    def stats(self) -> dict[str, Stats]:
        """Return counts by topic; `unreadable` counts messages that could not be read."""
        return self._exchange.stats()

    # -- presence ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def present(self, room: str, data: Any = None, /, *, ttl_s: float = 30) -> AsyncIterator[None]:
        """Be in a room for the block: others see it in `here`, and stop seeing it `ttl_s` seconds after it is not heard any more.

        Raises:
            TopicError: the room's name is of no good form, or `ttl_s` not between 0 and an hour.
        """
        check_here(self._node.thread)
        if not is_topic(room):
            raise TopicError(f"{room!r} is no name of a room: words of letters, digits, `_` and `-` between dots")
        if not 0 < ttl_s <= 3600:
            raise TopicError(f"ttl_s={ttl_s!r} is not between 0 and 3600 seconds")
        self._watch_rooms()
        async with self._presence.present(room, data, ttl_s):
            yield

    def here(self, room: str) -> list[Present]:
        """Return who is in a room, as far as this node has heard since it listens: from the first call, or `present`, on."""
        self._watch_rooms()
        return self._presence.here(room)

    def _watch_rooms(self) -> None:
        self._node.store.check_open()
        if self._rooms is None:
            self._rooms = self._listen("presence.*")
            self._rooms.hook = self._presence.hear

    # -- the end -------------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Send what waits, and wake all subscribers: the node closes."""
        self._closed = True
        self._feed.close()
        await self._exchange.aclose()
