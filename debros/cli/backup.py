"""`debros backup`: a consistent, verified copy of a database, while it is open or not."""

from __future__ import annotations

import hashlib
import json as json_text
import os
import shutil
from pathlib import Path
from typing import Any, Final

from debros.blocks.files import DiskFiles
from debros.blocks.logfile import LogFile
from debros.blocks.segments import list_segments, make_directory, segment_path
from debros.cli.exits import CommandError, Exit
from debros.cli.options import Flag, HomePath, Json
from debros.cli.project import Project
from debros.cli.screen import Screen
from debros.cli.units import binary_size, counted
from debros.cli.verify import check
from debros.env import SYSTEM
from debros.places import Places

FILE: Final = "backup.json"
FORMAT: Final = 1
CHUNK: Final = 1 << 20


def command(target: Path, /, *, home: HomePath = None, with_key: Flag = False, json: Json = False) -> Exit:
    """Copy a database into a new folder, and verify every address, signature, clock and link of the copy.

    The log only grows, so a copy of its beginning is a whole database as of then; programs may write meanwhile. The
    view is left out, for it is made anew, and so is what would let two homes write with one key.

    Args:
        target: A new folder.
        home: The database; by default the project's.
        with_key: Copy the user's key too: whoever has the copy can write as the user then.
        json: Print one JSON object.
    """
    screen = Screen(json)
    place = Project.here().existing_home(home)
    if any(True for _ in Places(place, SYSTEM, DiskFiles())):
        raise CommandError(
            "shards of this database lie in stores of their own, which a backup does not take along",
            next="await db.export_car(path), which holds everything",
            exit=Exit.FAILED,
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CommandError(f"{target} is there already and not empty", next="debros backup PATH, with a new folder")
    sizes = _copy(place / "log", target / "log", screen)
    _cut_torn_tail(target / "log")
    if with_key:
        if not (place / "identity").is_file():
            raise CommandError(f"{place} keeps no key", next="debros backup PATH, without --with-key", exit=Exit.FAILED)
        shutil.copyfile(place / "identity", target / "identity")
        (target / "identity").chmod(0o600)
        sync(target / "identity")
    files = {path.name: digest_of(path) for path in sorted((target / "log").glob("*.car"))}
    checked, findings = check(target, screen)
    told: dict[str, Any] = {"format": FORMAT, "entries": checked.entries, "files": files, "with_key": with_key}
    (target / FILE).write_text(json_text.dumps(told, indent=2) + "\n", encoding="utf-8")
    sync(target / FILE, target / "log", target)
    if findings:
        screen.say(
            "damaged", f"{counted(len(findings), 'finding')} in {place}; next: debros verify {place}", "bold red"
        )
    else:
        size = binary_size(sum(sizes))
        screen.say(
            "backed up", f"{target}: {counted(checked.entries, 'entry', 'entries')}, {size}, verified", "bold green"
        )
    screen.result({"target": str(target), "entries": checked.entries, "bytes": sum(sizes), "whole": not findings})
    return Exit.FAILED if findings else Exit.DONE


def _copy(source: Path, target: Path, screen: Screen) -> list[int]:
    """Copy the segments as long as they are now, oldest first; return their sizes."""
    files = DiskFiles()
    numbers = list_segments(files, str(source))
    paths = [Path(segment_path(str(source), number)) for number in numbers]
    sizes = [path.stat().st_size for path in paths]
    make_directory(files, str(target))
    with screen.progress("bytes") as bar:
        task = bar.add_task("copying", total=sum(sizes))
        for path, size in zip(paths, sizes, strict=True):
            with path.open("rb") as here, (target / path.name).open("wb") as there:
                left = size
                while left and (chunk := here.read(min(CHUNK, left))):
                    there.write(chunk)
                    left -= len(chunk)
                    bar.advance(task, len(chunk))
                there.flush()
                os.fsync(there.fileno())
    return sizes


def _cut_torn_tail(log: Path) -> None:
    """Cut what was being written while the last segment was copied; damage stays, and the check tells of it."""
    LogFile.open(DiskFiles(), str(log), random_bytes=SYSTEM.random_bytes).close()
    for path in log.iterdir():
        if path.suffix != ".car":
            path.unlink()


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
