"""A subscription to a model's events: a place in the log that moves on as the subscriber takes them.

Nothing is kept for a subscriber but that place. One that is slow lags in the log and holds nobody up; one that comes
back with a cursor goes on from there. Of new entries it is told only that there are some for its model.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Self, TypeVar

import trio

from debros.current import check_here
from debros.errors import ClosedError
from debros.events import cursor as cursors
from debros.events.event import Event
from debros.events.happenings import Happenings
from debros.events.stats import Counts, Stats
from debros.replica.changes import models_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from debros.events.cursor import Place
    from debros.events.wanted import Wanted
    from debros.replica.entries import EntryRow
    from debros.replica.store import Admitted, Store
    from debros.shards.collection import Collection

R = TypeVar("R")
_RECENT: Final = 4096  # numbers of entries remembered for each model
_FRESH: Final = 64  # entries whose changes are kept for who waits for them
_BATCH: Final = 64  # entries looked at between two checkpoints


class Feed:
    """What all subscriptions of a store share: which recent entries concern which model, and who waits for more."""

    def __init__(self, store: Store, mark: bytes, own_keys: Callable[[], frozenset[bytes]]) -> None:
        self.store = store
        self.thread = store.view.thread.number  # that the node lives in
        self.mark = mark
        self.own_keys = own_keys
        self.happenings = Happenings(store)
        self._recent: dict[str, list[int]] = {}
        self._known_from: dict[str, int] = {}  # `_recent` has all entries of the model from this number on
        self._start = store.entries.next_e
        self._waiting: dict[str, dict[Subscription[Any], trio.Event]] = {}
        self.closed = False
        self._open = 0  # subscriptions
        store.on_admitted.append(self._admitted)

    def _admitted(self, admitted: Sequence[Admitted]) -> None:
        if not self._open:
            return  # a write costs nothing where nobody subscribes
        fresh = self.happenings.fresh
        fresh.clear()  # whoever is slower than a group reads it from the log
        for n, (_, entry, changes, _) in enumerate(admitted):
            if n < _FRESH:
                fresh[entry.e] = changes
            for name in models_of(changes):
                self._note(name, entry.e)

    def _note(self, name: str, e: int) -> None:
        recent = self._recent.get(name)
        if recent is None:
            recent = self._recent[name] = []
        recent.append(e)
        if len(recent) > 2 * _RECENT:
            del recent[:_RECENT]
            self._known_from[name] = recent[0]
        waiting = self._waiting.pop(name, None)
        if waiting is not None:
            for woken in waiting.values():
                woken.set()

    def begin(self) -> None:
        """Somebody subscribes: note from now on what comes."""
        if not self._open:
            self._recent.clear()
            self._known_from.clear()
            self._start = self.store.entries.next_e
        self._open += 1

    def end(self) -> None:
        """Somebody subscribes no longer."""
        self._open -= 1

    def following(self, name: str, e: int) -> int | None:
        """Return the number of the first entry, from `e` on, that may concern a model; `None`: there is none."""
        if e < self._known_from.get(name, self._start):
            return e
        recent = self._recent.get(name, [])
        at = bisect_left(recent, e)
        return recent[at] if at < len(recent) else None

    async def wait(self, name: str, subscription: Subscription[Any]) -> None:
        """Sleep until an entry comes that concerns a model, or the node closes."""
        woken = trio.Event()
        self._waiting.setdefault(name, {})[subscription] = woken
        try:
            await woken.wait()
        finally:
            waiting = self._waiting.get(name, {})
            if waiting.get(subscription) is woken:
                del waiting[subscription]

    def close(self) -> None:
        """Wake everybody: the node closes."""
        self.closed = True
        for waiting in self._waiting.values():
            for woken in waiting.values():
                woken.set()


class Subscription(Generic[R]):
    """An async iterator over events. `db.events.subscribe(Model)` makes it."""

    def __init__(
        self, feed: Feed, home: Collection, hydrate: Callable[..., list[R]], wanted: Wanted, start: Place
    ) -> None:
        feed.begin()
        self._feed = feed
        self._name = home.schema.name
        self._home = home
        self._hydrate = hydrate
        self._wanted = wanted
        self._e, self._told = start.e, -1  # the next entry to look at, and which of its events are told
        self._resumed = start  # events of this entry up to its index were told in another session
        self._ready: deque[tuple[Any, EntryRow]] = deque()
        self._closed = False
        self._past: Happenings | None = None  # while it reads what others have read long ago
        self.counts = Counts(feed.store.env.now_us)

    @property
    def lag(self) -> int:
        """Entries of this node's log that the subscriber has not been told of yet; not all may concern it."""
        following = self._feed.following(self._name, self._e)
        return (
            0 if following is None and not self._ready else self._feed.store.entries.next_e - self._e + len(self._ready)
        )

    @property
    def cursor(self) -> str:
        """Where the subscriber is: `since=` this goes on behind the event taken last."""
        store = self._feed.store
        if self._e == store.entries.next_e or self._told < 0:
            if self._e <= 1:
                return "start"
            return cursors.write(self._feed.mark, store.entries.by_number(self._e - 1), cursors.ALL)
        return cursors.write(self._feed.mark, store.entries.by_number(self._e), self._told)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event[R]:
        """Return the next event, when there is one.

        Raises:
            ClosedError: the node, or this subscription, is closed.
            StorageError: the log cannot be read.
            NoNodeError: the node lives in another thread.
        """
        check_here(self._feed.thread)
        await trio.lowlevel.checkpoint_if_cancelled()
        rested = False  # whether others had their turn: who has slept need not wait once more
        while True:
            self._check()
            while self._ready:
                event = self._next()
                if event is not None:
                    if not rested:
                        await trio.lowlevel.cancel_shielded_checkpoint()
                    return event
            if not self._advance():
                await self._feed.wait(self._name, self)
                rested = True
            elif not self._ready:
                await trio.lowlevel.checkpoint()

    async def backlog(self) -> list[Event[R]]:
        """Return the events that there are now, without waiting for others."""
        check_here(self._feed.thread)
        found: list[Event[R]] = []
        while self._ready or self._advance():
            await trio.lowlevel.checkpoint()
            self._check()
            if self._ready and (event := self._next()) is not None:
                found.append(event)
        return found

    def close(self) -> None:
        """Take no more; leaving the `async with` does it."""
        if not self._closed:
            self._feed.end()
        self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise ClosedError("this subscription is over: its `async with` block has been left")
        self._feed.store.check_open()
        if self._feed.closed:
            raise ClosedError("the node is closed")

    def _next(self) -> Event[R] | None:
        """Return what is ready next, if it is wanted."""
        happening, entry = self._ready.popleft()
        self._told = happening.nth
        event = self._event(happening, entry)
        if not self._wanted.takes_event(event):
            return None
        self.counts.delivered(entry.clock)
        return event

    @property
    def stats(self) -> Stats:
        """What this subscriber has seen."""
        return self.counts.stats(self.lag)

    def _advance(self) -> bool:
        """Look at a few entries more; whether there may be others."""
        feed = self._feed
        for _ in range(_BATCH):
            if self._told >= 0:  # all events of that entry are taken
                self._e, self._told = self._e + 1, -1
            e = feed.following(self._name, self._e)
            if e is None or e >= feed.store.entries.next_e:
                self._past = None
                self._e = feed.store.entries.next_e
                return False
            happenings = self._reader(e)
            happenings.skip(self._name, self._e, e)
            self._e = e  # a failure to read it leaves it the next to look at
            if self._take(e, happenings, self._resumed.nth if e == self._resumed.e else -1):
                return True
            self._e += 1
        return True

    def _take(self, e: int, happenings: Happenings, told: int) -> bool:
        entry = self._feed.store.entries.by_number(e)
        if self._wanted.logs is not None and entry.log not in self._wanted.logs:
            return False
        found = [one for one in happenings.of(entry, self._name) if one.nth > told and self._wanted.takes(one)]
        self._ready.extend((one, entry) for one in found)
        return bool(found)

    def _reader(self, e: int) -> Happenings:
        """Return who reads an entry: all subscribers at the end of the log share one reader."""
        if e >= self._feed.store.entries.next_e - _BATCH:
            return self._feed.happenings
        if self._past is None:
            self._past = Happenings(self._feed.store)
        return self._past

    def _event(self, happening: Any, entry: EntryRow) -> Event[R]:
        feed = self._feed
        origin: Literal["local", "remote"] = "local" if entry.author in feed.own_keys() else "remote"
        return Event(happening, entry, self._home, self._hydrate, origin, feed.mark)
