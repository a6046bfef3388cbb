"""Git repositories made by a test: fixed names and dates, nothing of the machine's own configuration."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


class Repository:
    """A new git repository; every commit comes one day after the one before."""

    def __init__(self, root: Path, bare: bool = False) -> None:
        self.root = root
        self._day = 0
        root.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main", *(["--bare"] if bare else []))

    def git(self, *arguments: str | bytes, **variables: str) -> bytes:
        clean = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
        fixed = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "HOME": str(self.root)}
        done = subprocess.run(
            ["git", "-C", str(self.root), *arguments], check=True, capture_output=True, env=clean | fixed | variables
        )
        return done.stdout

    def write(self, name: str | bytes, content: str | bytes) -> None:
        path = os.path.join(os.fsencode(self.root), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)

    def commit(self, subject: str, author: str = "Ana", *options: str, zone: str = "+0000") -> str:
        """Commit everything; return the sha."""
        self._day += 1
        date = f"2024-01-{self._day:02}T12:00:00{zone}"
        self.git("add", "--all")
        self.git(
            *("commit", "--quiet", "--allow-empty", "--allow-empty-message", "-m", subject, *options),
            **{f"GIT_{who}_{what}": text for who in ("AUTHOR", "COMMITTER")
               for what, text in (("NAME", author), ("EMAIL", "a@example.org"), ("DATE", date))},
        )  # fmt: skip
        return self.git("rev-parse", "HEAD").decode().strip()
