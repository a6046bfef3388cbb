"""What a verb answers to the shell, and the error that ends one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from debros.errors import ConfigError, DebrosError, StoreLockedError


class Exit(IntEnum):
    """Exit codes; `debros.cli` says what each means."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    LOCKED = 3
    INTERRUPTED = 130  # 128 + SIGINT, as shells do


@dataclass(eq=False)
class CommandError(DebrosError):
    """A verb cannot go on. `next` is the command to type instead, or empty where there is none."""

    message: str
    next: str = ""
    exit: Exit = Exit.USAGE

    def __str__(self) -> str:
        return self.message


def exit_of(error: DebrosError) -> Exit:
    """Return the exit code that an error stands for."""
    if isinstance(error, CommandError):
        return error.exit
    if isinstance(error, StoreLockedError):
        return Exit.LOCKED
    return Exit.USAGE if isinstance(error, ConfigError) else Exit.FAILED
