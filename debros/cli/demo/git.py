"""Reads a history from `git log`, whatever stands in it.

Names may hold any byte but NUL, so fields are separated by NUL and nothing is quoted. A renamed file counts under its
new name, a merge counts no files, text that is not UTF-8 keeps a mark in place of each wrong byte, and a subject as long
as a book is cut.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from debros.cli.demo.past import CommitPast, FilePast, Past, cut
from debros.cli.exits import CommandError

LAST_SECOND: Final = 253_402_300_799  # of the year 9999, the last that Python can tell
START: Final = b"\x01"  # of a commit; a line of numstat begins with a digit or `-`

LOG: Final = (
    *("-c", "log.showSignature=false", "-c", "i18n.logOutputEncoding=UTF-8", "-c", "core.quotePath=false"),
    *("log", "--no-color", "--no-notes", "--no-ext-diff", "--no-textconv", "--no-relative", "--no-follow"),
    *("--find-renames", "--numstat", "-z"),
    "--format=%x01%H%x00%aN%x00%at%x00%s",
)


def read_git(repository: Path, commits: int) -> Past:
    """Return the newest commits of the branch that is checked out.

    Raises:
        CommandError: git is not installed, this is no repository of it, or it has no commits.
    """
    shallow, up = _git(repository, "rev-parse", "--is-shallow-repository", "--show-cdup").decode().split("\n")[:2]
    found = list(_commits(_git(repository, *LOG, f"--max-count={commits}")))
    found.reverse()
    note = "a shallow clone: older commits are not here, and the oldest one seems to add every file"
    name = (repository / up).resolve().name
    return Past(name, "git", tuple(found), note if shallow == "true" else "")


def _git(repository: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program and options, no shell
            ["git", "-C", str(repository), *arguments],  # noqa: S607 - the user's own git, from their path
            capture_output=True,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise CommandError("git is not installed") from error
    except subprocess.CalledProcessError as error:
        if error.returncode == -signal.SIGINT:  # git hears the interrupt of its terminal too, and may be first
            raise KeyboardInterrupt from None
        told = (
            error.stderr.decode(errors="replace")
            .strip()
            .removeprefix("fatal: ")
            .partition("\n")[0]
            .partition(" (or any")[0]
        )
        raise CommandError(f"git cannot read {repository}: {told}") from error
    return done.stdout


def _commits(log: bytes) -> Iterator[CommitPast]:
    """Parse the log: START sha NUL author NUL seconds NUL subject NUL, then numstat fields, for each commit."""
    fields = iter(log.split(b"\0"))
    field = next(fields, b"")
    while field.startswith(START):
        sha, author, seconds, subject = field[1:].decode(), next(fields), next(fields), next(fields)
        files = []
        field = next(fields, b"")
        while field and not field.startswith(START):
            added, deleted, path = field.lstrip(b"\n").split(b"\t", 2)
            if not path:  # a rename: the old name and the new one follow
                next(fields)
                path = next(fields)
            files.append(FilePast(path.decode(errors="backslashreplace"), _lines(added), _lines(deleted)))
            field = next(fields, b"")
        yield CommitPast(sha, _text(author) or "(no name)", _instant(seconds), _text(subject), tuple(files))


def _lines(count: bytes) -> int:
    return 0 if count == b"-" else int(count)  # `-` for a binary file


def _text(raw: bytes) -> str:
    return cut(raw.decode(errors="replace"))


def _instant(seconds: bytes) -> datetime:
    """Return the time; git gives nothing for a commit with a broken date, which then counts as of 1970."""
    return datetime.fromtimestamp(min(int(seconds or b"0"), LAST_SECOND), UTC)
