"""Segments of a log as files in a directory: their names, how one begins, and how an end of one is cut.

No step here is taken back by a power cut at a bad moment: a new segment is synced, with its name, before
anything is appended to it, and bytes are synced in a side file before they are cut.
"""

from __future__ import annotations

import os
import re
from contextlib import closing, suppress
from typing import Final

from debros.blocks import car
from debros.blocks.files import Files, Handle

_NAME: Final = re.compile(r"([0-9]{6})\.car")
_STEP: Final = 1 << 20


def segment_path(directory: str, number: int) -> str:
    """Return the path of a segment: `000001.car` for number 1."""
    return os.path.join(directory, f"{number:06}.car")


def make_directory(files: Files, directory: str) -> None:
    """Make the directory of a log, and its parents, where they are not there, and sync their names.

    Raises:
        OSError: the disk refused.
    """
    made: list[str] = []
    path = directory
    while path and not files.exists(path):
        made.append(path)
        path = os.path.dirname(path)
    files.makedirs(directory)
    for path in reversed(made):
        files.sync_dir(os.path.dirname(path))


def sync_names(files: Files, directory: str) -> None:
    """Return once the names of a log's segments, and its own name, would survive a power cut.

    Raises:
        OSError: the disk refused.
    """
    files.sync_dir(directory)
    files.sync_dir(os.path.dirname(directory))


def list_segments(files: Files, directory: str) -> list[int]:
    """Return the numbers of the segments in a directory, ascending. Other names in it are not ours."""
    named = (_NAME.fullmatch(name) for name in files.listdir(directory))
    return sorted(int(match[1]) for match in named if match and int(match[1]) > 0)


def start_size(number: int) -> int:
    """Return the size of a segment that holds nothing but its head."""
    return len(car.segment_start(number, bytes(16)))


def create_segment(files: Files, directory: str, number: int, store: bytes) -> tuple[Handle, int]:
    """Make an empty segment that survives a power cut, and return it with its size.

    Raises:
        OSError: the disk refused. No segment of this number is there, as far as the disk allowed to remove it.
    """
    path = segment_path(directory, number)
    start = car.segment_start(number, store)
    handle = files.open(path, create=True)
    try:
        handle.truncate(0)
        write_all(handle, start, 0)
        handle.sync()
        files.sync_dir(directory)
    except BaseException:
        handle.close()
        with suppress(OSError):  # recovery removes what stays here: an empty segment, or a torn one
            files.remove(path)
        raise
    return handle, len(start)


def write_all(handle: Handle, data: bytes, offset: int) -> None:
    """Write all of `data`, in as many calls as the disk takes.

    Raises:
        OSError: the disk refused; some of it may be written.
    """
    done = handle.pwrite(data, offset)
    while done < len(data):
        done += handle.pwrite(memoryview(data)[done:], offset + done)


def write_again(handle: Handle, start: int, end: int) -> None:
    """Write the bytes of a file again where they are, and sync them.

    A sync covers what was written since the last one, also one that failed for the process before us: then what
    we read may be in the kernel's memory alone, and nothing but writing it brings it to the disk.
    """
    for offset in range(start, end, _STEP):
        write_all(handle, handle.pread(min(_STEP, end - offset), offset), offset)
    handle.sync()


def cut(files: Files, path: str, keep: int) -> str:
    """Cut a segment to its first `keep` bytes; to 0: remove it. Return the path of the file that has the rest.

    The rest is synced before it is cut; the path is empty if there is none.
    """
    directory = os.path.dirname(path)
    taken = set(files.listdir(directory))
    name = next(name for n in range(1, len(taken) + 2) if (name := f"{os.path.basename(path)}.torn-{n}") not in taken)
    side_path = os.path.join(directory, name)
    with closing(files.open(path)) as handle:
        size = handle.size()
        if keep >= size > 0:
            return ""
        if keep:
            with closing(files.open(side_path, create=True)) as side:
                for offset in range(keep, size, _STEP):
                    write_all(side, handle.pread(min(_STEP, size - offset), offset), offset - keep)
                side.sync()
            files.sync_dir(directory)
            handle.truncate(keep)
            handle.sync()
            return side_path
        handle.sync()
    if size:
        files.replace(path, side_path)
    else:
        files.remove(path)
    files.sync_dir(directory)
    return side_path if size else ""
