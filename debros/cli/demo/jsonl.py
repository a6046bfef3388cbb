"""Reads a history from a file with one JSON object per commit: sha, author, authored_at, subject, files."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from debros.cli.demo.past import CommitPast, FilePast, Past, cut
from debros.cli.exits import CommandError


def read_jsonl(path: Path, commits: int) -> Past:
    """Return the last `commits` lines of the file, which is in order of time.

    Raises:
        CommandError: the file cannot be read, or a line of it is no commit; the text names the line.
    """
    try:
        lines = path.read_bytes().decode().rstrip("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}") from error
    if lines == [""]:
        return Past(path.stem, "jsonl", ())
    first = max(0, len(lines) - commits)
    return Past(path.stem, "jsonl", tuple(_commit(path, n, line) for n, line in enumerate(lines[first:], first + 1)))


def _commit(path: Path, number: int, line: str) -> CommitPast:
    try:
        told: dict[str, Any] = json.loads(line)
        at = datetime.fromisoformat(told["authored_at"])
        if at.tzinfo is None:
            raise ValueError("authored_at has no zone")
        files = tuple(
            FilePast(str(file["path"]), int(file["added"] or 0), int(file["deleted"] or 0))  # null for binary files
            for file in told["files"]
        )
        return CommitPast(
            str(told["sha"]), cut(str(told["author"])) or "(no name)", at, cut(str(told["subject"])), files
        )
    except (ValueError, TypeError, KeyError) as error:
        raise CommandError(f"{path}, line {number}, is not a commit: {error}") from error
