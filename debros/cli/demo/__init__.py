"""`debros demo`: a git history becomes a signed database, is asked, edited, checked, closed and opened again."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from debros.cli.demo.generated import generate
from debros.cli.demo.git import read_git
from debros.cli.demo.jsonl import read_jsonl
from debros.cli.demo.past import Past
from debros.cli.exits import CommandError, Exit
from debros.cli.options import Flag, Json
from debros.cli.screen import Screen
from debros.env import SYSTEM

GENERATED_COMMITS = 1_500


async def command(
    repository: Path | None = None, /, *, home: Path | None = None, keep: Flag = False,
    commits: Annotated[int, Parameter(validator=Number(gte=1))] = 5_000, json: Json = False,
) -> Exit:  # fmt: skip
    """Import a git history and put debros through its paces: queries, edits, history, verification, a restart.

    Args:
        repository: A git repository, or a `.jsonl` file of commits. Without it, the repository you stand in; where there
            is none, a generated history.
        home: Keep the database in this new folder. Without it, a temporary one is used and removed.
        keep: Keep the temporary folder.
        commits: Import at most this many of the newest commits.
        json: Print one JSON object instead of the show.
    """
    return await demo(repository, home, Screen(json), keep=keep, commits=commits)


async def demo(repository: Path | None, home: Path | None, screen: Screen, *, keep: bool, commits: int) -> Exit:
    """Run the demo on a history; `Exit.FAILED` when a check of it fails.

    Raises:
        CommandError: the repository cannot be read, or the home is not empty.
    """
    from debros.cli.demo.run import run

    with screen.waiting("reading the history"):
        past = await SYSTEM.offload(find_past, repository, commits)
    folder = new_folder(home)
    removed = home is None and not keep
    try:
        return await run(past, folder, screen, removed=removed)
    finally:
        if removed:
            shutil.rmtree(folder)


def new_folder(home: Path | None) -> Path:
    """Return the home, which must be empty, or a new temporary folder.

    Raises:
        CommandError: the home holds something.
    """
    if home is None:
        return Path(tempfile.mkdtemp(prefix="debros-demo-"))
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise CommandError(f"{home} is not an empty folder", next="debros demo --home PATH, with a new folder")
    return home


def find_past(repository: Path | None, commits: int) -> Past:
    """Return the history that was asked for; without one, that of the repository one stands in, or a generated one.

    Raises:
        CommandError: what was asked for cannot be read, or has no commits.
    """
    if repository is not None:
        past = read_jsonl(repository, commits) if repository.suffix == ".jsonl" else read_git(repository, commits)
        if not past.commits:
            raise CommandError(f"{repository} has no commits")
        return past
    try:
        return read_git(Path(), commits)
    except CommandError as error:
        return generate(min(commits, GENERATED_COMMITS), note=f"no history here ({error}), so this one is made up")
