"""How the demo looks: each act has a title, the lines of code it runs, what they give, and how long they took.

It reads well from 80 columns on. What a narrower screen cannot hold is cut with an ellipsis: a line of code at its
end, a table in the columns that hold text of any length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.columns import Columns
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from debros.cli.screen import Screen, shown
from debros.cli.units import duration
from debros.env import SYSTEM


class Report:
    """What the audience sees, and the time of each act in seconds."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.timings_s: dict[str, float] = {}
        self._say = screen.console.print

    def opening(self, *lines: str) -> None:
        """Say what the demo works on."""
        self._say(Panel(shown("\n".join(lines)), title="debros demo", title_align="left", border_style="cyan"))

    def title(self, text: str) -> None:
        """Begin a chapter."""
        self._say(Rule(Text(text, style="bold"), align="left", style="cyan"))

    @contextmanager
    def act(self, name: str, code: str = "") -> Iterator[None]:
        """Show the code, and time the block; `took` tells the time beneath what the block showed."""
        for line in code.splitlines():
            prompt = "" if line.startswith("$") else "... " if line.startswith(" ") else ">>> "
            self.code(line, prompt)
        begun = SYSTEM.monotonic_s()
        yield
        self.timings_s[name] = SYSTEM.monotonic_s() - begun

    def code(self, text: str, prompt: str = "") -> None:
        """Show lines of code."""
        for line in text.splitlines():
            self._line(Text.assemble((f"  {prompt}", "dim"), (shown(line).plain, "cyan")))

    def took(self, name: str, text: str) -> None:
        """Say what an act came to, with its time."""
        self._say(Text.assemble(("  ✓ ", "green"), (f"{duration(self.timings_s[name])}  ", "dim"), shown(text), "\n"))

    def note(self, text: str) -> None:
        """Say something by the way."""
        self._say(Text.assemble("  ", (text, "dim"), "\n"))

    def failed(self, text: str) -> None:
        """Say what is not as it should be."""
        self._say(Text.assemble(("  ✗ ", "bold red"), shown(text), "\n"))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]], text: Sequence[str] = ()) -> None:
        """Show rows; numbers stand on the right. On a narrow screen the `text` columns are cut first."""
        table = Table(box=None, padding=(0, 0, 0, 2), header_style="dim")
        for n, column in enumerate(columns):
            number = bool(rows) and all(isinstance(row[n], int) for row in rows)
            table.add_column(column, justify="right" if number else "left", no_wrap=column not in text)
        for row in rows:
            table.add_row(*map(_cell, row))
        self._say(table)

    def text(self, text: str) -> None:
        """Show lines as they are, set in."""
        for line in text.splitlines():
            self._line(Text("    ") + shown(line))

    def closing(self, *lines: str) -> None:
        """Sum up: these lines, and the time of every act, in as many columns as fit."""
        self.title("In short")
        for line in lines:
            self._line(Text("  ") + shown(line))
        times = [
            Text.assemble((f"{duration(elapsed_s):>9} ", "cyan"), name) for name, elapsed_s in self.timings_s.items()
        ]
        self._say(Padding(Columns(times, padding=(0, 2), equal=True, column_first=True), (1, 0, 0, 2)))

    def _line(self, line: Text) -> None:
        """Print one line, cut at the edge of the screen."""
        self._say(line, no_wrap=True, overflow="ellipsis", crop=True)


def _cell(value: object) -> Text:
    cell = shown(f"{value:,}" if isinstance(value, int) else str(value).replace("\n", " "))
    cell.no_wrap, cell.overflow = True, "ellipsis"
    return cell
