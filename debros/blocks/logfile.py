"""The append-only log file of a home: CAR segments `000001.car ...` in one directory, written at the end only.

What is acknowledged stays: a group of blocks is written with one call behind what is there, and synced before
`append(durable=True)` returns. Nothing in memory changes before a call succeeds. A failed sync is never retried
on the same file, for the kernel may have dropped the bytes it covered and a second one would succeed over the
hole: the group goes into a new segment, or the log refuses writes until it is opened again.

Everything blocks. One thread may append while others read; the caller sees to it that only one appends. Positions
are those of `debros.blocks.car`: segment number << 32 | offset; 0 means from the beginning.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from threading import Lock
from typing import Final, NamedTuple, NoReturn, TypeAlias

from debros.blocks import car
from debros.blocks.car import Damage, Section
from debros.blocks.files import Files, Handle
from debros.blocks.recovery import EVERYWHERE, FOREIGN, NOWHERE, Finding, missing, recover
from debros.blocks.segments import (
    create_segment,
    cut,
    make_directory,
    segment_path,
    sync_names,
    write_again,
    write_all,
)
from debros.errors import ClosedError, CorruptionError, StorageError, TooLargeError

Block: TypeAlias = tuple[int, bytes, bytes]  # codec, sha2-256 digest of the block, block

MAX_SEGMENT: Final = 256 << 20
_MAX_GROUP: Final = 1 << 31
_MAX_READERS: Final = 15  # segments open for reading, besides the one that is written
_PROGRESS: Final = 16 << 20


class Progress(NamedTuple):
    """How far `verify` is, in bytes."""

    done: int
    total: int


class LogFile:
    """An open log; `LogFile.open` makes one. `report` is what recovery found when it was opened."""

    def __init__(self, files: Files, directory: str, max_segment: int) -> None:
        self._files = files
        self._directory = directory
        self._max_segment = max_segment
        self._store = b""
        self._numbers: list[int] = []  # of all segments, ascending; the last one is written
        self._sound: dict[int, tuple[int, int]] = {}  # by segment: between which offsets sections are not doubtful
        self._current: Handle | None = None
        self._size = 0  # of the current segment
        self._synced_size = 0
        self._sizes: dict[int, int] = {}  # of segments that were left; a file may be longer after a failed sync
        self._appended = False
        self._refusal = ""  # why nothing more is written
        self._readers: OrderedDict[int, Handle] = OrderedDict()
        self._reading = Lock()  # no handle is closed under a reader in another thread
        self.report: tuple[Finding, ...] = ()

    @classmethod
    def open(
        cls,
        files: Files,
        directory: str,
        *,
        applied: int = 0,
        random_bytes: Callable[[int], bytes],
        max_segment: int = MAX_SEGMENT,
    ) -> LogFile:
        """Open the log in a directory, make it if there is none, and recover it.

        `applied` is the position up to which the view holds the log, and everything before it was synced. What
        lies behind it is read, what is torn there is cut, and the rest is synced when this returns.

        Raises:
            StorageError: the disk refused. Nothing is lost.
        """
        log = cls(files, directory, max_segment)
        try:
            log._recover(applied, random_bytes)
        except BaseException as error:
            log.close()
            if isinstance(error, OSError):
                raise StorageError(f"the log in {directory} cannot be opened: {error}") from error
            raise
        return log

    @property
    def store(self) -> bytes:
        """The id that all segments of this log share, 16 bytes."""
        return self._store

    @property
    def end(self) -> int:
        """Position behind the last section."""
        return car.position(self._numbers[-1], self._size)

    @property
    def synced(self) -> int:
        """Position up to which the log survives a power cut."""
        return car.position(self._numbers[-1], self._synced_size)

    def append(self, blocks: Iterable[Block], *, durable: bool) -> list[int]:
        """Write a group of blocks, in order, and return their positions.

        Digests are taken on trust: a block that does not hash to its own would be damage. On return the group,
        and all before it, survives the death of this process, and if `durable` a power cut.

        Raises:
            ValueError: a codec is none of ours, or a digest has not 32 bytes.
            TooLargeError: a block is longer than 2 MiB, or the group than 2 GiB.
            StorageError: the disk refused, now or before. The group is not in the log.
        """
        parts: list[bytes] = []
        starts: list[int] = []
        total = 0
        for codec, digest, block in blocks:
            size = len(block)
            if size > car.MAX_BLOCK:
                raise TooLargeError(f"a block of {size} bytes; the format allows {car.MAX_BLOCK}")
            head = car.section_head(codec, digest, size)
            parts += (head, block)
            starts.append(total)
            total += len(head) + size
        handle = self._writable()
        if self._size + total > self._max_segment:
            handle = self._make_room(handle, total)
        at = self._size
        group = b"".join(parts)
        try:
            if handle.pwrite(group, at) != total:
                write_all(handle, group, at)
        except BaseException as error:
            self._take_back(handle, error)
        if durable:
            try:
                handle.sync()
            except OSError as error:
                at = self._write_anew(handle, group, error)
            except BaseException as error:
                self._take_back(handle, error)
            self._synced_size = at + total
        self._size = at + total
        self._appended = True
        base = car.position(self._numbers[-1], at)
        return [base + start for start in starts]

    def sync(self) -> None:
        """Return once everything appended so far survives a power cut.

        Raises:
            StorageError: it may not. Nothing more is written until the log is opened again.
        """
        handle = self._writable()
        if self._synced_size == self._size:
            return
        try:
            handle.sync()
        except OSError as error:
            self._refuse("the disk did not sync what was acknowledged to this process", error)
        self._synced_size = self._size

    def truncate_to(self, position: int) -> None:
        """Cut the log at a section, e.g. an unfinished transaction, before anything is appended. It is saved aside.

        Raises:
            ValueError: something was appended since the log was opened, or no section begins at the position.
            CorruptionError: there is damage in what would be cut, and damage is never cut.
            StorageError: the disk refused. Less may be cut than was asked, but in order: the last bytes first.
        """
        if self._appended or position > self.end:
            raise ValueError("only the end of a log that was just opened can be cut")
        self._writable()
        first, offset = car.split(position)
        keeps = {
            number: max(self._start_of(number), offset if number == first else 0)
            for number in reversed(self._numbers)
            if number >= first
        }
        try:
            for number, keep in keeps.items():
                self._check_cut(number, keep)
            for number, keep in keeps.items():
                self._cut_segment(number, keep)
        except OSError as error:
            self._refuse(f"the log could not be cut at {position}", error)

    def read(self, position: int) -> bytes:
        """Return the block of the section at a position; it hashes to its CID.

        Raises:
            CorruptionError: no whole section begins there.
            StorageError: the disk refused, or the segment is not there.
        """
        return self.read_section(position)[2]

    def read_section(self, position: int) -> Block:
        """Return codec, digest and block of the section at a position; errors as for `read`."""
        number, offset = car.split(position)
        with self._reading:
            try:
                codec, digest, block, _ = car.section_at(self._reader(number).pread, offset)
            except OSError as error:
                raise StorageError(f"segment {number} cannot be read: {error}") from error
            except ValueError as error:
                raise CorruptionError(f"{self._path(number)}, byte {offset}: {error}") from error
        return codec, digest, block

    def scan(self, start: int = 0) -> Iterator[Section]:
        """Read all whole sections from a position on, segment heads left out. Each one is hashed.

        Damage is skipped, and what is read behind it is `doubtful`. `start` is 0 or where a section begins, or ends.

        Raises:
            StorageError: the disk refused.
        """
        first, offset = car.split(start)
        try:
            for number in [number for number in self._numbers if number >= first]:
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
        yield from missing(self._numbers)
        done, told, total = 0, 0, 0
        try:
            for number in self._numbers:
                with closing(self._files.open(self._path(number), write=False)) as handle:
                    total += self._size_of(number, handle)
            for number in list(self._numbers):
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
        with self._reading:
            handles = [*self._readers.values(), *([self._current] if self._current else [])]
            self._readers.clear()
            self._current = None
        for handle in handles:
            handle.close()

    def _recover(self, applied: int, random_bytes: Callable[[int], bytes]) -> None:
        make_directory(self._files, self._directory)
        found = recover(self._files, self._directory, applied)
        self._numbers, self._sound, self.report = found.numbers, found.sound, tuple(found.findings)
        self._store = found.store or random_bytes(16)
        size = self._sync_tail(self._numbers[-1], applied) if self._numbers else 0
        if found.appendable:
            number = self._numbers.pop()
            self._enter(number, self._files.open(self._path(number)), size)
        else:
            self._enter(*self._create())
            sync_names(self._files, self._directory)

    def _sync_tail(self, number: int, applied: int) -> int:
        """Bring what lies behind `applied` to the disk, for the process that wrote it may have failed to; its size."""
        first, offset = car.split(applied)
        start = offset if first == number else 0
        with closing(self._files.open(self._path(number))) as handle:
            size = handle.size()
            if start < size:
                write_again(handle, start, size)
                sync_names(self._files, self._directory)
        return size

    def _create(self) -> tuple[int, Handle, int]:
        number = self._numbers[-1] + 1 if self._numbers else 1
        return number, *create_segment(self._files, self._directory, number, self._store)

    def _enter(self, number: int, handle: Handle, size: int) -> None:
        """Append to this segment from now on; all that is in it is synced."""
        with self._reading:
            if self._current is not None:
                self._sizes[self._numbers[-1]] = self._size
                self._keep_reader(self._numbers[-1], self._current)
            self._numbers.append(number)
            self._current = handle
            self._size = self._synced_size = size
        self._sound.setdefault(number, (0, EVERYWHERE))

    def _writable(self) -> Handle:
        if self._current is None:
            raise ClosedError("the log is closed")
        if self._refusal:
            raise StorageError(f"nothing is written until the log is opened again: {self._refusal}")
        return self._current

    def _refuse(self, why: str, error: BaseException) -> NoReturn:
        self._refusal = f"{why}: {error}"
        raise StorageError(f"nothing is written until the log is opened again: {self._refusal}") from error

    def _make_room(self, handle: Handle, total: int) -> Handle:
        """Return the segment for a group that does not fit into the current one: a new one, unless that is empty."""
        if total > _MAX_GROUP:
            raise TooLargeError(f"a group of {total} bytes; at most {_MAX_GROUP} can be written at once")
        if self._size == self._start_of(self._numbers[-1]):
            return handle
        self.sync()  # a segment is durable before anything behind it can be
        try:
            number, fresh, size = self._create()
        except OSError as error:
            raise StorageError(f"the disk refused a new segment; nothing was written: {error}") from error
        self._enter(number, fresh, size)
        return fresh

    def _take_back(self, handle: Handle, error: BaseException) -> NoReturn:
        """Cut a group off that is not wholly written, durably: no part of it may come to stand behind a later one."""
        try:
            handle.truncate(self._size)
            handle.sync()
        except OSError as second:
            self._refuse(f"a write failed ({error}) and could not be taken back", second)
        self._synced_size = self._size
        if isinstance(error, OSError):
            raise StorageError(f"the disk refused a write; nothing was written: {error}") from error
        raise error

    def _write_anew(self, left: Handle, group: bytes, error: OSError) -> int:
        """After a failed sync: write the group into a new segment, sync that, and return the group's offset in it."""
        with suppress(OSError):  # else the group stands in both segments, or is torn in this one: both are harmless
            left.truncate(self._size)
        if self._synced_size != self._size:
            self._refuse("the disk did not sync what was acknowledged to this process", error)
        try:
            number, handle, size = self._create()
        except OSError as second:
            self._refuse(f"a sync failed ({error}), and so did a new segment", second)
        try:
            write_all(handle, group, size)
            handle.sync()
        except BaseException as second:
            handle.close()
            with suppress(OSError):  # it holds nothing that was acknowledged
                self._files.remove(self._path(number))
            self._refuse(f"a sync failed ({error}), and so did writing into a new segment", second)
        self._enter(number, handle, size)
        return size

    def _cut_segment(self, number: int, keep: int) -> None:
        cut(self._files, self._path(number), keep)
        if number == self._numbers[-1]:
            self._size = self._synced_size = keep
        else:
            self._sizes[number] = keep

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
            return car.store_of(handle.pread, number) != self._store
        except ValueError:
            return False  # damage, and found as such

    def _reader(self, number: int) -> Handle:
        if self._current is None:
            raise ClosedError("the log is closed")
        if number == self._numbers[-1]:
            return self._current
        handle = self._readers.get(number)
        if handle is None:
            handle = self._files.open(self._path(number), write=False)
            self._keep_reader(number, handle)
        else:
            self._readers.move_to_end(number)
        return handle

    def _keep_reader(self, number: int, handle: Handle) -> None:
        self._readers[number] = handle
        if len(self._readers) > _MAX_READERS:
            self._readers.popitem(last=False)[1].close()

    def _size_of(self, number: int, handle: Handle) -> int:
        with self._reading:
            if number == self._numbers[-1]:
                return self._size
            return self._sizes[number] if number in self._sizes else handle.size()

    def _start_of(self, number: int) -> int:
        return len(car.segment_start(number, self._store))

    def _path(self, number: int) -> str:
        return segment_path(self._directory, number)
