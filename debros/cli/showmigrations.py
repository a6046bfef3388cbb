"""`debros showmigrations`: every migration, and what became of it."""

from __future__ import annotations

from debros.cli.exits import Exit
from debros.cli.migrate import told_step
from debros.cli.options import Flag, HomePath, Json
from debros.cli.project import Project
from debros.cli.screen import Screen


async def command(*, home: HomePath = None, history: Flag = False, json: Json = False) -> Exit:
    """List migrations with their state; with --history, everything that became of them, as the log tells it.

    Args:
        home: The database; by default the project's.
        history: What became of them, when, and by whom.
        json: Print one JSON object.
    """
    screen, project = Screen(json), Project.here()
    place = project.home(home)
    async with project.open(place) as node:
        steps, events = await node.migrations.states(), await node.migrations.history()
    if history:
        screen.table(
            ("at", "migration", "version", "state", "records", "by"),
            [(f"{e.at:%Y-%m-%d %H:%M:%S}", e.name, e.version, e.state, e.records, e.by) for e in events],
        )
    else:
        screen.table(
            ("state", "migration", "version", "records", "models"),
            [(step.state, step.name, step.version, step.records, ", ".join(step.models)) for step in steps],
        )
    if not (events if history else steps):
        screen.say("", "no migrations; next: debros makemigrations")
    told = [{"name": e.name, "version": e.version, "state": e.state, "records": e.records, "at": e.at.isoformat(), "by": e.by, "cid": e.cid} for e in events]  # fmt: skip
    screen.result({"home": str(place), "migrations": [told_step(step) for step in steps], "history": told})
    return Exit.DONE
