"""How the demo looks: each act has a title, the line of code it runs, what that gives, and how long it took."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from debros.cli.screen import Screen, shown
from debros.cli.units import binary_size, duration
from debros.env import SYSTEM


class Report:
    """What the audience sees, and the time of each act in seconds."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.timings_s: dict[str, float] = {}
        self._say = screen.console.print

    def opening(self, *lines: str) -> None:
        self._say(Panel(shown("\n".join(lines)), title="debros demo", title_align="left", border_style="cyan"))

    def title(self, text: str) -> None:
        self._say(Rule(Text(text, style="bold"), align="left", style="cyan"))

    @contextmanager
    def act(self, name: str, code: str = "") -> Iterator[None]:
        """Show the code, time the block, and say how long it took beneath what it showed."""
        for n, line in enumerate(code.splitlines()):
            prompt = "" if code.startswith("$") else "... " if n else ">>> "
            self._say(Text.assemble(("  " + prompt, "dim"), (line, "cyan")))
        begun = SYSTEM.monotonic_s()
        yield
        self.timings_s[name] = SYSTEM.monotonic_s() - begun

    def took(self, name: str, text: str) -> None:
        """Say what an act came to, with its time."""
        self._say(Text.assemble(("  ✓ ", "green"), shown(text), (f"  {duration(self.timings_s[name])}", "dim"), "\n"))

    def note(self, text: str) -> None:
        self._say(Text.assemble("  ", (shown(text).plain, "dim")))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Show rows; numbers stand on the right, and a name too long for the screen is cut. No columns: no head."""
        table = Table(box=None, padding=(0, 2, 0, 2), header_style="dim", pad_edge=True, show_header=bool(columns))
        for n, column in enumerate(columns or [""] * len(rows[0])):
            number = bool(rows) and all(isinstance(row[n], int) for row in rows)
            table.add_column(column, justify="right" if number else "left", no_wrap=True, overflow="ellipsis")
        for row in rows:
            table.add_row(*(shown(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in row))
        self._say(table)

    def text(self, text: str) -> None:
        """Show lines as they are, set in."""
        for line in text.splitlines():
            self._say(Text("    ") + shown(line))

    def closing(self, records: int, entries: int, size_bytes: int) -> None:
        """Sum up."""
        self.title("In short")
        self.table(
            [],
            [
                ("records", f"{records:,}"),
                ("signed entries", f"{entries:,}"),
                ("log on disk", f"{binary_size(size_bytes)}, {size_bytes / records:,.0f} bytes a record"),
                *((name.replace("_", " "), duration(elapsed_s)) for name, elapsed_s in self.timings_s.items()),
            ],
        )
