"""`debros rollback`: takes applied migrations back."""

from __future__ import annotations

from debros.cli.exits import Exit
from debros.cli.migrate import told_step
from debros.cli.options import HomePath, Json, Yes
from debros.cli.project import Project
from debros.cli.screen import Screen
from debros.cli.units import counted


async def command(target: str | None = None, /, *, home: HomePath = None, yes: Yes = False, json: Json = False) -> Exit:
    """Take the last applied migration back, or all behind a target.

    Records read as they were stored before; what was written meanwhile shows as the way back says. Models refuse writes
    until the migration is applied again or its file is gone.

    Args:
        target: The last one to keep: its name or a version; `zero` takes all back.
        home: The database; by default the project's.
        yes: Do not ask.
        json: Print one JSON object.
    """
    screen, project = Screen(json), Project.here()
    place = project.existing_home(home)
    async with project.open(place) as node:
        what = (
            "the last migration is rolled back" if target is None else f"all migrations behind {target} are rolled back"
        )
        screen.confirm(what, " ".join(["debros rollback", *([target] if target else []), "--yes"]), yes=yes)
        steps = await node.migrations.rollback(target)
    for step in steps:
        screen.say("rolled back", f"{step.name} {step.version}, {counted(step.records, 'record')}", style="bold")
    if not steps:
        screen.say("", "nothing to roll back")
    screen.result({"home": str(place), "steps": [told_step(step) for step in steps]})
    return Exit.DONE
