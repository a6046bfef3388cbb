"""`debros restore`: a home from a backup."""

from __future__ import annotations

import json as json_text
import shutil
from pathlib import Path

from debros.blocks.files import DiskFiles
from debros.blocks.segments import make_directory
from debros.cli.backup import FILE, FORMAT
from debros.cli.copying import PINS, digest_of, sync
from debros.cli.exits import CommandError, Exit
from debros.cli.options import HomePath, Json
from debros.cli.project import Project
from debros.cli.screen import Screen
from debros.cli.units import counted
from debros.cli.verify import check


def command(backup: Path, /, *, home: HomePath = None, json: Json = False) -> Exit:
    """Make a home from a backup, and verify it. The home gets keys of its own, so it forks nothing.

    Args:
        backup: The folder that `debros backup` made.
        home: A new folder; by default the project's home, which must not be there.
        json: Print one JSON object.
    """
    screen = Screen(json)
    place = Project.here().home(home)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise CommandError(f"{place} is there already and not empty", next=f"debros restore {backup} --home PATH")
    files = _checked(backup)
    target = place.absolute()  # "." has no name to put another beside
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    make_directory(DiskFiles(), str(partial / "log"))
    for name in files:
        (partial / name).parent.mkdir(mode=0o700, exist_ok=True)
        shutil.copyfile(backup / name, partial / name)
    has_key = (backup / "identity").is_file()
    if has_key:
        shutil.copyfile(backup / "identity", partial / "identity")
        (partial / "identity").chmod(0o600)
    checked, findings = check(partial, screen)
    if findings:
        shutil.rmtree(partial)
        raise CommandError(f"{backup} is damaged: {findings[0].what}", next=f"debros verify {backup}", exit=Exit.FAILED)
    sync(*partial.rglob("*"), partial)
    try:
        partial.rename(target)  # in the place of an empty folder, too
    except OSError as error:
        shutil.rmtree(partial)
        told = f"{place} cannot be made a home: {error.strerror}"
        raise CommandError(
            told, next=f"debros restore {backup} --home PATH, with a new folder", exit=Exit.FAILED
        ) from error
    sync(target.parent)
    screen.say("restored", f"{place}: {counted(checked.entries, 'entry', 'entries')}, verified", style="bold green")
    if not has_key:
        screen.say("note", "the backup holds no key: open it with `identity=`, or a new user writes here")
    screen.result({"home": str(place), "entries": checked.entries, "with_key": has_key})
    return Exit.DONE


def _checked(backup: Path) -> list[str]:
    """Return the files of a backup, by their paths in it, all of which are as they were written.

    Raises:
        CommandError: it is no backup, of a newer format, or damaged.
    """
    try:
        told = json_text.loads((backup / FILE).read_text(encoding="utf-8"))
        number, files = told["format"], {f"log/{name}": digest for name, digest in told["files"].items()}
        files |= {f"content/{name}": digest for name, digest in told.get("content", {}).items()}
        files |= {PINS: told["pins"]} if told.get("pins") else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CommandError(f"{backup} is no backup: {error}", next="debros backup PATH") from error
    if number != FORMAT:
        raise CommandError(
            f"{backup} was made by a newer debros", next="pip install --upgrade debros", exit=Exit.FAILED
        )
    for name, digest in files.items():
        path = backup / name
        if len(Path(name).parts) > 2 or ".." in Path(name).parts or not path.is_file() or digest_of(path) != digest:
            raise CommandError(f"{path} is missing or damaged", next=f"debros verify {backup}", exit=Exit.FAILED)
    return list(files)
