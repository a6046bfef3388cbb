"""Where a verb writes: tables and progress for people, or one JSON object for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from debros.cli.exits import CommandError
from debros.cli.units import amount, binary_size
from debros.errors import DebrosError


def shown(text: str) -> Text:
    """Return foreign text as it may be shown: control characters cannot move the cursor, nor markup set a style."""
    return Text("".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text))


class Screen:
    """The standard output of one verb. With `as_json` its console stays quiet, so a verb is written once for both."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(quiet=as_json, highlight=False)

    def say(self, head: str, text: str, style: str = "") -> None:
        """Print one line of a report."""
        self.console.print(Text.assemble((f"{head}  " if head else "", style), shown(text)), soft_wrap=True)

    def ask(self, question: str) -> str:
        """Ask a person, and return the answer; the end of the input is no answer."""
        try:
            return self.console.input(Text(question))
        except EOFError:
            return ""

    def confirm(self, what: str, next: str, *, yes: bool) -> None:
        """Ask a person before something is destroyed.

        Raises:
            CommandError: the answer is not yes, or nobody can be asked.
        """
        if yes:
            return
        if self.as_json or not sys.stdin.isatty():
            raise CommandError(f"{what}; nobody can be asked here", next=next)
        if self.ask(f"{what}. Go on? [y/N] ").strip().lower() not in ("y", "yes"):
            raise CommandError(f"{what}: not done", next=next)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table; columns that would be cut are folded."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(shown(str(cell)) for cell in row))
        self.console.print(table)

    def result(self, facts: Mapping[str, Any]) -> None:
        """Print the facts as JSON, if that was asked for."""
        if self.as_json:
            print(json.dumps(facts, ensure_ascii=False, default=str))

    def error(self, error: DebrosError) -> None:
        """Say what went wrong, and the command to type next."""
        command = error.next if isinstance(error, CommandError) else ""
        if self.as_json:
            self.result({"error": {"code": error.code, "message": str(error), "next": command}})
            return
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(Text.assemble(("error: ", "bold red"), shown(str(error))))
        if command:
            console.print(Text.assemble(("next: ", "dim"), shown(command)))

    def waiting(self, text: str) -> AbstractContextManager[object]:
        """Show that something is being done, while the block runs; silent off a terminal."""
        return nullcontext() if self.as_json or not self.console.is_terminal else self.console.status(text)

    def progress(self, unit: str) -> Progress:
        """Return a progress bar with rate and time left; it vanishes at its end, and is silent off a terminal.

        `unit` is what is counted; `"bytes"` are shown as KiB and MiB.
        """
        return Progress(
            TextColumn("  [dim]{task.description}"),
            BarColumn(bar_width=24),
            _Amounts(unit),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal or self.as_json,
        )


class _Amounts(ProgressColumn):
    """What is done, and how much of it a second."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        super().__init__(table_column=Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        rate = round(task.finished_speed or task.speed or 0)
        a_second = f", {binary_size(rate) if self.unit == 'bytes' else f'{rate:,}'}/s" if rate else ""
        return Text(f"{amount(round(task.completed), self.unit)}{a_second}", style="cyan")
