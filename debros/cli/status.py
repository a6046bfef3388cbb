"""`debros status`: what a database is, and how far its logs are while a node runs on it."""

from __future__ import annotations

from debros.cli.exits import Exit
from debros.cli.options import HomePath, Json
from debros.cli.running import asked, facts_of, logs_table, opened
from debros.cli.units import counted


async def command(*, home: HomePath = None, json: Json = False) -> Exit:
    """Show what a database holds, and, while `debros run` has it open, how far it is beside its peers.

    Args:
        home: The database; by default the project's.
        json: Print one JSON object.
    """
    project, screen, place, facts = asked(home, json)
    is_running = facts is not None
    if facts is None:
        async with opened(project, place) as db:
            facts = facts_of(db)
    screen.say("running" if is_running else "not running", facts["home"], style="bold green" if is_running else "bold")
    screen.say("", f"app {facts['app']}, {facts['did']}")
    screen.say("", counted(facts["entries"], "entry", "entries"))
    if facts["logs"]:
        screen.console.print(logs_table(facts))
    screen.result(facts | {"running": is_running})
    return Exit.DONE
