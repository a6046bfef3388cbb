"""What the demo imports, as plain values: a history of commits, wherever it came from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

TEXT_LIMIT: Final = 1_000  # characters: a subject may be a whole book, and a record holds at most 1 MiB


@dataclass(frozen=True, slots=True)
class FilePast:
    """What one commit did to one file, in lines; a binary file counts none."""

    path: str
    added: int
    deleted: int

    @property
    def area(self) -> str:
        """The top-level folder, or `.` for a file that lies in none."""
        folder, slash, _ = self.path.partition("/")
        return folder if slash else "."


@dataclass(frozen=True, slots=True)
class CommitPast:
    """One commit."""

    sha: str
    author: str
    authored_at: datetime  # aware
    subject: str
    files: tuple[FilePast, ...]


@dataclass(frozen=True, slots=True)
class Past:
    """A history, oldest commit first. `note` says what a reader should know about it, or is empty."""

    name: str
    source: Literal["git", "jsonl", "generated"]
    commits: tuple[CommitPast, ...]
    note: str = ""


def cut(text: str) -> str:
    """Return a text that a record can hold and a table can show."""
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"
