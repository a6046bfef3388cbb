"""Segments that are open for reading: a bounded number of files, used by any thread."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Final

from debros.blocks import car
from debros.blocks.files import Files, Handle
from debros.blocks.segments import segment_path
from debros.blocks.tail import Block
from debros.errors import ClosedError, CorruptionError, StorageError

MAX_OPEN: Final = 16


class Readers:
    """Random access to the sections of a log. The least recently read segment is closed when there are too many."""

    def __init__(self, files: Files, directory: str) -> None:
        self._files = files
        self._directory = directory
        self._open: OrderedDict[int, Handle] = OrderedDict()
        self._lock = Lock()  # no file is closed under a reader in another thread
        self._is_closed = False

    def read_section(self, position: int) -> Block:
        """Return codec, digest and block of the section at a position; errors as for `LogFile.read`."""
        number, offset = car.split(position)
        with self._lock:
            try:
                codec, digest, block, _ = car.section_at(self._handle(number).pread, offset)
            except OSError as error:
                raise StorageError(f"segment {number} cannot be read: {error}") from error
            except ValueError as error:
                where = f"{segment_path(self._directory, number)}, byte {offset}"
                raise CorruptionError(f"{where}: {error}") from error
        return codec, digest, block

    def read_pair(self, first: int, second: int) -> tuple[Block, Block]:
        """Return the sections at two positions, by one read where they lie near each other; errors as for `read_section`."""
        (number, offset), (other, behind) = car.split(first), car.split(second)
        if number != other:
            return self.read_section(first), self.read_section(second)
        with self._lock:
            try:
                return car.pair_at(self._handle(number).pread, offset, behind)
            except OSError as error:
                raise StorageError(f"segment {number} cannot be read: {error}") from error
            except ValueError as error:
                where = f"{segment_path(self._directory, number)}, byte {offset} or {behind}"
                raise CorruptionError(f"{where}: {error}") from error

    def forget(self, number: int) -> None:
        """Close the file of a segment that goes."""
        with self._lock:
            handle = self._open.pop(number, None)
            if handle is not None:
                handle.close()

    def close(self) -> None:
        """Close all files; nothing can be read any more."""
        with self._lock:
            self._is_closed = True
            while self._open:
                self._open.popitem()[1].close()

    def _handle(self, number: int) -> Handle:
        if self._is_closed:
            raise ClosedError("the log is closed")
        handle = self._open.get(number)
        if handle is None:
            handle = self._open[number] = self._files.open(segment_path(self._directory, number), write=False)
            if len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)[1].close()
        else:
            self._open.move_to_end(number)
        return handle
