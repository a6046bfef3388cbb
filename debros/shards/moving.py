"""Moving a shard into a store of its own, while everybody goes on reading and writing.

Its entries are copied beside the writes. Then, while the writer is held, what has come since is copied and synced, its rows are
written, the home's record says where the shard lies now, and the view follows. So at every step the shard is whole in one place:
before the record in the old one, from there on in the new one. A move that ended early goes on when it is asked for again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import trio

from debros.blocks import cid
from debros.blocks.car import Section
from debros.blocks.logfile import LogFile
from debros.errors import ModelError, StorageError
from debros.places import Place
from debros.replica.entries import EntryRow
from debros.replica.relocating import Blocks, relocate
from debros.replica.replay import HEADER_START

if TYPE_CHECKING:
    from debros.node import Debros
    from debros.replica.replica import Replica
    from debros.shards.shards import Shards

AT_ONCE: Final = 500  # entries in one sync


class Moving(NamedTuple):
    """How far a move is: `began`, `copied` a part, `switched` in the home's record, `followed` by the view, `cleaned` up."""

    step: Literal["began", "copied", "switched", "followed", "cleaned"]
    done_bytes: int  # of the entries
    total_bytes: int  # as of when it began


Progress = Callable[[Moving], None]


async def move(node: Debros, shards: Shards, number: int, to: str | os.PathLike[str], progress: Progress) -> None:
    """Move a shard's store into a new directory; one move at a time.

    Raises:
        ConfigError: the directory is not empty, or the home is in memory.
        ModelError: there is no such shard.
        ShardNotHeldError: it is not here.
        StorageError: the disk refused; the shard is where it was, and the move can be asked for again.
        TransactionError: inside a transaction.
    """
    if not 0 <= number < shards.count:
        raise ModelError(f"{shards.schema.name} has no shard {number}; they are 0 to {shards.count - 1}")
    node.refuse_inside("a move")
    node.store.check_open()
    async with node.moves:
        await _Move(node, shards, number, to, progress).run()


class _Move:
    """One move."""

    def __init__(
        self, node: Debros, shards: Shards, number: int, to: str | os.PathLike[str], progress: Progress
    ) -> None:
        self._node, self._store, self._places = node, node.store, node.places
        self._replica: Replica = shards.replica(number)
        self._model, self._number, self._path = shards.schema.name, number, os.path.abspath(to)
        self._progress = progress
        self._moved: dict[int, Blocks] = {}
        self._last = 0  # number of the last entry that was looked at
        self._done = self._total = 0

    async def run(self) -> None:
        offload = self._node.env.offload
        present = self._places.of(self._replica.log_id)
        if present is None or present.path != self._path:
            place = await offload(self._begin)
            log = await offload(self._open, place)
            try:
                await self._copy(place, log)
            except BaseException:
                if self._store.placed.get(self._replica.n) != place.number:  # else the store has it, and closes it
                    log.close()
                raise
        await offload(self._places.clean)
        self._tell("cleaned")

    def _begin(self) -> Place:
        places = self._places
        place = places.unfinished(self._replica.log_id)
        if place is not None and place.path != self._path:  # that one was given up
            places.leave(place)
            place = None
        if place is None:
            place = places.begin(self._model, self._number, self._replica.manifest.block, self._path)
        places.mark(place)
        return place

    def _open(self, place: Place) -> LogFile:
        return LogFile.open(
            self._places.files, place.volume().log, random_bytes=self._node.env.random_bytes,
            max_segment=self._node.config.max_segment_bytes,
        )  # fmt: skip

    async def _copy(self, place: Place, log: LogFile) -> None:
        store = self._store
        store.flush()
        sized = store.view.read("SELECT sum(header - body) FROM entries WHERE log = ?", (self._replica.n,))
        self._total = sized[0][0] or 0
        for digest, at in await self._node.env.offload(_already_in, log):
            if (entry := store.entries.find(digest)) is not None:
                self._moved[entry.e] = at
        self._tell("began")
        while await self._copy_some(log):
            await trio.lowlevel.checkpoint()
        async with store.writer.exclusive():
            await store.until_free()
            store.flush()
            while await self._copy_some(log):
                pass
            await self._node.env.offload(log.sync)
            await store.until_free()
            store.check_open()
            store.flush()
            self._switch(place, log)

    async def _copy_some(self, log: LogFile) -> bool:
        """Copy some entries behind the last; whether there were any."""
        found = self._store.entries.of_log(self._replica.n, self._last, AT_ONCE)
        if not found:
            return False
        self._last = found[-1].e
        new = [entry for entry in found if entry.e not in self._moved]
        if new:
            await self._node.env.offload(self._append, log, new)
        self._done += sum(entry.header - entry.body for entry in found)
        self._tell("copied")
        return True

    def _append(self, log: LogFile, entries: list[EntryRow]) -> None:
        source = self._store.log
        blocks = [] if self._moved else [(cid.DAG_CBOR, self._replica.log_id, self._replica.manifest.block)]
        before = len(blocks)
        for entry in entries:
            blocks += [source.read_section(entry.body), source.read_section(entry.header)]
        positions = log.append(blocks, durable=True)[before:]
        for n, entry in enumerate(entries):
            self._moved[entry.e] = Blocks(positions[2 * n + 1], positions[2 * n])

    def _switch(self, place: Place, log: LogFile) -> None:
        """Let the shard lie in its new place: the record, then the view, and no waiting in between."""
        is_settled = False

        def settle() -> None:
            nonlocal is_settled
            is_settled = True
            self._places.settle(place, log.end)
            self._tell("switched")

        try:
            relocate(self._store, self._replica, place.volume(), log, self._moved, settle)
        except BaseException as error:
            if not is_settled:
                raise
            # what is written now might go where nobody looks: nothing is
            self._store.broken = f"a move of shard {self._number} of {self._model} was cut off as it took effect ({error}); open the node again"
            raise StorageError(self._store.broken) from error
        self._tell("followed")

    def _tell(self, step: Literal["began", "copied", "switched", "followed", "cleaned"]) -> None:
        self._progress(Moving(step, self._done, self._total))


def _already_in(log: LogFile) -> list[tuple[bytes, Blocks]]:
    """Return the entries that a move before has copied: digests, and where they lie."""
    found: list[tuple[bytes, Blocks]] = []
    before: Section | None = None
    for section in log.scan():
        # only what was written as DAG-CBOR is taken for a header: an encrypted body may have been made to look like one
        if section.codec == cid.DAG_CBOR and section.block[1:5] == HEADER_START and before is not None:
            found.append((section.digest, Blocks(section.position, before.position)))
        before = section
    return found
