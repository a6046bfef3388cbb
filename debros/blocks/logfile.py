"""The append-only log file of a home: CAR segments `000001.car ...` in one directory, written at the end only.

What is acknowledged stays, what is read hashes to its CID, and damage is told and kept, never cut: `tail` writes,
`recovery` opens, `car` reads. Positions are those of `car`: segment number << 32 | offset; 0 means from the
beginning. Everything blocks. One thread may append while others read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Final, NamedTuple

from debros.blocks import car
from debros.blocks.car import Damage, Section
from debros.blocks.files import Files, Handle
from debros.blocks.readers import Readers
from debros.blocks.recovery import EVERYWHERE, FOREIGN, NOWHERE, Recovered, missing, recover
from debros.blocks.segments import cut, make_directory, segment_path, start_size, sync_names, write_again
from debros.blocks.tail import Block, Tail
from debros.errors import CorruptionError, StorageError

MAX_SEGMENT: Final = 256 << 20
_PROGRESS: Final = 16 << 20


class Progress(NamedTuple):
    """How far `verify` is, in bytes."""

    done: int
    total: int


class LogFile:
    """An open log; `LogFile.open` makes one. `report` is what recovery found when it was opened."""

    def __init__(self, files: Files, directory: str, found: Recovered, tail: Tail) -> None:
        self.report = tuple(found.findings)
        self.store = found.store  # the id that all segments of this log share, 16 bytes
        self._files = files
        self._directory = directory
        self._sound = found.sound
        self._tail = tail
        self._readers = Readers(files, directory)

    @classmethod
    def open(
        cls,
        files: Files,
        directory: str,
        *,
        applied: int = 0,
        random_bytes: Callable[[int], bytes],
        max_segment: int = MAX_SEGMENT,
        is_streamed: bool = False,
    ) -> LogFile:
        """Open the log in a directory, make it if there is none, and recover it.

        `applied` is the position up to which the view holds the log, and everything before it was synced. What
        lies behind it is read, what is torn there is cut, and the rest is synced when this returns. `is_streamed`: what is
        written is large, and need not stay in the system's memory.

        Raises:
            StorageError: the disk refused. Nothing is lost.
        """
        try:
            make_directory(files, directory)
            found = recover(files, directory, applied)
            found.store = found.store or random_bytes(16)
            size = _sync_last(files, directory, found.numbers[-1], applied) if found.numbers else 0
            tail = Tail(files, directory, found.store, found.numbers, max_segment, is_streamed=is_streamed)
            if found.appendable:
                tail.continue_last(size)
            else:
                sync_names(files, directory)
                tail.begin_new()
        except OSError as error:
            raise StorageError(f"the log in {directory} cannot be opened: {error}") from error
        return cls(files, directory, found, tail)

    @property
    def end(self) -> int:
        """Position behind the last section."""
        return self._tail.end

    @property
    def synced(self) -> int:
        """Position up to which the log survives a power cut."""
        return self._tail.synced

    def reaches(self, position: int) -> bool:
        """Whether the file of the segment is there, and long enough to have something before this position.

        Raises:
            StorageError: the disk refused.
        """
        number, offset = car.split(position)
        try:
            if number not in self._tail.numbers:
                return False
            with closing(self._files.open(self._path(number), write=False)) as handle:
                return handle.size() >= offset
        except OSError as error:
            raise StorageError(f"segment {number} cannot be read: {error}") from error

    def append(self, blocks: Iterable[Block], *, durable: bool) -> list[int]:
        """Write a group of blocks, in order, and return their positions.

        Digests are taken on trust: a block that does not hash to its own would be damage. On return the group,
        and all before it, survives the death of this process, and if `durable` a power cut.

        Raises:
            ValueError: a codec is none of ours, or a digest has not 32 bytes.
            TooLargeError: a block is longer than 2 MiB, or the group than 2 GiB.
            StorageError: the disk refused, now or before. The group is not in the log.
        """
        return self._tail.append(blocks, durable=durable)

    def sync(self) -> None:
        """Return once everything appended so far survives a power cut.

        Raises:
            StorageError: it may not. Nothing more is written until the log is opened again.
        """
        self._tail.sync()

    def truncate_to(self, position: int) -> None:
        """Cut the log at a section, e.g. an unfinished transaction, before anything is appended. It is saved aside.

        Raises:
            ValueError: something was appended since the log was opened, or no section begins at the position.
            CorruptionError: there is damage in what would be cut, and damage is never cut.
            StorageError: the disk refused. Less may be cut than was asked, but in order: the last bytes first.
        """
        self._tail.writable()
        if self._tail.has_grown or position > self.end:
            raise ValueError("only the end of a log that was just opened can be cut")
        first, offset = car.split(position)
        keeps = {
            number: max(start_size(number), offset if number == first else 0)
            for number in reversed(self._tail.numbers)
            if number >= first
        }
        try:
            for number, keep in keeps.items():
                self._check_cut(number, keep)
            for number, keep in keeps.items():
                cut(self._files, self._path(number), keep)
                self._tail.was_cut(number, keep)
        except OSError as error:
            self._tail.refuse(f"the log could not be cut at {position}", error)

    @property
    def segments(self) -> list[int]:
        """Numbers of the segments there are, ascending; the last one is written."""
        return list(self._tail.numbers)

    @property
    def size(self) -> int:
        """Bytes of all segments.

        Raises:
            StorageError: the disk refused.
        """
        return sum(map(self.size_of, self.segments))

    def size_of(self, number: int) -> int:
        """Return the length of a segment in bytes.

        Raises:
            StorageError: the disk refused, or there is no such segment.
        """
        try:
            with closing(self._files.open(self._path(number), write=False)) as handle:
                return self._size_of(number, handle)
        except OSError as error:
            raise StorageError(f"segment {number} cannot be read: {error}") from error

    def begin_segment(self) -> None:
        """Go on in a new segment.

        Raises:
            StorageError: the disk refused.
        """
        self._tail.sync()
        try:
            self._tail.begin_new()
        except OSError as error:
            raise StorageError(f"the disk refused a new segment: {error}") from error

    def drop(self, number: int) -> None:
        """Remove a whole segment, of which nothing is wanted any more. Only for content: entries are never removed.

        Raises:
            ValueError: it is the one that is written, or there is none of this number.
            StorageError: the disk refused.
        """
        if number not in self._tail.numbers[:-1]:
            raise ValueError(f"segment {number} is being written, or is not there")
        self._readers.forget(number)
        try:
            self._files.remove(self._path(number))
            self._files.sync_dir(self._directory)
        except OSError as error:
            raise StorageError(f"segment {number} cannot be removed: {error}") from error
        self._tail.numbers.remove(number)

    def read(self, position: int) -> bytes:
        """Return the block of the section at a position; it hashes to its CID.

        Raises:
            CorruptionError: no whole section begins there.
            StorageError: the disk refused, or the segment is not there.
        """
        return self._readers.read_section(position)[2]

    def read_section(self, position: int) -> Block:
        """Return codec, digest and block of the section at a position; errors as for `read`."""
        return self._readers.read_section(position)

    def read_pair(self, first: int, second: int) -> tuple[Block, Block]:
        """Return the sections at two positions, in little more time than one where they lie near; errors as for `read`."""
        return self._readers.read_pair(first, second)

    def scan(self, start: int = 0) -> Iterator[Section]:
        """Read all whole sections from a position on, segment heads left out. Each one is hashed.

        Damage is skipped, and what is read behind it is `doubtful`. `start` is 0 or where a section begins, or ends.

        Raises:
            StorageError: the disk refused.
        """
        first, offset = car.split(start)
        try:
            for number in [number for number in self._tail.numbers if number >= first]:
                begin = offset if number == first else 0
                with closing(self._files.open(self._path(number), write=False)) as handle:
                    size = self._size_of(number, handle)
                    doubtful = self._is_doubtful(number, begin, handle, size)
                    head = car.position(number, car.HEADER_SIZE)
                    for found in car.walk(handle.pread, size, number, begin, doubtful=doubtful):
                        if isinstance(found, Section) and found.position != head:
                            yield found
        except OSError as error:
            raise StorageError(f"the log in {self._directory} cannot be read: {error}") from error

    def verify(self) -> Iterator[Damage | Progress]:
        """Hash all segments, telling what is damaged and now and then how far it is. This is a read-only operation.

        Raises:
            StorageError: the disk refused.
        """
        numbers = list(self._tail.numbers)
        yield from missing(numbers)
        done = told = total = 0
        try:
            for number in numbers:
                with closing(self._files.open(self._path(number), write=False)) as handle:
                    total += self._size_of(number, handle)
            for number in numbers:
                with closing(self._files.open(self._path(number), write=False)) as handle:
                    size = self._size_of(number, handle)
                    if self._is_foreign(number, handle):
                        yield Damage(car.position(number, 0), 0, FOREIGN)
                    for found in car.walk(handle.pread, size, number):
                        if isinstance(found, Damage):
                            yield found
                        reached = done + car.split(found.position)[1]
                        if reached - told >= _PROGRESS:
                            told = reached
                            yield Progress(told, total)
                done += size
            yield Progress(done, total)
        except OSError as error:
            raise StorageError(f"the log in {self._directory} cannot be read: {error}") from error

    def close(self) -> None:
        """Close all files. What was not synced stays so: it survives this process, not a power cut."""
        self._tail.close()
        self._readers.close()

    def _check_cut(self, number: int, keep: int) -> None:
        with closing(self._files.open(self._path(number), write=False)) as handle:
            size = self._size_of(number, handle)
            verdict = car.examine(handle.pread, size, number, 0, keep)
            if verdict.first_bad == keep or keep > size:
                raise ValueError(f"no section begins at byte {keep} of {self._path(number)}")
            if verdict.state != "clean" or self._is_doubtful(number, keep, handle, size):
                raise CorruptionError(f"{self._path(number)} is damaged, so nothing of it is cut")

    def _is_doubtful(self, number: int, offset: int, handle: Handle, size: int) -> bool:
        """Whether sections at an offset may lie inside a value, for bad ones lie before it."""
        begin, end = self._sound.get(number, (EVERYWHERE, EVERYWHERE))
        if offset < begin:  # the opener did not need to read it
            if self._is_foreign(number, handle):
                begin = end = NOWHERE
            elif offset == 0:
                return False
            else:
                bad = car.examine(handle.pread, size, number).first_bad
                begin, end = 0, EVERYWHERE if bad is None else bad
            self._sound[number] = begin, end
        return offset > end

    def _is_foreign(self, number: int, handle: Handle) -> bool:
        try:
            return car.store_of(handle.pread, number) != self.store
        except ValueError:
            return False  # damage, and found as such

    def _size_of(self, number: int, handle: Handle) -> int:
        last, size = car.split(self._tail.end)
        if number == last:
            return size
        return self._tail.sizes[number] if number in self._tail.sizes else handle.size()

    def _path(self, number: int) -> str:
        return segment_path(self._directory, number)


def _sync_last(files: Files, directory: str, number: int, applied: int) -> int:
    """Bring what lies behind `applied` to the disk, for the process that wrote it may have failed to; its size."""
    first, offset = car.split(applied)
    start = offset if first == number else 0
    with closing(files.open(segment_path(directory, number))) as handle:
        size = handle.size()
        if start < size:
            write_again(handle, start, size)
            sync_names(files, directory)
    return size
