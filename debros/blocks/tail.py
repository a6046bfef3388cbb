"""The end of a log, where it grows: groups of blocks, each written with one call and synced before it is acknowledged.

Nothing here changes before a call succeeds. A failed sync is never retried on the same file, for the kernel may
have dropped the bytes it covered and a second one would succeed over the hole: the group goes into a new segment,
or the log refuses writes until it is opened again (docs/format.md, Log file).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Final, NoReturn, TypeAlias

from debros.blocks import car
from debros.blocks.files import Files, Handle
from debros.blocks.segments import create_segment, segment_path, start_size, write_all
from debros.errors import ClosedError, StorageError, TooLargeError

Block: TypeAlias = tuple[int, bytes, bytes]  # codec, sha2-256 digest of the block, block

_MAX_GROUP: Final = 1 << 31
_LARGE: Final = 16 << 10  # bytes: larger parts are written from where they are
_STREAMED: Final = 4 << 20  # bytes: smaller content may well be looked at soon
_MOST_PARTS: Final = 1000  # that the kernel takes in one call
_OFFSET: Final = (1 << car.OFFSET_BITS) - 1


class Tail:
    """The segment that is written. One caller at a time may write; readers in other threads see whole groups.

    `end` is the position behind the last section, `synced` the one up to which the log survives a power cut.
    `numbers` are those of all segments of the log, ascending; `sizes` has those that were left, for a file may
    be longer after a failed sync.
    """

    def __init__(
        self, files: Files, directory: str, store: bytes, numbers: list[int], max_segment: int, *,
        is_streamed: bool = False,
    ) -> None:  # fmt: skip
        self._is_streamed = is_streamed  # a segment that was left is not about to be read
        self.numbers = numbers
        self.sizes: dict[int, int] = {}
        self.end = self.synced = 0
        self.has_grown = False
        self._files = files
        self._directory = directory
        self._store = store
        self._max_segment = max_segment
        self._handle: Handle | None = None
        self._refusal = ""  # why nothing more is written

    def continue_last(self, size: int) -> None:
        """Go on in the last segment, all `size` bytes of which are synced."""
        number = self.numbers[-1]
        self._handle = self._files.open(segment_path(self._directory, number))
        self.end = self.synced = car.position(number, size)

    def begin_new(self) -> None:
        """Go on in a new segment.

        Raises:
            OSError: the disk refused; nothing has changed.
        """
        self._enter(*self._create())

    def append(self, blocks: Iterable[Block], *, durable: bool) -> list[int]:
        """Write a group of blocks and return their positions; see `LogFile.append`."""
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
        handle = self.writable()
        if (self.end & _OFFSET) + total > self._max_segment:
            handle = self._make_room(handle, total)
        begin, offset = self.end, self.end & _OFFSET
        try:
            if self._is_streamed and total >= _STREAMED:
                written = handle.stream(parts, offset)
            elif total < len(parts) * _LARGE or len(parts) > _MOST_PARTS:  # putting them together costs less
                written = handle.pwrite(b"".join(parts), offset)
            else:
                written = handle.pwritev(parts, offset)
            if written != total:
                write_all(handle, b"".join(parts), offset)
        except BaseException as error:
            self._take_back(handle, error)
        if durable:
            try:
                handle.sync()
            except OSError as error:
                begin = self._write_anew(handle, b"".join(parts), error)
            except BaseException as error:
                self._take_back(handle, error)
            self.synced = begin + total
        self.end = begin + total
        self.has_grown = True
        return list(map(begin.__add__, starts))

    def sync(self) -> None:
        """Return once everything appended so far survives a power cut; see `LogFile.sync`."""
        handle = self.writable()
        if self.synced == self.end:
            return
        try:
            handle.sync()
        except OSError as error:
            self.refuse("the disk did not sync what was acknowledged to this process", error)
        self.synced = self.end

    def writable(self) -> Handle:
        """Return the file that is written.

        Raises:
            ClosedError: the log is closed.
            StorageError: the disk failed in a way after which nothing is written until the log is opened again.
        """
        if self._handle is None:
            raise ClosedError("the log is closed")
        if self._refusal:
            raise StorageError(f"nothing is written until the log is opened again: {self._refusal}")
        return self._handle

    def was_cut(self, number: int, size: int) -> None:
        """Take note that a segment was cut to `size` bytes, and synced."""
        if number == self.numbers[-1]:
            self.end = self.synced = car.position(number, size)
        else:
            self.sizes[number] = size

    def refuse(self, why: str, error: BaseException) -> NoReturn:
        """Write nothing more until the log is opened again.

        Raises:
            StorageError: always.
        """
        self._refusal = f"{why}: {error}"
        raise StorageError(f"nothing is written until the log is opened again: {self._refusal}") from error

    def close(self) -> None:
        """Close the segment; nothing is synced."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def _make_room(self, handle: Handle, total: int) -> Handle:
        """Return the segment for a group that does not fit into the current one: a new one, unless that is empty."""
        if total > _MAX_GROUP:
            raise TooLargeError(f"a group of {total} bytes; at most {_MAX_GROUP} can be written at once")
        number, size = car.split(self.end)
        if size == start_size(number):
            return handle
        self.sync()  # a segment is durable before anything behind it can be
        try:
            self.begin_new()
        except OSError as error:
            raise StorageError(f"the disk refused a new segment; nothing was written: {error}") from error
        return self.writable()

    def _take_back(self, handle: Handle, error: BaseException) -> NoReturn:
        """Cut a group off that is not wholly written, durably: no part of it may come to stand behind a later one."""
        try:
            handle.truncate(self.end & _OFFSET)
            handle.sync()
        except OSError as second:
            self.refuse(f"a write failed ({error}) and could not be taken back", second)
        self.synced = self.end
        if isinstance(error, OSError):
            raise StorageError(f"the disk refused a write; nothing was written: {error}") from error
        raise error

    def _write_anew(self, left: Handle, group: bytes, error: OSError) -> int:
        """After a failed sync: write the group into a new segment, sync that, and return the group's position."""
        with suppress(OSError):  # else the group stands in both segments, or is torn in this one: both are harmless
            left.truncate(self.end & _OFFSET)
        if self.synced != self.end:
            self.refuse("the disk did not sync what was acknowledged to this process", error)
        try:
            number, handle, size = self._create()
        except OSError as second:
            self.refuse(f"a sync failed ({error}), and so did a new segment", second)
        try:
            write_all(handle, group, size)
            handle.sync()
        except BaseException as second:
            handle.close()
            with suppress(OSError):  # it holds nothing that was acknowledged
                self._files.remove(segment_path(self._directory, number))
            self.refuse(f"a sync failed ({error}), and so did writing into a new segment", second)
        self._enter(number, handle, size)
        return self.end

    def _create(self) -> tuple[int, Handle, int]:
        number = self.numbers[-1] + 1 if self.numbers else 1
        return number, *create_segment(self._files, self._directory, number, self._store)

    def _enter(self, number: int, handle: Handle, size: int) -> None:
        left = self._handle
        if left is not None:
            self.sizes[self.numbers[-1]] = self.end & _OFFSET
        self._handle = handle
        self.end = self.synced = car.position(number, size)
        self.numbers.append(number)  # last: who finds the number finds its size
        if left is not None:
            if self._is_streamed:
                left.release()
            left.close()
