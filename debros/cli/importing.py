"""`debros import`: records from NDJSON, or what a CAR file holds."""

from __future__ import annotations

import json as json_text
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid5

from debros.cli.carfiles import Format, is_car, read
from debros.cli.exits import CommandError, Exit
from debros.cli.options import FileOrDash, Flag, HomePath, Json
from debros.cli.project import Project
from debros.cli.screen import Screen
from debros.cli.units import counted
from debros.errors import DebrosError, UniqueError

if TYPE_CHECKING:
    from debros.node import Debros

BATCH = 500
IMPORTED: Final = UUID(
    "b6f0c6a2-5a4d-5d0e-8d0b-696d706f7274"
)  # of the ids of records that somebody else wrote elsewhere


async def command(
    file: FileOrDash, /, *, model: str = "", format: Format = "auto", home: HomePath = None, skip_existing: Flag = False, dry_run: Flag = False,
    json: Json = False,
) -> Exit:  # fmt: skip
    """Create records from NDJSON, or take in a CAR file.

    Of a CAR file nothing is believed: signed entries are checked like a peer's, and keep their authors; content is hashed.

    NDJSON is as `debros export` writes it, or plain objects of one model's fields.
    The acting identity writes them: who owned them elsewhere does not count, and ids that name another owner become ids of
    this one, the same each time. Whole batches are written or nothing of
    them; where one is refused, the error names the line, and what came before it stays.

    Args:
        file: What to read; `-` is the standard input.
        format: `ndjson` or `car`; by default as the file's name says.
        model: The model of lines that are plain objects.
        home: The database; by default the project's, made if it is not there.
        skip_existing: Pass over ids that are there already.
        dry_run: Only check every line.
        json: Print one JSON object.
    """
    if file.suffix.lower() in (".csv", ".tsv", ".xlsx"):
        raise CommandError(
            f"{file} is no NDJSON: one object of fields on each line; in Python, `csv.DictReader` and `Model.create_many` import a table",
            next="debros import FILE.ndjson --model NAME",
        )
    screen, project = Screen(json), Project.here()
    place = project.home(home)
    as_car = is_car(file, format)
    if as_car and (model or skip_existing or dry_run or str(file) == "-"):
        raise CommandError(
            "a CAR file is a file, and its entries say themselves what they are of", next=f"debros import {file}"
        )
    created, skipped = 0, 0
    async with project.open(place) as node:
        if as_car:
            return await read(node, file, screen)
        classes = {cls.__name__: cls for cls in project.models()}
        batch: list[tuple[int, Any]] = []
        with screen.progress("records") as bar:
            task = bar.add_task("importing", total=None)
            for number, line in _lines(file):
                record = _record(number, line, model, classes, node, needs_id=skip_existing)
                there = node.collection(type(record).__schema__).row(record.id) is not None
                if skip_existing and there:
                    skipped += 1
                    continue
                if batch and (len(batch) == BATCH or type(record) is not type(batch[-1][1])):
                    created += await _create(batch, dry_run)
                    batch = []
                batch.append((number, record))
                bar.update(task, completed=created)
            created += await _create(batch, dry_run)
    screen.say(
        "checked" if dry_run else "imported",
        counted(created, "record") + (f", {skipped} passed over" if skipped else ""),
        style="bold green",
    )
    screen.result({"file": str(file), "created": created, "skipped": skipped, "dry_run": dry_run})
    return Exit.DONE


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    if str(file) == "-":
        yield from enumerate(sys.stdin, 1)
        return
    try:
        with file.open(encoding="utf-8") as lines:
            yield from enumerate(lines, 1)
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read: {error}", exit=Exit.FAILED) from error


def _record(number: int, line: str, model: str, classes: dict[str, Any], node: Debros, *, needs_id: bool) -> Any:
    try:
        told = json_text.loads(line)
        if not isinstance(told, dict):
            raise ValueError("it is no object")
        name = told.get("model", "") if "values" in told else model
        if name not in classes:
            raise ValueError(
                f"no model {name!r}; models: {', '.join(classes)}" if name else "no model: give --model NAME"
            )
        cls = classes[name]
        values = {**told["values"], "id": told["id"]} if "values" in told else told
        if cls.__shape__.derived is not None:
            values = {key: value for key, value in values.items() if key != "id"}  # the record's own value gives it
        elif cls.__shape__.has_suffix and "id" in values:
            values = {**values, "id": _own_id(values["id"], node.collection(cls.__schema__).owner_suffix())}
        if needs_id and "id" not in values and cls.__shape__.derived is None:
            raise ValueError("it has no id, by which --skip-existing could tell whether it is there")
        return cls.from_dict(values)
    except (ValueError, KeyError, TypeError, RecursionError, DebrosError) as error:
        raise CommandError(f"line {number}: {error}", next="debros import FILE --dry-run", exit=Exit.FAILED) from error


def _own_id(id: object, suffix: str) -> object:
    """Return the id of a record whose id names its writer, once the acting identity writes it: always the same one."""
    if not isinstance(id, str) or id.endswith(suffix):
        return id
    return f"{uuid5(IMPORTED, id)}{suffix}"


async def _create(batch: list[tuple[int, Any]], dry_run: bool) -> int:
    if not batch or dry_run:
        return len(batch)
    first, last = batch[0][0], batch[-1][0]
    try:
        await type(batch[0][1]).create_many([record for _, record in batch])
    except UniqueError as error:
        raise CommandError(
            f"line {first}: {error}" if first == last else f"lines {first} to {last}: {error}",
            next="debros import FILE --skip-existing",
            exit=Exit.FAILED,
        ) from error
    return len(batch)
