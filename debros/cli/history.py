"""`debros history`: everything that became of one record."""

from __future__ import annotations

from typing import Any

from debros.cli.exits import CommandError, Exit
from debros.cli.options import HomePath, Json
from debros.cli.project import Project
from debros.cli.screen import Screen
from debros.values.json import json_form


async def command(id: str, /, *, model: str = "", home: HomePath = None, json: Json = False) -> Exit:
    """Show every version of a record: who changed what, and when. It is read from the signed log.

    Args:
        id: The record's id.
        model: Its model, where several have a record with this id.
        home: The database; by default the project's.
        json: Print one JSON object.
    """
    screen, project = Screen(json), Project.here()
    place = project.existing_home(home)
    async with project.open(place) as node:
        found = []
        for cls in project.models():
            if model in ("", cls.__name__, cls.__schema__.name):
                row = node.collection(cls.__schema__).row(id)
                if row is not None:
                    found += cls.__shape__.hydrate((row,), node.collection(cls.__schema__))
        if not found:
            raise CommandError(f"no record has the id {id!r}", next="debros export -", exit=Exit.FAILED)
        if len(found) > 1:
            names = ", ".join(type(record).__name__ for record in found)
            raise CommandError(
                f"{id!r} is the id of several records: {names}", next=f"debros history {id} --model NAME"
            )
        versions = await found[0].history()
        told: list[dict[str, Any]] = []
        for version in versions:
            changes = {name: [json_form(old), json_form(new)] for name, (old, new) in version.changes.items()}
            told.append({"at": version.at.isoformat(), "kind": version.kind, "author": version.author, "cid": version.cid, "changes": changes})  # fmt: skip
            screen.say(f"{version.at:%Y-%m-%d %H:%M:%S}", f"{version.kind} by {version.author}", style="bold")
            for name, (old, new) in changes.items():
                screen.say("", f"  {name}: {old!r} -> {new!r}")
    screen.result({"id": id, "model": type(found[0]).__name__, "versions": told})
    return Exit.DONE
