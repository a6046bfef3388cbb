"""`debros peers`: whom a running node is connected with."""

from __future__ import annotations

from debros.cli.exits import CommandError, Exit
from debros.cli.options import HomePath, Json
from debros.cli.running import asked, peers_table


async def command(*, home: HomePath = None, json: Json = False) -> Exit:
    """Show the peers of the node that `debros run` has open, and the addresses to give to others.

    Args:
        home: The database; by default the project's.
        json: Print one JSON object.
    """
    _, screen, place, facts = asked(home, json)
    if facts is None:
        raise CommandError(f"no node runs on {place}", next="debros run", exit=Exit.FAILED)
    for address in facts["addresses"]:
        screen.say("listening", address)
    screen.console.print(peers_table(facts))
    screen.result({"addresses": facts["addresses"], "peers": facts["peers"]})
    return Exit.DONE
