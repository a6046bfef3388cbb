"""The verbs of the `debros` command, and how each run ends.

A verb is a module of its own with a function `command`, which is imported when the verb is used: so help is quick, and
a verb is added by one line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from cyclopts import App, CycloptsError, Parameter

from debros.cli.exits import CommandError, Exit, exit_of
from debros.cli.screen import Screen
from debros.errors import DebrosError

VERBS: Final[Mapping[str, tuple[str, str]]] = {  # verb -> module, what it does
    "backup": (
        "debros.cli.backup",
        "Write a consistent, verified copy of a database, while it is open or not.",
    ),
    "check": ("debros.cli.check", "Check models, migrations and settings, for people and for CI."),
    "completion": ("debros.cli.completion", "Print the completion script of a shell."),
    "demo": ("debros.cli.demo", "Import a git history and put debros through its paces."),
    "doctor": ("debros.cli.doctor", "Say what is wrong with a project or a database, and what to do about it."),
    "events": ("debros.cli.events", "Show what happened to records; follow what happens."),
    "export": ("debros.cli.export", "Write the records that a database shows as NDJSON."),
    "history": ("debros.cli.history", "Show everything that became of one record."),
    "import": ("debros.cli.importing", "Create records from NDJSON."),
    "init": ("debros.cli.init", "Make the folder you stand in a debros project."),
    "key": ("debros.cli.key", "Show, make or protect the key that a home writes with."),
    "makemigrations": ("debros.cli.makemigrations", "Write a migration from what changed in the models."),
    "migrate": ("debros.cli.migrate", "Apply pending migrations."),
    "new": ("debros.cli.new", "Make a new project that runs."),
    "peers": ("debros.cli.peers", "Show whom a running node is connected with."),
    "pins": ("debros.cli.pins", "Show which content a database keeps and why; pin and unpin it."),
    "restore": ("debros.cli.restore", "Make a home from a backup."),
    "rollback": ("debros.cli.rollback", "Take applied migrations back."),
    "run": ("debros.cli.running", "Run a node that replicates with its peers, and show how far it is."),
    "shards": ("debros.cli.shards", "Show how the records of sharded models are spread, and how evenly."),
    "shell": ("debros.cli.shell", "Talk to a database in Python, with `await`."),
    "showmigrations": ("debros.cli.showmigrations", "List migrations and what became of them."),
    "status": ("debros.cli.status", "Show what a database holds, and how far it is beside its peers."),
    "verify": ("debros.cli.verify", "Check every content address, signature, clock and link of a database, offline."),
}


def _version() -> str:
    from importlib.metadata import version  # 20 ms, and needed by one option

    return version("debros")


app = App(
    name="debros",
    help_format="plaintext",  # of Markdown the parser alone takes a third of the time
    help="Declarative models over a signed, content-addressed log.",
    help_epilogue="Exit codes: 0 done, 1 failed or damaged, 2 wrong usage, 3 home in use, 130 interrupted.",
    version=_version,
    default_parameter=Parameter(negative_iterable=()),  # no `--empty-model` beside `--model`
    suppress_keyboard_interrupt=False,  # `run` tells of it
)
for verb, (module, told) in VERBS.items():
    app.command(f"{module}:command", name=verb, help=told)


def run(arguments: Sequence[str]) -> int:
    """Run one verb to its end; every error debros raises on purpose becomes a message and an exit code."""
    screen = Screen("--json" in arguments)
    try:
        answer = app(
            list(arguments), backend="trio", exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as error:
        verb = next((word for word in arguments if word in VERBS), "")
        screen.error(CommandError(str(error), next=f"debros {verb} --help" if verb else "debros --help"))
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
