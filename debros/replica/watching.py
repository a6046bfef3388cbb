"""Which rows changed, for whoever watches a model: live queries.

A watch collects the places of rows that may look different to it, each once however often they change, until its
reader takes them: a slow reader costs no memory beyond the rows there are, and a writer nothing but a mark.

Most watches want the rows with one value in one column. They are found by that value, so a write costs what the
watches that it concerns cost, not all there are; a row that a watch holds already concerns it too, whatever became of it.
A watch may depend on other models (related records), whose every change it is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import trio

from debros.errors import ClosedError, StorageError
from debros.replica.changes import models_of

if TYPE_CHECKING:
    from debros.replica.effects import Place
    from debros.replica.store import Admitted, Store
    from debros.replica.tables import Row


class Watch:
    """One reader's interest in the rows of a model."""

    def __init__(
        self, watchers: Watchers, model: str, logs: frozenset[int] | None, equal: tuple[int, frozenset[Any]] | None,
        depends: frozenset[str],
    ) -> None:  # fmt: skip
        self.model = model
        self.logs = logs  # numbers of the logs whose rows count; `None`: all
        self.equal = equal  # only rows with one of these values in this column, and those it holds
        self.depends = depends
        self.held: set[Place] = set()  # where only some values matter: rows that do whatever their values
        self.changed: dict[Place, None] = {}
        self.is_spoiled = True  # whether what changed cannot be said, as at the beginning
        self._watchers = watchers
        self._waiting: trio.Event | None = None

    def touch(self, place: Place) -> None:
        """Note that a row changed."""
        self.changed[place] = None
        self.wake()

    def spoil(self) -> None:
        """Note that any row may have changed."""
        self.is_spoiled = True
        self.wake()

    def wake(self) -> None:
        """Let the reader look."""
        if self._waiting is not None:
            self._waiting.set()

    @property
    def is_waiting(self) -> bool:
        """Whether the reader sleeps."""
        return self._waiting is not None and not self._waiting.is_set()

    def take(self) -> list[Place] | None:
        """Return the rows that changed since the last time; `None`: any of them.

        Raises:
            ClosedError: the node is closed.
            StorageError: the view cannot be brought up to date.
        """
        self._watchers.settle()
        changed, self.changed = self.changed, {}
        if self.is_spoiled:
            self.is_spoiled = False
            return None
        return list(changed)

    async def wait(self) -> None:
        """Sleep until something changed, or the node closes."""
        if not self.changed and not self.is_spoiled:
            self._waiting = trio.Event()
            try:
                await self._waiting.wait()
            finally:
                self._waiting = None

    def wide(self) -> AbstractContextManager[None]:
        """Be told of every row of the model, for the block, in which the reader finds out which ones it holds."""
        return self._watchers.wide(self)

    def hold(self, places: Iterable[Place]) -> None:
        """Be told of these rows, whatever values they take."""
        self._watchers.hold(self, places)

    def release(self, places: Iterable[Place]) -> None:
        """Be told of these rows no longer, unless for their values."""
        self._watchers.release(self, places)


class _Watched:
    """The watches of one model."""

    def __init__(self) -> None:
        self.everything: dict[Watch, None] = {}
        self.by_value: dict[int, dict[Any, dict[Watch, None]]] = {}  # column, value
        self.holders: dict[Place, dict[Watch, None]] = {}
        self.dependants: dict[Watch, None] = {}

    def all_watches(self) -> set[Watch]:
        """Return everybody who watches these rows."""
        found = {*self.everything, *self.dependants}
        for index in (*self.by_value.values(), self.holders):
            for watches in index.values():
                found.update(watches)
        return found

    @property
    def is_empty(self) -> bool:
        return not (self.everything or self.by_value or self.holders or self.dependants)


class Watchers:
    """All watches of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._models: dict[str, _Watched] = {}
        self._watches: dict[Watch, None] = {}
        self._unsettled = False  # effects of what was written on other rows wait for the next flush
        self._closed = False
        store.on_admitted.append(self._admitted)
        store.on_moved.append(self._moved)

    def watch(
        self, model: str, logs: frozenset[int] | None, equal: tuple[int, frozenset[Any]] | None, depends: frozenset[str]
    ) -> Watch:
        """Begin to watch.

        Args:
            model: its name.
            logs: numbers of the logs whose rows count, `None` for all.
            equal: a position in the row and values: only rows with one of them there, and rows held, count.
            depends: other models whose rows matter too.

        Raises:
            ClosedError: the node is closed.
        """
        self._store.check_open()
        watch = Watch(self, model, logs, equal, depends)
        watched = self._models.setdefault(model, _Watched())
        if equal is None:
            watched.everything[watch] = None
        else:
            at, values = equal
            for value in values:
                watched.by_value.setdefault(at, {}).setdefault(value, {})[watch] = None
        for name in depends:
            self._models.setdefault(name, _Watched()).dependants[watch] = None
        self._watches[watch] = None
        return watch

    def end(self, watch: Watch) -> None:
        """Watch no longer."""
        self.release(watch, list(watch.held))
        del self._watches[watch]
        watched = self._models[watch.model]
        watched.everything.pop(watch, None)
        if watch.equal is not None:
            at, values = watch.equal
            for value in values:
                _discard(watched.by_value[at], value, watch)
            if not watched.by_value[at]:
                del watched.by_value[at]
        for name in watch.depends:
            del self._models[name].dependants[watch]
        for name in (watch.model, *watch.depends):
            if name in self._models and self._models[name].is_empty:
                del self._models[name]
        if self._unsettled:
            self._wake_one()

    @contextmanager
    def wide(self, watch: Watch) -> Iterator[None]:
        """Tell a watch of every row of its model, for the block."""
        if watch.equal is None:
            yield
            return
        everything = self._models[watch.model].everything
        everything[watch] = None
        try:
            yield
        finally:
            everything.pop(watch, None)  # it may have ended meanwhile

    def hold(self, watch: Watch, places: Iterable[Place]) -> None:
        """Tell a watch of these rows, whatever values they take; one that ended holds none."""
        if watch.equal is not None and watch in self._watches:
            holders = self._models[watch.model].holders
            for place in places:
                holders.setdefault(place, {})[watch] = None
                watch.held.add(place)

    def release(self, watch: Watch, places: Iterable[Place]) -> None:
        """The opposite of `hold`."""
        if watch.equal is not None and watch in self._watches:
            holders = self._models[watch.model].holders
            for place in places:
                _discard(holders, place, watch)
                watch.held.discard(place)

    # -- what the store tells ------------------------------------------------------------------------------------

    def _admitted(self, admitted: Sequence[Admitted]) -> None:
        if not self._models:
            return
        for replica, _, changes, _ in admitted:
            for change in () if self._models.keys().isdisjoint(models_of(changes)) else changes:
                watched = self._models.get(change.model)
                if watched is not None:
                    self._note(watched, (change.model, replica.n, change.id))
        if not self._unsettled and self._is_unsettled():
            self._unsettled = True
            self._wake_one()

    def _moved(self, places: Sequence[Place], models: Sequence[str]) -> None:
        for name in models:
            watched = self._models.get(name)
            for watch in () if watched is None else watched.all_watches():
                watch.spoil()
        for place in places:
            watched = self._models.get(place[0])
            if watched is not None:
                self._note(watched, place)

    def _note(self, watched: _Watched, place: Place) -> None:
        for watch in watched.dependants:
            watch.touch(place)
        log = place[1]
        for watch in watched.everything:
            if watch.logs is None or log in watch.logs:
                watch.touch(place)
        for watch in watched.holders.get(place, ()):
            watch.touch(place)
        if watched.by_value and (row := self._row(place)) is not None:
            for at, by_value in watched.by_value.items():
                for watch in by_value.get(row[at], ()):
                    if watch.logs is None or log in watch.logs:
                        watch.touch(place)

    def _row(self, place: Place) -> Row | None:
        name, log, id = place
        rows = self._store.models[name].rows
        row = rows.pending.get((log, id))
        if row is None:
            try:
                row = self._store.view.row(rows, log, id)
            except (StorageError, ClosedError):  # whoever takes this change meets the failure
                return None
        return row

    # -- effects on other rows -------------------------------------------------------------------------------------

    def _is_unsettled(self) -> bool:
        store = self._store
        if store.effects.unsettled and any(store.models[name].rows.linked for name in self._models):
            return True
        models = [store.models[name] for name in self._models]
        return any(m.claims.unsettled or (m.twins is not None and m.twins.unsettled) for m in models)

    def _wake_one(self) -> None:
        """Let one sleeping reader settle; where none sleeps, the next that wants to does."""
        for watch in self._watches:
            if watch.is_waiting:
                watch.wake()
                return

    def settle(self) -> None:
        """Bring about what the entries so far do to other rows: hide them with their target, flag them.

        Raises:
            ClosedError: the node is closed.
            StorageError: the disk refused.
        """
        self._store.check_open()
        if self._closed:
            raise ClosedError("the node is closed")
        if self._unsettled:
            self._store.view.hide_provisional()
            self._store.flush()
            self._unsettled = False

    @property
    def is_idle(self) -> bool:
        """Whether nobody watches anything."""
        return not self._watches and not self._models

    def close(self) -> None:
        """Wake everybody: the node closes."""
        self._closed = True
        for watch in self._watches:
            watch.wake()


def _discard(index: dict[Any, dict[Watch, None]], key: Any, watch: Watch) -> None:
    watches = index.get(key)
    if watches is not None:
        watches.pop(watch, None)
        if not watches:
            del index[key]
