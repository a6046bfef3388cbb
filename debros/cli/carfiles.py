"""CAR files for `debros export` and `debros import`: signed entries with their history, and content, for other programs too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rich.progress import Progress

from debros.cli.exits import CommandError, Exit
from debros.cli.project import Project
from debros.cli.screen import Screen
from debros.cli.units import counted
from debros.values.file import File

Format: TypeAlias = Literal["auto", "ndjson", "car"]


def is_car(file: Path, format: Format) -> bool:
    """Whether a file is a CAR file: as was said, else by its name."""
    return format == "car" or (format == "auto" and file.suffix.lower() == ".car")


async def write(
    node: Any, project: Project, file: Path, *, model: Sequence[str], record: str, log: str, content: str, version: int,
    screen: Screen,
) -> Exit:  # fmt: skip
    """Write what was chosen into a CAR file, by default the whole database.

    Raises:
        CommandError: several things were chosen, or one that is not here.
    """
    if sum(map(bool, (record, log, content, model if not record else ()))) > 1 or len(model) > 1:
        raise CommandError(
            "a CAR file holds one model's logs, one record, one log, one file, or everything",
            next="debros export --help",
        )
    what: Any = None
    if record:
        what = _record(node, project, record, model)
    elif content:
        what = File(content, None, 0, None)
    elif log:
        what = log
    elif model:
        what = _model(project, model[0])
    with screen.progress("bytes") as bar:
        done = await node.export_car(file, what, version=version, progress=_shown(bar, "exporting"))
    text = f"{file}: {counted(done.entries, 'entry', 'entries')}, {counted(done.blocks, 'block')} of content"
    screen.say("wrote", text, style="bold green")
    for cid in done.missing:
        screen.say("missing", f"{cid}: a record refers to it, and it is not on this node", style="yellow")
    screen.result({"file": str(file), "format": "car", **asdict(done)})
    return Exit.DONE


async def read(node: Any, file: Path, screen: Screen) -> Exit:
    """Take in a CAR file; where some of it was not let in, the command has failed, and says why."""
    with screen.progress("bytes") as bar:
        done = await node.import_car(file, progress=_shown(bar, "importing"))
    known = f", {done.known} known before" if done.known else ""
    text = f"{counted(done.entries, 'entry', 'entries')}{known}, {counted(done.blocks, 'block')} of content"
    screen.say("imported", text, style="bold green")
    for reason in done.reasons:
        screen.say("left out", reason, style="red")
    screen.result({"file": str(file), "format": "car", "created": done.entries, **asdict(done)})
    return Exit.FAILED if done.refused or done.held else Exit.DONE


def _shown(bar: Progress, what: str) -> Callable[[int, int], None]:
    task = bar.add_task(what, total=None)
    return lambda done, total: bar.update(task, completed=done, total=total or None)


def _model(project: Project, name: str) -> Any:
    known = {cls.__name__: cls for cls in project.models()}
    if name not in known:
        raise CommandError(f"there is no model {name!r}; models: {', '.join(known)}", next="debros check")
    return known[name]


def _record(node: Any, project: Project, id: str, model: Sequence[str]) -> Any:
    found = []
    for cls in [_model(project, model[0])] if model else project.models():
        home = node.collection(cls.__schema__)
        if (row := home.row(id)) is not None:
            found += cls.__shape__.hydrate((row,), home)
    if len(found) != 1:
        names = ", ".join(type(record).__name__ for record in found)
        why = f"{id!r} is the id of several records: {names}" if found else f"no record has the id {id!r}"
        next = "debros export FILE --record ID --model NAME" if found else "debros export -"
        raise CommandError(why, next=next, exit=Exit.FAILED)
    return found[0]
