"""Many changes become visible at once: they are folded ahead, before they are on disk, in turns with other tasks.

Whoever writes so holds the writer's lock, and what was pending is in the view's file. The rows are written on a second
connection, in an SQLite transaction that is committed in the very step in which the entries are admitted; what the fold
notes for the flush (effects, unique values, twins) is noted aside, and settled there. Until then everybody reads the rows
of before, and whatever ends it takes the transaction back.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import apsw
import trio
from trio.lowlevel import enable_ki_protection

from debros.env import collector_paused
from debros.errors import StorageError
from debros.replica.entries import EntryRow
from debros.replica.group import Group, Request
from debros.replica.pacing import TURN
from debros.replica.viewfile import MEMORY, write_out

if TYPE_CHECKING:
    from debros.replica.effects import Place
    from debros.replica.store import Admitted, Store

R = TypeVar("R")

LARGE: Final = 2_000  # changes: as many rows as are flushed in one step anyway


class Large(Request, Protocol):
    """A request that can be staged step by step."""

    def steps(self, group: Group, *, alone: bool = False) -> Generator[None, None, bool]:
        """Check, and add entries to the group, like `stage`; nobody else writes meanwhile if it is `alone`."""
        ...

    def finishing(self) -> Iterator[None]:
        """Take the result, like `finish`."""
        ...


def goes_ahead(request: Request) -> bool:
    """Whether a request is so large that it is written in turns."""
    return request.weight >= LARGE


@enable_ki_protection
async def write_ahead(store: Store, request: Large) -> None:
    """Write a large request, in turns with other tasks, while the caller holds the writer's lock.

    Raises:
        ClosedError: the node is being closed.
        DebrosError: the request was refused, or the disk failed; nothing of it was written.
    """
    store.check_open()
    await store.until_free()
    store.view.hide_provisional()
    store.flush()
    group = Group(store)
    is_staged = await _in_turns(store, request.steps(group, alone=True))
    assert is_staged, "nothing is in the group before it"
    if group.staged:
        group.seal()
        await store.until_free()  # others may have begun meanwhile to write into the view's file
        store.check_open()
    with store.kept_open():  # also until the result is taken: what is written is not to end as if it were not
        if group.staged:
            await _append(store, group)
        request.done = True
        with trio.CancelScope(shield=True):
            try:
                for _ in request.finishing():
                    await trio.lowlevel.checkpoint()
            except Exception as error:
                raise StorageError(f"written, but it cannot be read back: {error}") from error


async def _append(store: Store, group: Group) -> None:
    if store.view.name == MEMORY:  # which has no second connection
        with trio.CancelScope(shield=True):
            store.show(group, await store.append(group.blocks, store.parts_of(group)))
            store.flush_if_full()
    else:
        with store.taking():
            await _fold_and_append(store, group)


async def _fold_and_append(store: Store, group: Group) -> None:
    ahead = Ahead(store, group)
    try:
        await _in_turns(store, ahead.fold())
        await _in_turns(store, ahead.settle())
        await store.env.offload(ahead.write_out)
        store.check_open()
        with trio.CancelScope(shield=True):
            ahead.show(await store.append(group.blocks, store.parts_of(group)))
            await store.env.offload(ahead.checkpoint)
    finally:
        ahead.close()


async def _in_turns(store: Store, steps: Generator[None, None, R]) -> R:
    while True:
        try:
            with collector_paused():
                next(steps)
        except StopIteration as end:
            result: R = end.value
            return result
        await trio.lowlevel.checkpoint()
        store.check_open()


_OVER: Final = object()


class Ahead:
    """The fold of a group that is signed, and not on disk."""

    def __init__(self, store: Store, group: Group) -> None:
        """Begin.

        Raises:
            StorageError: the disk refuses.
        """
        self._store = store
        self._group = group
        self._effects: Any = None  # what is noted aside; at first nothing
        self._claims: dict[str, Any] = {}
        self._twins: dict[str, Any] = {}
        self._written: dict[str, set[tuple[int, str]]] = {}  # where rows are other ones than before, by model
        self._moved: list[Place] = []  # where settling changed them
        self._first = store.entries.next_e
        self._is_shown = False
        self._db = store.view.beside()
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            self._db.close()
            raise store.view.failure(error) from error
        store.entries.expect([staged.digest for staged in group.staged])

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Work on rows that nobody else sees, within the block."""
        self._exchange()
        try:
            with self._store.view.through(self._db):
                yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        store = self._store
        self._effects = store.effects.exchange(self._effects)
        for name, model in store.models.items():
            if model.claims.indexes:
                self._claims[name] = model.claims.exchange(self._claims.get(name))
            if model.twins is not None:
                self._twins[name] = model.twins.exchange(self._twins.get(name))

    def fold(self) -> Generator[None, None, None]:
        """Fold the entries into rows that nobody else sees, a step for some changes each."""
        store = self._store
        for n, staged in enumerate(self._group.staged):
            replica, device, changes = staged.replica, staged.device, staged.changes
            entry = EntryRow(
                self._first + n, staged.digest, replica.n, device.public, device.user, staged.seq, staged.clock, 0, 0, False
            )  # fmt: skip
            entry = replica.judged(entry)
            for start in range(0, len(changes), TURN):
                with self._aside():
                    replica.fold_all(changes[start : start + TURN], entry)
                    self._drain()
                yield
        assert store.entries.next_e == self._first, "nobody else writes meanwhile"

    def _drain(self) -> None:
        view = self._store.view
        try:
            view.drain()
        except (apsw.Error, OverflowError) as error:
            raise _refused(self._store, error) from error
        for name, places in view.let_go().items():
            self._written.setdefault(name, set()).update(places)

    def settle(self) -> Generator[None, None, None]:
        """Settle what the rows mean for others, as a flush does."""
        store = self._store
        for settling in (self._settle_effects, self._settle_twins, self._settle_claims):
            steps = settling()
            while True:
                try:
                    with self._aside():
                        if next(steps, _OVER) is _OVER:
                            break
                except apsw.Error as error:
                    raise store.view.failure(error) from error
                yield

    def _settle_effects(self) -> Iterator[None]:
        effects = self._store.effects
        moved: list[Any] = []
        for _ in effects.settling(moved):
            yield
        self._note_moved((model.table.schema.name, *place) for model, place in effects.told(moved))
        effects.forget()

    def _settle_twins(self) -> Iterator[None]:
        for name, model in self._store.models.items():
            if model.twins is not None:
                changed: list[tuple[int, str]] = []
                for _ in model.twins.settling(changed):
                    yield
                self._note_moved((name, *place) for place in changed)
                model.twins.forget()

    def _settle_claims(self) -> Iterator[None]:
        for name, model in self._store.models.items():
            if model.claims.indexes:
                changed: list[tuple[int, str]] = []
                for n, _ in enumerate(model.claims.settling(changed)):
                    if n % TURN == TURN - 1:
                        yield
                self._note_moved((name, *place) for place in changed)
                model.claims.forget([])

    def _note_moved(self, places: Iterator[Place]) -> None:
        for name, log, id in places:
            self._moved.append((name, log, id))
            self._written.setdefault(name, set()).add((log, id))

    def write_out(self) -> None:
        """Write all to disk that the transaction changed, in a thread, so that its commit has little left to write.

        Raises:
            StorageError: the disk refuses.
        """
        try:
            write_out(self._db)
        except apsw.Error as error:
            raise self._store.view.failure(error) from error

    def show(self, positions: list[int]) -> None:
        """Let the entries be seen, which are on disk at these positions; synchronous."""
        store = self._store
        try:
            failure: StorageError | None = None
            with self._aside():
                admitted = store.admit(self._group, positions, folded=True)
                try:
                    store.flush()
                except StorageError as error:
                    failure = error
            self._is_shown = True
            if failure is None:
                self._turn()
            else:
                self._show_without(admitted, failure)
        except BaseException as error:
            raise store.break_off(error) from error
        store.announce(admitted)
        for tell in store.on_moved if self._moved and failure is None else ():
            tell(self._moved, [])

    def _turn(self) -> None:
        self._store.effects.learn(self._effects)
        for name, places in self._written.items():
            self._store.view.turn(name, places)

    def _show_without(self, admitted: list[Admitted], failure: StorageError) -> None:
        """Fold once more, in memory: the view refused, and takes the rows with a later flush."""
        self._store.flush_failure = failure
        for replica, entry, changes, _ in admitted:
            replica.fold_all(changes, entry)

    def checkpoint(self) -> None:
        """Move what was written into the view's file, in a thread: it is much. If the disk refuses, a later one moves it."""
        try:
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            self._store.flush_failure = _refused(self._store, error)

    def close(self) -> None:
        """Take back what is not shown."""
        if not self._is_shown:
            self._store.entries.expect_no_more()
            self._store.view.let_go()
        self._db.close()


def _refused(store: Store, error: apsw.Error | OverflowError) -> StorageError:
    if isinstance(error, OverflowError):  # an integer beyond 64 bits, which no column takes
        return StorageError(f"the view cannot hold a value: {error}")
    failure = store.view.failure(error)
    assert isinstance(failure, StorageError), "the connection is this fold's own"
    return failure
