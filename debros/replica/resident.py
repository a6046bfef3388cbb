"""What of the view's file lies in the system's memory is mapped at once when a node opens it, not page by page.

SQLite reads the file through a mapping. Linux enters 64 KiB into it at the first look at any of them, which costs a microsecond
on some machines and 20 on virtual ones, and rows of a query lie scattered: 20 of them out of a million paid it 18 times.
MADV_POPULATE_READ (madvise(2), Linux 5.14) enters a whole range in one call, a MiB in 0.06 ms. Only what mostly is in memory by
mincore(2) is entered, so little is read from disk. It is a hint: elsewhere pages come as they are looked at, and nothing else differs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from mmap import PAGESIZE
from typing import Final

LEAST: Final = 8 << 20  # bytes of a file for which it is worth it
STEP: Final = 256 << 10  # bytes that are entered together, if at least half of them are in memory
_MADV_POPULATE_READ: Final = 22


def enter(path: str) -> int:
    """Enter what is in memory of a file into this process's mappings of it; return how many bytes. It may take some ms: in a thread."""
    if sys.platform != "linux":
        return 0
    return sum(_entered(start, size) for start, size in list(_mappings(os.path.realpath(path))))


def is_worth_it(path: str) -> bool:
    """Whether a file is so large that a look at it should not wait for its pages one by one."""
    try:
        return os.path.getsize(path) >= LEAST
    except OSError:  # it has no file
        return False


def _mappings(path: str) -> Iterator[tuple[int, int]]:
    """Yield where a file is mapped: address and size. The form of the lines is that of proc_pid_maps(5)."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            found = line.rstrip("\n").split(None, 5)
            if len(found) == 6 and found[5] == path:
                start, end = (int(digits, 16) for digits in found[0].split("-"))
                yield start, end - start


def _entered(start: int, size: int) -> int:
    """Enter one mapping. If it is gone by now, the system says so, and nothing happens."""
    from ctypes import CDLL, c_int, c_size_t, c_ubyte, c_void_p  # 5 ms that most programs need not spend

    libc = CDLL(None)
    libc.mincore.argtypes = (c_void_p, c_size_t, c_void_p)
    libc.madvise.argtypes = (c_void_p, c_size_t, c_int)
    pages = (c_ubyte * (-(-size // PAGESIZE)))()
    if libc.mincore(start, size, pages) != 0:
        return 0
    entered = 0
    for at, length in runs(bytes(pages), STEP // PAGESIZE):
        if libc.madvise(start + at * PAGESIZE, length * PAGESIZE, _MADV_POPULATE_READ) != 0:
            break
        entered += length * PAGESIZE
    return entered


def runs(pages: bytes, step: int) -> Iterator[tuple[int, int]]:
    """Yield the longest runs of steps at least half of whose pages are in memory: number of the first page, and how many.

    `pages` has a 1 for each page in memory, and a 0 for each other; the last step may be shorter.
    """
    begun = None
    for at in range(0, len(pages), step):
        some = pages[at : at + step]
        is_here = 2 * some.count(1) >= len(some)
        if is_here and begun is None:
            begun = at
        elif not is_here and begun is not None:
            yield begun, at - begun
            begun = None
    if begun is not None:
        yield begun, len(pages) - begun
