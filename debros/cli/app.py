"""The verbs of the `debros` command, and how each run ends."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from debros.cli.exits import CommandError, Exit, exit_of
from debros.cli.screen import Screen
from debros.errors import DebrosError

Json = Annotated[bool, Parameter(name="--json", negative="")]

app = App(
    name="debros",
    help="Declarative models over a signed, content-addressed log.",
    help_epilogue="Exit codes: 0 done, 1 failed or damaged, 2 wrong usage, 3 home in use, 130 interrupted.",
    version=lambda: version("debros"),
    suppress_keyboard_interrupt=False,  # `run` tells of it
)


@app.command
def verify(home: Path = Path("data"), /, *, json: Json = False) -> Exit:
    """Check every content address, signature, clock and link of a whole database, offline.

    Reads only, and needs no network: whoever holds the files can check them.

    Args:
        home: The folder that `debros.open` was given.
        json: Print one JSON object instead of a report.
    """
    from debros.cli.verify import verify as run_verify

    return run_verify(home, Screen(json))


@app.command
async def demo(
    repository: Path | None = None,
    /,
    *,
    home: Path | None = None,
    keep: Annotated[bool, Parameter(negative="")] = False,
    commits: Annotated[int, Parameter(validator=Number(gte=1))] = 5_000,
    json: Json = False,
) -> Exit:
    """Import a git history and put debros through its paces: queries, edits, history, verification, a restart.

    Args:
        repository: A git repository, or a `.jsonl` file of commits. Without it, the repository you stand in; where there
            is none, a generated history.
        home: Keep the database in this new folder. Without it, a temporary one is used and removed.
        keep: Keep the temporary folder.
        commits: Import at most this many of the newest commits.
        json: Print one JSON object instead of the show.
    """
    from debros.cli.demo import demo as run_demo

    return await run_demo(repository, home, Screen(json), keep=keep, commits=commits)


def run(arguments: Sequence[str]) -> int:
    """Run one verb to its end; every error debros raises on purpose becomes a message and an exit code."""
    screen = Screen("--json" in arguments)
    try:
        answer = app(
            list(arguments), backend="trio", exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as error:
        screen.error(CommandError(str(error), next="debros --help"))
        return Exit.USAGE
    except DebrosError as error:
        screen.error(error)
        return exit_of(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        screen.error(CommandError(str(error)))
        return Exit.FAILED
    except KeyboardInterrupt:
        screen.error(CommandError("interrupted; nothing that was acknowledged is lost"))
        return Exit.INTERRUPTED
    return answer if isinstance(answer, Exit) else Exit.DONE
