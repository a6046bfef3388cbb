"""`debros doctor`: what is wrong with a project or a database, and what to do about it."""

from __future__ import annotations

import fcntl
import json as json_text
import os
import platform
import shutil
import sys
import zipfile
from collections import Counter
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from debros.blocks.car import Damage, walk
from debros.blocks.files import DiskFiles
from debros.blocks.segments import list_segments, segment_path
from debros.cli.check import remarks
from debros.cli.exits import CommandError, Exit
from debros.cli.options import Flag, HomePath, Json
from debros.cli.project import Project
from debros.cli.screen import Screen
from debros.cli.units import binary_size, counted
from debros.cli.verify import check, place_of
from debros.env import SYSTEM
from debros.errors import DebrosError, EntryHeldError, EntryRefusedError
from debros.log.body import parse_body
from debros.log.changes import good_changes
from debros.log.entry import parse_header
from debros.places import Places
from debros.replica.replay import HEADER_START

PACKAGES: Final = ("debros", "trio", "pydantic", "pynacl", "apsw", "libipld", "cbor2", "libp2p", "rich", "cyclopts")
LEAST_FREE: Final = 256 << 20  # bytes


class Finding(NamedTuple):
    """One thing looked at: how it is, and what to do."""

    what: str
    state: str  # "good", "warning", "bad"
    detail: str
    next: str = ""


async def command(
    *, home: HomePath = None, bundle: Path | None = None, quick: Flag = False, json: Json = False
) -> Exit:
    """Look at the installation, the project, the key, the disk, the log and its view.

    Args:
        home: The database; by default the project's.
        bundle: Write what is needed to reproduce a problem into this new zip file: versions, findings, declarations and
            the shape of the log. No values, no keys, no names of users or machines.
        quick: Do not verify the whole log.
        json: Print one JSON object.
    """
    screen, project = Screen(json), Project.here()
    place = project.home(home)
    found = [
        _installation(),
        *_project(project),
        *_key(place),
        *_disk(place),
        *_stores(place),
        *_lock(place),
        *_view(place),
    ]
    if not quick and (place / "log").is_dir():
        found.append(_log(place, screen))
    colours = {"good": "green", "warning": "yellow", "bad": "bold red"}
    for one in found:
        screen.say(one.state, f"{one.what}: {one.detail}", style=colours[one.state])
        if one.next:
            screen.say("", f"  next: {one.next}")
    if bundle is not None:
        write_bundle(bundle, project, place, found)
        screen.say("wrote", f"{bundle}: no values, no keys", style="bold green")
    screen.result({"home": str(place), "findings": [one._asdict() for one in found]})
    return Exit.FAILED if any(one.state == "bad" for one in found) else Exit.DONE


def versions() -> dict[str, str]:
    """Return the versions of Python, SQLite and the packages that matter."""
    found = {"python": platform.python_version(), "sqlite": apsw.sqlite_lib_version(), "system": platform.system()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _installation() -> Finding:
    told = versions()
    return Finding("installation", "good", f"debros {told['debros']}, Python {told['python']}, SQLite {told['sqlite']}")


def _project(project: Project) -> list[Finding]:
    if not project.is_one:
        return [Finding("project", "warning", f"no [tool.debros] in {project.root}", "debros init")]
    found = remarks(project, laws=False)
    if not found:
        return [Finding("project", "good", "models and migrations fit each other")]
    return [Finding("project", "bad" if r.kind == "error" else "warning", r.text, r.next) for r in found]


def _key(home: Path) -> list[Finding]:
    file = home / "identity"
    if not file.exists():
        if (home / "device").exists():
            return [Finding("key", "bad", f"{file} is gone", "restore it, or open with identity=")]
        return [Finding("key", "good", "none yet; the first opening makes one")] if not home.exists() else []
    mode = file.stat().st_mode & 0o777
    if mode & 0o077:
        return [Finding("key", "bad", f"{file} can be read by others ({mode:o})", f"chmod 600 {file}")]
    return [Finding("key", "good", "only its owner can read it")]


def _stores(home: Path) -> list[Finding]:
    places = Places(home, SYSTEM, DiskFiles()).placed()
    away = [
        Finding("stores", "bad", why, "mount the disk, or restore the directory") for p in places if (why := p.away())
    ]
    return away or (
        [Finding("stores", "good", f"{counted(len(places), 'shard')} elsewhere, all there")] if places else []
    )


def _disk(home: Path) -> list[Finding]:
    folder = next(place for place in (home, *home.absolute().parents) if place.exists())
    if not os.access(folder, os.W_OK):
        return [Finding("disk", "bad", f"{folder} cannot be written", f"chmod u+w {folder}")]
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE:
        return [Finding("disk", "bad", f"{binary_size(free)} free", "free some of the disk: a full one refuses writes")]
    return [Finding("disk", "good", f"{binary_size(free)} free")]


def _lock(home: Path) -> list[Finding]:
    file = home / "lock"
    if not file.exists():
        return []
    with file.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return [
                Finding("lock", "warning", "a program has the database open", "stop it before you migrate or import")
            ]
        except OSError as error:
            return [Finding("lock", "bad", f"the file system does not lock: {error.strerror}", "use another one")]
        fcntl.flock(lock, fcntl.LOCK_UN)
    return [Finding("lock", "good", "nobody has the database open")]


def _view(home: Path) -> list[Finding]:
    file = home / "view.sqlite"
    if not file.exists():
        return [Finding("view", "good", "none; the next opening makes it")] if (home / "log").is_dir() else []
    cure = f"rm {file}, while it is closed: the view is made anew from the log"
    try:
        db = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            told = db.execute("PRAGMA quick_check(1)").get
            pending = sum(1 for _ in db.execute("SELECT 1 FROM models WHERE fingerprint = ''"))
        finally:
            db.close()
    except apsw.Error as error:
        if isinstance(error, apsw.CantOpenError | apsw.ReadOnlyError) and not os.access(home, os.W_OK):
            why = f"it cannot be looked at in a home that cannot be written, for SQLite needs a file beside it: {error}"
            return [Finding("view", "warning", why, f"chmod u+w {home}")]
        return [Finding("view", "bad", f"it cannot be read: {error}", cure)]
    if told != "ok":
        return [Finding("view", "bad", f"it is damaged: {told}", cure)]
    return [Finding("view", "good", f"SQLite finds nothing wrong; {counted(pending, 'model')} nobody has opened")]


def _log(home: Path, screen: Screen) -> Finding:
    checked, findings = check(home, screen)
    if findings:
        first = findings[0]
        detail = f"{counted(len(findings), 'finding')}, the first at {place_of(first)}: {first.what}"
        return Finding("log", "bad", detail, f"debros verify {home}; then restore a backup, or let peers heal it")
    return Finding("log", "good", f"{counted(checked.entries, 'entry', 'entries')}, all of them right")


def write_bundle(bundle: Path, project: Project, home: Path, found: list[Finding]) -> None:
    """Write a reproduction bundle: what a maintainer needs, and nothing that is a secret.

    Raises:
        CommandError: the file is there already.
    """
    if bundle.exists():
        raise CommandError(f"{bundle} is there already", next="debros doctor --bundle PATH, with a new name")
    parts: dict[str, Any] = {"versions.json": versions(), "log.json": _shape_of_log(home)}
    secret = [str(home), str(home.absolute()), str(project.root), str(Path.home())]
    parts["findings.json"] = [
        {
            "what": one.what,
            "state": one.state,
            "detail": _without(one.detail, secret),
            "next": _without(one.next, secret),
        }
        for one in found
    ]
    try:
        from debros.migrations.snapshot import snapshot

        declared = snapshot(project.models())
        for model in declared.values():
            for spec in model["fields"].values():
                spec["default"] = None if spec["default"] is None else "..."  # a default may be a secret
        parts["models.json"] = declared
        parts["migrations.json"] = [
            {"name": each.name, "version": each.version, "operations": [type(op).__name__ for op in each.operations]}
            for each in project.migrations()
        ]
    except DebrosError as error:
        parts["models.json"] = {"error": type(error).__name__}
    new = bundle.with_name(bundle.name + ".new")
    with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, json_text.dumps(content, indent=2, ensure_ascii=False))
    new.replace(bundle)


def _without(text: str, secret: list[str]) -> str:
    for one in secret:
        text = text.replace(one, "...")
    return text


def _shape_of_log(home: Path) -> dict[str, Any]:
    """Return how large the log is, and how many entries of which models it has; no value, id or key."""
    if not (home / "log").is_dir():
        return {}
    files, sizes = DiskFiles(), dict[str, int]()
    changes: Counter[str] = Counter()
    entries = 0
    for number in list_segments(files, str(home / "log")):
        path = segment_path(str(home / "log"), number)
        with closing(files.open(path, write=False)) as handle:
            size = sizes[os.path.basename(path)] = handle.size()
            before = None
            for section in walk(handle.pread, size, number):
                if isinstance(section, Damage):
                    continue
                if section.block[1:5] == HEADER_START and before is not None:
                    try:
                        parse_header(section.block)
                        body = parse_body(before.block)
                    except (EntryRefusedError, EntryHeldError):
                        continue  # encrypted, or no entry at all
                    entries += 1
                    for _, model, written, _, value in good_changes(body.ops):
                        kinds = "+".join(sorted({"put", "inc", "add", "rem", "keep", "live"} & set(value)))
                        changes[f"{model} {written} {kinds}"] += 1
                before = section
    return {"segments": sizes, "entries": entries, "changes": dict(changes), "interpreter": sys.implementation.name}
