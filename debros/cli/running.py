"""`debros run`: a node in the foreground, with a table of its peers and of how far its logs are."""

from __future__ import annotations

import json as json_text
import os
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NamedTuple

import trio
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

import debros
from debros import Debros
from debros.cli.exits import CommandError, Exit
from debros.cli.options import HomePath, Json
from debros.cli.project import Project
from debros.cli.screen import Screen, shown

REFRESH_S: Final = 1.0
FILE: Final = "run.json"  # in the home: what `debros status` and `debros peers` read while the node runs


async def command(
    *, home: HomePath = None, listen: Sequence[str] = (), peer: Sequence[str] = (), for_s: float | None = None,
    json: Json = False,
) -> Exit:  # fmt: skip
    """Run a node until it is interrupted: it serves its logs, and fetches what its peers have.

    Without models, as on a machine that only keeps copies, it holds logs and shows no records.

    Args:
        home: The database; by default the project's.
        listen: Addresses to listen on, e.g. /ip4/0.0.0.0/tcp/4001; 127.0.0.1 and any free port if nothing is said.
        peer: Addresses of other nodes, as they print them.
        for_s: End by itself after so many seconds.
        json: Print one JSON object, at the end.
    """
    project, screen = Project.here(), Screen(json)
    place = project.home(home)
    addresses = list(listen) or ([] if peer else ["/ip4/127.0.0.1/tcp/0"])
    async with opened(project, place, listen=addresses, peers=list(peer)) as db:
        for address in db.addresses:
            screen.say("listening", address, style="bold green")
        facts = facts_of(db)
        try:
            with trio.move_on_after(float("inf") if for_s is None else for_s):
                with Live(console=screen.console, auto_refresh=False, transient=True) as live:
                    while True:
                        facts = facts_of(db)
                        _write(place, facts)
                        if screen.console.is_terminal:
                            live.update(_shown(facts), refresh=True)
                        await trio.sleep(REFRESH_S)
        finally:
            with suppress(FileNotFoundError):
                (place / FILE).unlink()
    screen.result(facts)
    return Exit.DONE


def opened(project: Project, home: Path, **settings: Any) -> AbstractAsyncContextManager[Debros]:
    if project.config.models is None:
        return debros.open(home, models=(), **settings)
    return project.open(home, **settings)


def facts_of(db: Debros) -> dict[str, Any]:
    """Return what `debros status` and `debros peers` tell, as plain values."""
    status = db.status()
    return {
        "home": status.home,
        "did": status.did,
        "app": status.app,
        "entries": status.entries,
        "addresses": db.addresses,
        "peers": [asdict(peer) for peer in db.peers],
        "logs": [
            asdict(log) | {"last_contact": None if log.last_contact is None else log.last_contact.isoformat()}
            for log in db.sync_status()
        ],
    }


def _write(home: Path, facts: dict[str, Any]) -> None:
    new = home / f".{FILE}"
    new.write_text(json_text.dumps(facts | {"pid": os.getpid()}), encoding="utf-8")
    new.replace(home / FILE)


class Asked(NamedTuple):
    """What `debros status` and `debros peers` begin with."""

    project: Project
    screen: Screen
    home: Path
    facts: dict[str, Any] | None  # what the node that runs here said last; `None` if none does


def asked(home: HomePath, json: Json) -> Asked:
    """Return where the database is, and what the node that runs on it says.

    Raises:
        CommandError: there is no database.
    """
    project = Project.here()
    place = project.home(home)
    return Asked(project, Screen(json), place, _running_facts(place))


def _running_facts(home: Path) -> dict[str, Any] | None:
    """Return what the node that has a home open said last; `None` if none runs by `debros run`.

    Raises:
        CommandError: there is no database.
    """
    if not (home / "log").is_dir():
        raise CommandError(f"there is no debros database in {home}", next="debros run --home PATH")
    try:
        facts: dict[str, Any] = json_text.loads((home / FILE).read_text(encoding="utf-8"))
        os.kill(facts["pid"], 0)
    except (FileNotFoundError, ProcessLookupError, ValueError, KeyError):
        return None  # what a killed process left
    return facts


def peers_table(facts: dict[str, Any]) -> Table:
    """Return the peers as a table."""
    table = Table("peer", "state", "logs", "address", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for peer in facts["peers"]:
        state = ("connected", "green") if peer["connected"] else (peer["last_error"] or "dialling", "yellow")
        if peer["banned"]:
            state = ("banned", "red")
        table.add_row(shown(peer["id"] or "?"), Text(*state), str(peer["logs"]), shown(peer["address"]))
    return table


def logs_table(facts: dict[str, Any]) -> Table:
    """Return where the logs stand as a table."""
    columns = ("log", "have", "want", "held", "peers", "a second", "")
    table = Table(*columns, box=None, padding=(0, 2, 0, 0), header_style="dim")
    for log in facts["logs"]:
        done = Text("in step", "green") if log["synced"] else Text(f"{log['progress']:.0%}", "yellow")
        table.add_row(
            shown(f"...{log['address'][-12:]}"), f"{log['have']:,}", f"{log['want']:,}", str(log["held"]),
            str(len(log["peers"])), f"{log['entries_per_s']:,.0f}", done,
        )  # fmt: skip
    return table


def _shown(facts: dict[str, Any]) -> Group:
    return Group(peers_table(facts), Text(), logs_table(facts), Text("ctrl-c ends it", "dim"))
