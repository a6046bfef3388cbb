"""Copies of a home's files while programs write to them: segments of logs and of content, and what is known of pins."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Final

import apsw

from debros.blocks.files import DiskFiles
from debros.blocks.logfile import LogFile
from debros.blocks.segments import list_segments, make_directory, segment_path
from debros.cli.screen import Screen
from debros.env import SYSTEM
from debros.replica.verify import Finding

CHUNK: Final = 1 << 20
PINS: Final = "pins.sqlite"


def copy_segments(source: Path, target: Path, screen: Screen) -> int:
    """Copy segments as long as they are now, oldest first; return their bytes.

    They only grow. One may go, once what it held stands at the end of a newer one: then what came there is copied too.
    """
    make_directory(DiskFiles(), str(target))
    copied: dict[str, int] = {}
    with screen.progress("bytes") as bar:
        task = bar.add_task("copying", total=None)
        is_whole = False
        while not is_whole:
            is_whole = True
            sizes = list(_sizes(source))
            bar.update(task, total=sum(size for _, size in sizes))
            for path, size in sizes:
                try:
                    with path.open("rb") as here, (target / path.name).open("ab") as there:
                        here.seek(copied.get(path.name, 0))
                        copied[path.name] = here.tell() + _copy(here, there, size - here.tell())
                except FileNotFoundError:
                    is_whole = False
                bar.update(task, completed=sum(copied.values()))
    return sum(copied.values())


def _sizes(directory: Path) -> Iterator[tuple[Path, int]]:
    """Yield the segments of a directory with their sizes; one that goes meanwhile is found to be gone when it is copied."""
    for number in list_segments(DiskFiles(), str(directory)):
        path = Path(segment_path(str(directory), number))
        yield path, path.stat().st_size if path.exists() else 0


def _copy(here: BinaryIO, there: BinaryIO, size: int) -> int:
    left = size
    while left > 0 and (chunk := here.read(min(CHUNK, left))):
        there.write(chunk)
        left -= len(chunk)
    there.flush()
    os.fsync(there.fileno())
    return size - max(left, 0)


def cut_torn_tail(directory: Path) -> None:
    """Cut what was being written while the last segment was copied; damage stays, and a check tells of it."""
    LogFile.open(DiskFiles(), str(directory), random_bytes=SYSTEM.random_bytes).close()
    for path in directory.iterdir():
        if path.suffix != ".car":
            path.unlink()


def copy_pins(source: Path, target: Path) -> list[Finding]:
    """Copy what is known of pins, as of one moment; return what kept it from that."""
    if not source.is_file():
        return []
    try:
        with closing(apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)) as db:
            db.execute("VACUUM INTO ?", (str(target),))
    except apsw.Error as error:
        target.unlink(missing_ok=True)
        return [Finding(0, "pins", f"{source} cannot be read: {error}")]
    sync(target)
    return []


def digests_of(directory: Path) -> dict[str, str]:
    """Return the sha256 of each segment in a directory, in hex, by its name."""
    return {path.name: digest_of(path) for path in sorted(directory.glob("*.car"))}


def digest_of(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(*paths: Path) -> None:
    """Return once these files, and the names in these folders, would survive a power cut."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
