"""`debros shards`: how the records of sharded models are spread over their logs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from debros.cli.exits import CommandError, Exit
from debros.cli.options import HomePath, Json
from debros.cli.project import Project
from debros.cli.screen import Screen, shown
from debros.cli.units import binary_size, counted
from debros.errors import did_you_mean
from debros.shards.model_shards import ModelShards
from debros.shards.moving import Moving


async def command(
    model: str = "", /, *, move: int | None = None, to: Path | None = None, home: HomePath = None, json: Json = False
) -> Exit:
    """Show the shards of the project's sharded models: records, entries and bytes of each, and how even they are.

    Args:
        model: Only this model.
        move: Number of a shard of this model to move into a store of its own, in the directory `--to`.
        to: A new directory, or the one of a move that ended early, which then goes on.
        home: The database; by default the project's.
        json: Print one JSON object.
    """
    screen, project = Screen(json), Project.here()
    place = project.existing_home(home)
    told: dict[str, Any] = {}
    async with project.open(place) as node:
        classes = {cls.__schema__.name: cls for cls in project.models()}
        names = list(node.shards)
        if model and model not in names:
            hint = did_you_mean(model, names) or f"; sharded models: {', '.join(names) or 'none'}"
            raise CommandError(f"{model} is no sharded model of this project{hint}", next="debros shards")
        if (move is None) != (to is None) or (move is not None and not model):
            raise CommandError("to move a shard takes all three", next="debros shards MODEL --move NUMBER --to PATH")
        if move is not None and to is not None:
            await _move(screen, node.shards[classes[model]], move, to)
        for name in [model] if model else names:
            shards = node.shards[classes[name]]
            stats = await shards.stats()
            table = Table(box=None, padding=(0, 0, 0, 2), header_style="dim")
            placed = any(shard.path for shard in stats)
            for column in (
                "shard",
                "name",
                "records",
                "left out",
                "entries",
                "bytes",
                "log",
                *(["store"] if placed else ()),
            ):
                left = column in ("name", "log", "store")
                table.add_column(column, justify="left" if left else "right", no_wrap=not placed or column != "store")
            for shard in stats:
                counts = (f"{n:,}" for n in (shard.records, shard.left_out, shard.entries))
                log, store = f"..{shard.address[-8:]}", (shard.path or "home",) if placed else ()
                cells = (shard.number, shard.name, *counts, binary_size(shard.bytes), log, *store)
                table.add_row(*(shown(str(cell)) for cell in cells), style=None if shard.held else "dim")
            screen.say(
                name, f"{counted(len(shards.layouts), 'layout')}, {counted(stats.records, 'record')}", style="bold"
            )
            screen.console.print(table)
            missing = sum(not shard.held for shard in stats)
            note = f"; {counted(missing, 'shard')} not held here" if missing else ""
            screen.say("", f"fullest to mean: {stats.skew:.2f}{note}")
            told[name] = {
                "skew": round(stats.skew, 3),
                "layouts": [{"kind": layout.kind, "shards": layout.n} for layout in shards.layouts],
                "shards": [asdict(shard) for shard in stats],
            }
    if not told:
        screen.say("", "no model of this project is sharded; `@model(sharding=hash_shards(key, n))` spreads one")
    screen.result({"home": str(place), "models": told})
    return Exit.DONE


async def _move(screen: Screen, shards: ModelShards, number: int, to: Path) -> None:
    """Move a shard, with a progress bar."""
    with screen.progress("bytes") as bar:
        task = bar.add_task("moving", total=None)

        def show(how_far: Moving) -> None:
            bar.update(task, completed=how_far.done_bytes, total=how_far.total_bytes)

        await shards.move(number, to=to, progress=show)
    screen.say("moved", f"shard {number} of {shards.name} to {to}", style="bold green")
