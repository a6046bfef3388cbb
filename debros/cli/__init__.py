"""The `debros` command: thin, over the public API.

Exit codes, the same for every verb:

- 0: done, and nothing is wrong.
- 1: it failed, damage was found, or nobody reads the output any more.
- 2: wrong usage: an unknown verb or option, or an argument that cannot be used.
- 3: the home is open in another process; try again when that one has ended.
- 130: interrupted.

With `--json` a verb prints exactly one JSON object on the standard output, whatever happens; a failure is
`{"error": {"code", "message", "next"}}`. Otherwise tables and progress are for people, errors go to the standard error,
and there is no colour where the output is not a terminal or `NO_COLOR` is set.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (those of the process if none are given) and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character shows `?` and the show goes on
    try:
        from debros.cli.app import run

        return run(sys.argv[1:] if arguments is None else arguments)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"cyclopts", "rich"}:
            raise
        print("the `debros` command needs two more packages; next: pip install 'debros[cli]'", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # while it was still starting; `run` tells of later ones
        return 130
    except BrokenPipeError:  # who reads the output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so the last flush of Python is quiet too
        return 1
