"""The tables that are printed, and the same as JSON."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import apsw
from rich.console import Console
from rich.table import Table

from bench.compare import Compared
from bench.growth import Grown
from bench.measure import Line

MET = {True: "[green]met[/green]", False: "[bold red]not met[/bold red]", None: ""}


def _number(value: float) -> str:
    if value >= 10_000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def print_paths(console: Console, lines: Sequence[Line]) -> None:
    """Print the paths beside their yardsticks and targets."""
    table = Table(title="Paths: CPU time where the unit is us, medians of interleaved rounds", title_justify="left")
    for column in ("path", "measured", "", "yardstick", "it measured", "ratio", "target", ""):
        table.add_column(column, justify="right" if column in ("measured", "it measured", "ratio") else "left")
    for line in lines:
        limit = "" if line.limit is None else _number(line.limit)
        ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
        table.add_row(
            line.path, _number(line.measured), line.unit, line.yardstick, limit, ratio, line.target, MET[line.met]
        )
    console.print(table)


def print_peers(console: Console, compared: Sequence[Compared]) -> None:
    """Print other libraries beside debros."""
    table = Table(
        title="Other libraries, 10,000 documents: us of CPU for one document; durable: also us gone by",
        title_justify="left",
    )
    columns = {
        "insert": "insert", "durable": "durable", "durable_wall": "gone by", "insert_many": "bulk", "get": "get",
        "newest_of": "top 20",
    }  # fmt: skip
    table.add_column("")
    for title in columns.values():
        table.add_column(title, justify="right")
    for one in compared:
        table.add_row(one.name, *(_number(one.costs[name]) for name in columns))
    console.print(table)


def print_growth(console: Console, grown: Sequence[Grown]) -> None:
    """Print what homes of several sizes cost."""
    table = Table(title="Growth", title_justify="left")
    titles = (
        "documents", "bulk us/doc", "get us", "top 20 us", "count us", "reopen ms", "log B/doc", "view B/doc",
        "private MB",
    )  # fmt: skip
    for title in titles:
        table.add_column(title, justify="right")
    for one in grown:
        table.add_row(*map(_number, asdict(one).values()))
    console.print(table)


def write_json(path: Path, lines: Sequence[Line], compared: Sequence[Compared], grown: Sequence[Grown]) -> None:
    """Write everything measured to a file."""
    told: dict[str, Any] = {
        "machine": {
            "python": platform.python_version(),
            "processor": platform.machine(),
            "sqlite": apsw.sqlite_lib_version(),
        },
        "paths": [{**asdict(line), "ratio": line.ratio} for line in lines],
        "peers": [asdict(one) for one in compared],
        "growth": [asdict(one) for one in grown],
    }
    path.write_text(json.dumps(told, indent=2) + "\n")
