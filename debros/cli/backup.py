"""`debros backup`: a consistent, verified copy of a database, while it is open or not."""

from __future__ import annotations

import json as json_text
import shutil
from pathlib import Path
from typing import Any, Final

from debros.blocks.files import DiskFiles
from debros.blocks.segments import make_directory
from debros.cli.copying import PINS, copy_pins, copy_segments, cut_torn_tail, digest_of, digests_of, sync
from debros.cli.exits import CommandError, Exit
from debros.cli.options import Flag, HomePath, Json
from debros.cli.project import Project
from debros.cli.screen import Screen
from debros.cli.units import binary_size, counted
from debros.cli.verify import check, check_content, of_content, place_of
from debros.env import SYSTEM
from debros.home import replace_file
from debros.places import Places
from debros.replica.verify import Finding

FILE: Final = "backup.json"  # written last: a folder without it holds no backup
UNFINISHED: Final = "backup.new"  # what FILE is called until then; it is there before anything else
FORMAT: Final = 1


def command(target: Path, /, *, home: HomePath = None, with_key: Flag = False, json: Json = False) -> Exit:
    """Copy a database, with its files and pins, into a new folder, and verify every address, signature, clock and link of the copy.

    The log only grows, so a copy of its beginning is a whole database as of then; programs may write meanwhile. The
    view is left out, for it is made anew, and so is what would let two homes write with one key. If it is interrupted or
    killed, type it again: it begins anew.

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
    _begin(target)
    size = copy_segments(place / "log", target / "log", screen)
    cut_torn_tail(target / "log")
    blocks, content_size, findings = _copy_content(place, target, screen)  # behind the log, for that refers to it
    if with_key:
        if not (place / "identity").is_file():
            raise CommandError(f"{place} keeps no key", next="debros backup PATH, without --with-key", exit=Exit.FAILED)
        shutil.copyfile(place / "identity", target / "identity")
        (target / "identity").chmod(0o600)
        sync(target / "identity")
    checked, found = check(target, screen)
    for finding in findings:
        screen.say(place_of(finding) if finding.position else PINS, f"{finding.what}: {finding.detail}", "red")
    findings = [*found, *findings]
    told: dict[str, Any] = {
        "format": FORMAT,
        "entries": checked.entries,
        "files": digests_of(target / "log"),
        "content": digests_of(target / "content"),
        "pins": digest_of(target / PINS) if (target / PINS).is_file() else None,
        "with_key": with_key,
    }
    sync(target / "log", target)
    replace_file(target / FILE, f"{json_text.dumps(told, indent=2)}\n".encode(), mode=0o666)
    if findings:
        screen.say(
            "damaged", f"{counted(len(findings), 'finding')} in {place}; next: debros verify {place}", "bold red"
        )
    else:
        what = f"{counted(checked.entries, 'entry', 'entries')}{of_content(blocks)}, {binary_size(size + content_size)}"
        screen.say("backed up", f"{target}: {what}, verified", "bold green")
    screen.result(
        {
            "target": str(target),
            "entries": checked.entries,
            "blocks": blocks,
            "bytes": size + content_size,
            "whole": not findings,
        }
    )
    return Exit.FAILED if findings else Exit.DONE


def _begin(target: Path) -> None:
    """Make the folder of a backup, or empty that of one that was cut off.

    Raises:
        CommandError: there is something else.
    """
    there = list(target.iterdir()) if target.is_dir() else []
    if (target.exists() and not target.is_dir()) or (there and target / UNFINISHED not in there):
        raise CommandError(f"{target} is there already and not empty", next="debros backup PATH, with a new folder")
    make_directory(DiskFiles(), str(target))
    (target / UNFINISHED).touch()
    sync(target / UNFINISHED, target)
    for path in there:
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != UNFINISHED:
            path.unlink()


def _copy_content(place: Path, target: Path, screen: Screen) -> tuple[int, int, list[Finding]]:
    """Copy files and pins; return how many blocks there are, their bytes, and what is damaged."""
    findings = copy_pins(place / PINS, target / PINS)  # before the content, so that what it says is here is
    if not any((place / "content").glob("*.car")):
        return 0, 0, findings
    size = copy_segments(place / "content", target / "content", screen)
    cut_torn_tail(target / "content")
    blocks, damaged = check_content(target / "content")
    sync(target / "content")
    return blocks, size, findings + damaged
