"""`debros events`: what happened to records, and what happens now."""

from __future__ import annotations

import json as text
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Annotated, Any

import trio
from cyclopts import Parameter

from debros.cli.exits import CommandError, Exit
from debros.cli.options import Flag, HomePath, Json
from debros.cli.project import Project
from debros.cli.screen import Screen
from debros.events.event import Event
from debros.values.json import json_form


async def command(
    *, follow: Annotated[bool, Parameter(name=("--follow", "-f"), negative="")] = False, since: str | None = None,
    model: Sequence[str] = (), on: Sequence[str] = (), new: Flag = False, listen: Sequence[str] = (),
    peer: Annotated[Sequence[str], Parameter(name=("--peer", "--peers"))] = (), home: HomePath = None, json: Json = False,
) -> Exit:  # fmt: skip
    """Show events of records, oldest first, as this database's log has them: one line each.

    Args:
        follow: Go on with what happens, until interrupted.
        since: Begin behind this cursor, which is one model's.
        model: Only these models.
        on: Only these kinds: create, update, delete, restore, conflict.
        new: Begin now.
        listen: Addresses to listen on meanwhile.
        peer: Addresses of nodes to be connected with meanwhile.
        home: The database; by default the project's.
        json: Print one JSON object for each event, with its cursor.
    """
    screen, project = Screen(json), Project.here()
    place = project.existing_home(home)
    models = [cls for cls in project.models() if not model or cls.__name__ in model or cls.__schema__.name in model]
    if not models:
        raise CommandError(f"no such model: {', '.join(model)}", next="debros check")
    if since is not None and len(models) != 1:
        raise CommandError("a cursor is of one model", next="debros events --model NAME --since CURSOR")
    start = None if new else since or "start"
    options = {"listen": list(listen) or None, "peers": list(peer)} if listen or peer else {}
    async with project.open(place, **options) as node, AsyncExitStack() as stack:
        feeds: list[Any] = []
        for cls in models:
            owner = "all" if cls.__schema__.scope == "user" else None
            kinds: Any = set(on) or None
            feeds.append(
                await stack.enter_async_context(node.events.subscribe(cls, on=kinds, since=start, owner=owner))
            )
        past = [event for feed in feeds for event in await feed.backlog()]
        for event in sorted(past, key=lambda event: event.order):
            show(screen, event)
        if follow:
            async with trio.open_nursery() as nursery:
                for feed in feeds:
                    nursery.start_soon(_follow, screen, feed)
    return Exit.DONE


async def _follow(screen: Screen, feed: Any) -> None:
    async for event in feed:
        show(screen, event)


def show(screen: Screen, event: Event[Any]) -> None:
    """Print one event."""
    changes = {name: [json_form(old), json_form(new)] for name, (old, new) in event.changes.items()}
    if screen.as_json:
        told = {
            "kind": event.kind, "model": event.model, "id": event.id, "changes": changes, "author": event.author,
            "at": event.at.isoformat(), "origin": event.origin, "cid": event.cid, "cursor": event.cursor,
        }  # fmt: skip
        print(text.dumps(told), flush=True)
        return
    shown = ", ".join(f"{name}: {old!r} -> {new!r}" for name, (old, new) in changes.items())
    screen.say(f"{event.at:%Y-%m-%d %H:%M:%S}", f"{event.kind} {event.model} {event.id}  {shown}", style="bold")
