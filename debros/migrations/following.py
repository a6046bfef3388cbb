"""Rows that follow migrations which peers applied: made beside the program, as those of our own, old or new, never half."""

from __future__ import annotations

from collections.abc import Callable

import trio
from trio.lowlevel import enable_ki_protection

from debros.errors import StorageError
from debros.migrations.turning import Aim, Tell, turned
from debros.replica.store import Model, Store


class Following:
    """What a node does about rows that are lifted otherwise than its logs say."""

    def __init__(self, store: Store, tell: Callable[[str, int, int], None]) -> None:
        """`tell` is called behind each batch: a model's name, rows done, rows in all."""
        self._store = store
        self._tell: Tell = tell
        self._woken = trio.Event()
        self._done = trio.Event()
        self._failure: StorageError | None = None  # of the last attempt
        self.turn = trio.Lock()  # one at a time makes rows: a migration of our own, or this

    def behind(self) -> list[Model]:
        """Return the models whose rows have to be made anew."""
        lifts = self._store.lifts
        return [model for model in self._store.models.values() if lifts.behind(model)]

    @enable_ki_protection
    async def run(self) -> None:
        """Make rows anew whenever that is needed, until it is cancelled."""
        self._store.lifts.on_behind = self._wake
        while True:
            await self._woken.wait()
            self._woken = trio.Event()
            async with self.turn:
                self._failure = None
                try:
                    await self._follow()
                except StorageError as error:  # rows stay the old ones; the flush before the next write asks again
                    self._failure = self._store.flush_failure = error
                    self._store.lifts.changed = True
            self._done.set()
            self._done = trio.Event()

    def _wake(self) -> None:
        self._woken.set()

    async def caught_up(self) -> None:
        """Wait until no rows are behind what the logs say.

        Raises:
            StorageError: the disk refused; asked again, it is tried again.
        """
        self._store.check_open()
        self._store.view.hide_provisional()
        self._store.flush()
        while self._store.lifts.on_behind is not None and self.behind():
            await self._done.wait()
            if self._failure is not None:
                raise StorageError(str(self._failure)) from self._failure
            self._store.check_open()
        await trio.lowlevel.checkpoint()

    async def _follow(self) -> None:
        store = self._store
        await store.until_free()
        if not self.behind():
            return
        async with turned(store, self._aims, self._tell):
            store.lifts.changed = True
            store.flush()

    def _aims(self) -> list[Aim]:
        lifts = self._store.lifts
        return [Aim(model, lifts.behind(model), lifts.lifts_of(model), refuses=False) for model in self.behind()]
