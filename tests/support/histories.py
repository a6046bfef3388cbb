"""Histories of commits as files that the demo reads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from debros.cli.demo.past import CommitPast


def write_history(path: Path, commits: Iterable[CommitPast]) -> Path:
    """Write one line of JSON for each commit; return the path."""
    lines = [
        {
            "sha": commit.sha,
            "author": commit.author,
            "authored_at": commit.authored_at.isoformat(),
            "subject": commit.subject,
            "files": [{"path": file.path, "added": file.added, "deleted": file.deleted} for file in commit.files],
        }
        for commit in commits
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path
