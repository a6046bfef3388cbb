"""`debros export`: the records that a database shows, one JSON object on each line; or a CAR file."""

from __future__ import annotations

import json as json_text
import os
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal, TextIO

from debros.cli.carfiles import Format, is_car, write
from debros.cli.copying import sync
from debros.cli.exits import CommandError, Exit
from debros.cli.options import FileOrDash, HomePath, Json, Yes
from debros.cli.project import Project
from debros.cli.screen import Screen
from debros.cli.units import counted
from debros.values.json import json_form

BATCH = 500


async def command(
    file: FileOrDash, /, *, model: list[str] | None = None, format: Format = "auto", record: str = "", log: str = "",
    content: str = "", car_version: Literal[1, 2] = 1, home: HomePath = None, yes: Yes = False, json: Json = False,
) -> Exit:  # fmt: skip
    """Write records as NDJSON, or signed entries and content as a CAR file, if its name ends so.

    NDJSON: `{"model", "id", "owner", "values"}` on each line, by model and id. Values are as JSON has them: ISO times,
    decimals as text, bytes in base64. Deleted records are left out. A CAR file holds entries with all before them, and
    the content they refer to; any IPFS tool reads it.

    Args:
        file: Where to; `-` is the standard output, for NDJSON.
        model: Only these models; into a CAR file, the logs of one.
        format: `ndjson` or `car`; by default as the file's name says.
        record: Only this record, by its id, with its history and its files (CAR).
        log: Only this log, by its address or its owner's DID (CAR).
        content: Only this content, by its CID (CAR).
        car_version: Of the CAR format.
        home: The database; by default the project's.
        yes: Write over a file that is there.
        json: Print one JSON object when done.
    """
    screen, project = Screen(json), Project.here()
    place = project.existing_home(home)
    to_screen = str(file) == "-"
    as_car = is_car(file, format)
    if to_screen and as_car:
        raise CommandError("a CAR file gets its name when it is whole, so it cannot go to a stream", next="debros export FILE.car")  # fmt: skip
    if not as_car and (record or log or content):
        raise CommandError("one record, log or file is exported into a CAR file", next=f"debros export {file} --format car")  # fmt: skip
    if to_screen and json:
        raise CommandError("the records and the JSON object cannot both go to the standard output", next="debros export FILE --json")  # fmt: skip
    if not to_screen and not file.absolute().parent.is_dir():
        raise CommandError(f"there is no directory {file.absolute().parent} to write {file.name} into", next=f"mkdir -p {file.parent}")  # fmt: skip
    if not to_screen and file.is_dir():
        raise CommandError(f"{file} is a directory; name a file in it", next=f"debros export {file / 'records.ndjson'}")
    if not to_screen and file.exists():
        screen.confirm(f"{file} is there already and would be replaced", f"debros export {file} --yes", yes=yes)
    async with project.open(place) as node:
        if as_car:
            return await write(
                node, project, file, model=model or [], record=record, log=log, content=content, version=car_version,
                screen=screen,
            )  # fmt: skip
        classes = chosen(project.models(), model)
        counts = dict.fromkeys((cls.__name__ for cls in classes), 0)
        if to_screen:
            await _write(classes, node, sys.stdout, counts, screen)
        else:
            new = file.with_name(file.name + ".new")
            with new.open("w", encoding="utf-8") as out:
                await _write(classes, node, out, counts, screen)
                out.flush()
                os.fsync(out.fileno())
            new.replace(file)
            sync(file.absolute().parent)
    if not to_screen:
        screen.say("wrote", f"{file}: {counted(sum(counts.values()), 'record')}", style="bold green")
    screen.result({"file": str(file), "records": counts})
    return Exit.DONE


def chosen(classes: Sequence[Any], names: Sequence[str] | None) -> list[Any]:
    """Return the models with these names, all if there are none.

    Raises:
        CommandError: there is no such model.
    """
    known = {cls.__name__: cls for cls in classes}
    for name in names or ():
        if name not in known:
            raise CommandError(f"there is no model {name!r}; models: {', '.join(known)}", next="debros check")
    return [cls for name, cls in known.items() if not names or name in names]


async def _write(classes: Sequence[Any], node: Any, out: TextIO, counts: dict[str, int], screen: Screen) -> None:
    total = 0
    for cls in classes:
        total += await everyone(cls).count()
    with screen.progress("records") as bar:
        task = bar.add_task("exporting", total=total)
        for cls in classes:
            async for record in records(cls):
                meta = record.meta
                values = type(record).__shape__.decoded(record)
                line = {
                    "model": cls.__name__,
                    "id": record.id,
                    "owner": meta.owner,
                    "values": {spec.name: json_form(values[spec.name]) for spec in cls.__schema__.fields},
                }
                out.write(json_text.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
                counts[cls.__name__] += 1
                bar.advance(task)


def everyone(cls: Any) -> Any:
    """Return the query for all records, whoever owns them."""
    query = cls.query()
    return query.all_users() if cls.__schema__.scope == "user" else query


async def records(cls: Any) -> AsyncIterator[Any]:
    """Yield all records of a model, a batch in memory at a time."""
    async for batch in everyone(cls).batches(BATCH):
        for record in batch:
            yield record
