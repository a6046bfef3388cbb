"""`debros makemigrations`: writes a migration from what changed in the models since the last snapshot."""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from debros.cli.check import changed_names
from debros.cli.exits import CommandError, Exit
from debros.cli.options import Flag, Json
from debros.cli.project import Project
from debros.cli.screen import Screen
from debros.env import SYSTEM
from debros.errors import DebrosError
from debros.home import replace_file

if TYPE_CHECKING:
    from debros.migrations.builder import Migration
    from debros.migrations.snapshot import Snapshot


def command(
    *, name: str = "", check: Flag = False, empty: Flag = False, by_hand: Flag = False,
    rename: list[str] | None = None, no_rename: Flag = False,
    default: Annotated[list[str] | None, Parameter(negative="")] = None, json: Json = False,
) -> Exit:  # fmt: skip
    """Write a migration from what changed in the models since the last snapshot of them.

    A new field with a default, one that may be null, an index and a new model need none. Answer questions beforehand
    with --rename, --no-rename and --default, where nobody can be asked.

    Args:
        name: What it is called, behind its number.
        check: Write nothing; exit with 1 where something changed.
        empty: Write a migration without operations, to be filled in.
        by_hand: A migration that was typed says what changed: only note that, in the snapshot. It stands alone.
        rename: `Post.body=text`: the field body of Post is called text now; `Post=Article` for a model.
        no_rename: Nothing was renamed.
        default: `Post.lang='"en"'`: what old records get of a new required field, as Python.
        json: Print one JSON object.
    """
    from debros.migrations import snapshot as snapshots
    from debros.migrations.diff import Question, diff
    from debros.migrations.render import next_number, render, slug
    from debros.models.linking import check_models

    screen, project = Screen(json), Project.here()
    models, folder, present = project.models(), project.folder, project.migrations()
    check_models(models)
    after = snapshots.snapshot(models)
    before = snapshots.read(folder)
    if by_hand:
        if name or check or empty or rename or no_rename or default:
            raise CommandError(
                "--by-hand writes no migration, and takes no other option", next="debros makemigrations --by-hand"
            )
        return _noted(screen, project, models, before, after)
    wanted = dict(_pair(one, "--rename Post.body=text") for one in rename or ())
    defaults = dict(_pair(one, "--default Post.lang='\"en\"'") for one in default or ())
    unused = {f"--rename {place}={new}" for place, new in wanted.items()} | {f"--default {place}" for place in defaults}

    def ask(question: Question) -> bool:
        place = f"{question.model}.{question.old}" if question.model else question.old
        if place in wanted:
            if wanted[place] == question.new:
                unused.discard(f"--rename {place}={question.new}")
            return wanted[place] == question.new
        if no_rename:
            return False
        if not sys.stdin.isatty() or json:
            raise CommandError(question.text, next=f"debros makemigrations {question.answer}, or --no-rename")
        return screen.ask(f"{question.text} [y/N] ").strip().lower() in ("y", "yes")

    def value(model: str, field: str, type_: str) -> str:
        place = f"{model}.{field}"
        if place in defaults:
            unused.discard(f"--default {place}")
            return _expression(place, defaults[place])
        if not sys.stdin.isatty() or json:
            raise CommandError(
                f"{place} is new, required and has no default: what do old records get?",
                next=f"debros makemigrations --default {place}=VALUE, or declare a default",
            )
        told = screen.ask(f"{place} is new and required. What do old records get ({type_}, as Python)? ").strip()
        return _expression(place, told)

    changes = diff(before or {}, after, ask, value)
    if unused:
        raise CommandError(
            f"{min(unused)}: the models have not changed so; a renamed field is `--rename Post.body=text`, of one type and merge, "
            "and --default is of a new required field",
            next="debros makemigrations --check, without options",
        )
    if empty:
        version = max((model["version"] for model in after.values()), key=lambda v: tuple(map(int, v.split("."))))
        changes.lines, changes.names = {version: []}, {version: ["empty"]}
    is_changed = bool(changes.lines) or before != after
    for note in changes.notes if before is not None else ():
        screen.say("", note)
    written: list[str] = []
    if not check:
        _make(folder)
        today = datetime.fromtimestamp(SYSTEM.now_us() / 1e6, UTC).date().isoformat()
        for version in sorted(changes.lines, key=lambda v: tuple(map(int, v.split(".")))):
            if not empty and (there := _cut_off(folder, present, version, changes.lines)):
                screen.say("there", f"{_told(there)}: it was written before, and the snapshot was not", style="bold")
                continue
            full = f"{next_number(folder):04d}_{slug(changes.names[version], name)}"
            text = render(full, version, changes.lines[version], present, today)
            replace_file(folder / f"{full}.py", text.encode(), mode=0o666)
            written.append(full)
            for line in changes.lines[version]:
                screen.say("", f"  {line.removeprefix('.')}")
            screen.say("wrote", str(_told(folder / f"{full}.py")), style="bold green")
            present = project.migrations()
        try:
            _check_fits(models, present)
        except DebrosError as error:
            if not written:
                raise
            for full in written:
                (folder / f"{full}.py").unlink()
            raise CommandError(
                f"{error}; nothing is written",
                next="debros makemigrations --by-hand, if a migration that was typed says these changes",
            ) from error
        if before != after:
            snapshots.write(folder, after)
            if before is None:
                screen.say("wrote", f"{_told(folder / snapshots.FILE)}, the first snapshot of {len(after)} models")
    if not is_changed:
        screen.say("", "no changes")
    elif check:
        screen.say("changed", "the models differ from the last snapshot; next: debros makemigrations", style="bold red")
    elif written:
        screen.say("next", "debros migrate --dry-run, then: debros migrate")
    lines = [line for version in changes.lines for line in changes.lines[version]]
    screen.result({"changed": is_changed, "written": written, "operations": lines, "notes": changes.notes})
    return Exit.FAILED if check and is_changed else Exit.DONE


def _noted(screen: Screen, project: Project, models: Sequence[Any], before: Snapshot | None, after: Snapshot) -> Exit:
    """Take what is declared for what the migrations lead to, if they fit."""
    from debros.migrations import snapshot as snapshots

    try:
        _check_fits(models, project.migrations())
    except DebrosError as error:
        raise CommandError(f"the migrations do not fit the models: {error}", next="debros check") from error
    _make(project.folder)
    snapshots.write(project.folder, after)
    changed = changed_names(before or {}, after)
    screen.say("noted", f"{', '.join(changed)} as declared" if changed else "no changes")
    screen.result({"changed": bool(changed), "written": [], "operations": [], "notes": []})
    return Exit.DONE


def _check_fits(models: Sequence[Any], migrations: Sequence[Migration]) -> None:
    """Raise `MigrationError` where a migration is not of what these models declare."""
    from debros.migrations.plans import rename_models
    from debros.migrations.stages import steps_of
    from debros.models.declare import schema_of

    rename_models(models, migrations)
    for model in models:
        steps_of(schema_of(model), migrations)


def _cut_off(
    folder: Path, present: Sequence[Migration], version: str, lines: Mapping[str, Sequence[str]]
) -> Path | None:
    """Return the file that says these changes already, of a run that was cut off before it wrote the snapshot."""
    from debros.migrations.render import render

    for n in range(max(0, len(present) - len(lines)), len(present)):
        each, path = present[n], folder / f"{present[n].name}.py"
        text = render(each.name, version, lines[version], present[:n], each.created)
        if each.version == version and path.is_file() and path.read_text(encoding="utf-8") == text:
            return path
    return None


def _expression(place: str, text: str) -> str:
    """Return the Python that a migration says, whose file imports little: a value that stands by itself."""
    from debros.migrations.render import KNOWN

    try:
        names = {node.id for node in ast.walk(ast.parse(text, mode="eval")) if isinstance(node, ast.Name)}
    except (SyntaxError, ValueError):
        names = {text}
    if names := names - vars(builtins).keys() - KNOWN:
        raise CommandError(
            f"{place}={text}: {min(names)} is no Python value that stands by itself; text stands in quotes",
            next=f"debros makemigrations --default \"{place}='...'\"",
        )
    return text


def _pair(text: str, example: str) -> tuple[str, str]:
    place, sign, value = text.partition("=")
    if not sign or not place or not value:
        raise CommandError(f"{text!r} is not of the form {example}", next="debros makemigrations --help")
    return place, value


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{folder} cannot be made: {error.strerror}", exit=Exit.FAILED) from error


def _told(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
