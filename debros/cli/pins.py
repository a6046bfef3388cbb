"""`debros pins`: which content a database keeps, and why; pinning and unpinning by hand."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

from cyclopts import Parameter

from debros.cli.exits import Exit
from debros.cli.options import Flag, HomePath, Json
from debros.cli.project import Project
from debros.cli.screen import Screen
from debros.cli.units import binary_size, counted, duration

Action = Literal["list", "status", "pin", "unpin", "sweep"]


async def command(
    action: Action = "list", cid: Annotated[str, Parameter()] = "", /, *, home: HomePath = None, force: Flag = False,
    json: Json = False,
) -> Exit:  # fmt: skip
    """Show what content the database keeps, say how it stands with one piece, pin or unpin it, or sweep now.

    Args:
        action: `list` numbers; `status CID`; `pin CID`; `unpin CID`; `sweep`.
        cid: The content.
        home: The database; by default the project's.
        force: Let protected content go too.
        json: Print one JSON object.
    """
    screen, project = Screen(json), Project.here()
    async with project.open(project.existing_home(home)) as node:
        pins = node.pins
        if action == "pin":
            await pins.pin(cid)
        if action == "unpin":
            await pins.unpin(cid, force=force)
        if action in ("pin", "unpin", "status"):
            status = await pins.status(cid)
            screen.say(status.state, await pins.why(cid), style="bold")
            screen.say("size", binary_size(max(0, status.size)))
            screen.say("used", f"{counted(status.accesses, 'time')}, last {duration(status.idle_s)} ago")
            screen.say(
                "copies", f"{status.copies} with others; {status.wanted_copies[0]} to {status.wanted_copies[1]} wanted"
            )
            screen.result(asdict(status))
            return Exit.DONE
        if action == "sweep":
            swept = await pins.sweep(force=force)
            screen.say("swept", f"{counted(swept.evicted, 'piece')} let go, {binary_size(swept.freed_bytes)} freed, "
                       f"{swept.waiting} wait for copies", style="bold green")  # fmt: skip
            screen.result(asdict(swept))
            return Exit.DONE
        stats, metrics = await pins.stats(), await pins.metrics()
        screen.say("room", f"{binary_size(stats.used_bytes)} of {binary_size(stats.max_bytes)}", style="bold")
        for state, count in stats.states.items():
            screen.say(state, f"{count:,}")
        for model, count in sorted(stats.models.items()):
            screen.say(model, counted(count, "piece"))
        for missing in stats.wanted_and_held_by_nobody:
            screen.say("missing", f"{missing}: wanted, and no connected peer had it", style="red")
        screen.result({"stats": asdict(stats), "metrics": asdict(metrics)})
    return Exit.DONE
