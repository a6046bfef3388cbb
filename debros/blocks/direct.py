"""Large writes past the system's memory: what streams into a store of content is not about to be read.

A page that the system has to find for a copy, write and free again costs more than the hash of what is in it. Linux writes
from the program's memory where a file is opened with `O_DIRECT` and offsets, lengths and memory are whole pages: so parts
are put together in a buffer that is used over and over, and only what stands before the first whole page and behind the last
goes the ordinary way. The kernel keeps both ways coherent (open(2), NOTES).
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, PAGESIZE, mmap
from typing import Final

_STEP: Final = 4 << 20  # bytes of the buffer
_REFUSALS: Final = (errno.EINVAL, errno.ENOENT, errno.EOPNOTSUPP)  # file systems that cannot; no /proc


class Direct:
    """Large writes into a file that is open for writing. For one thread at a time."""

    def __init__(self, fd: int) -> None:
        """`fd` stays the caller's.

        Raises:
            OSError: the disk refused.
        """
        self._fd = fd
        self._direct: int | None = None  # none: this file system has no such way, and all writes are ordinary ones
        if sys.platform == "linux":
            try:
                self._direct = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
            except OSError as error:
                if error.errno not in _REFUSALS:
                    raise
        self._buffer = memoryview(mmap(-1, _STEP, flags=MAP_PRIVATE | MAP_ANONYMOUS))

    def pwritev(self, parts: Sequence[bytes | memoryview], offset: int) -> int:
        """Write some parts, one behind the other, and return how many bytes were written.

        Raises:
            OSError: the disk refused.
        """
        begin = filled = offset % PAGESIZE
        base, done = offset - begin, 0
        for part in parts:
            left = memoryview(part)
            while left:
                taken = min(len(left), _STEP - filled)
                self._buffer[filled : filled + taken] = left[:taken]
                left, filled = left[taken:], filled + taken
                if filled == _STEP:
                    written = self._write(base, begin, filled)
                    done += written
                    if written < filled - begin:
                        return done
                    base, begin, filled = base + _STEP, 0, 0
        return done + self._write(base, begin, filled)

    def _write(self, base: int, begin: int, end: int) -> int:
        """Write a part of the buffer, which stands for the file from `base` on; return how many bytes were written."""
        first, last = -(-begin // PAGESIZE) * PAGESIZE, end // PAGESIZE * PAGESIZE
        if self._direct is None or first >= last:
            return os.pwrite(self._fd, self._buffer[begin:end], base + begin)
        done = 0
        for start, stop in ((begin, first), (first, last), (last, end)):
            if start == stop:
                continue
            written = self._write_pages(base, start, stop) if start == first else self._ordinary(base, start, stop)
            done += written
            if written < stop - start:
                break
        return done

    def _write_pages(self, base: int, start: int, stop: int) -> int:
        if self._direct is not None:
            try:
                return os.pwrite(self._direct, self._buffer[start:stop], base + start)
            except OSError as error:
                if error.errno not in _REFUSALS:
                    raise
                self.close()  # one that asks for larger pages
        return self._ordinary(base, start, stop)

    def _ordinary(self, base: int, start: int, stop: int) -> int:
        return os.pwrite(self._fd, self._buffer[start:stop], base + start)

    def close(self) -> None:
        """Write the ordinary way from now on."""
        if self._direct is not None:
            with suppress(OSError):  # nothing waits in it
                os.close(self._direct)
            self._direct = None
