"""A migration as the text of a Python file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from debros.migrations.builder import Migration

# what bounds of shards and types need; names in quotes are the program's
_IMPORTS = ((r"\bdatetime\.", "import datetime"), (r'(?<!")\bDecimal\b(?!")', "from decimal import Decimal"))


KNOWN = frozenset({"datetime", "Decimal"})
"""Names beyond Python's own that a value in a migration may use."""


def next_number(folder: Path) -> int:
    """Return the number that the next file in a folder gets."""
    numbers = [int(found[1]) for path in folder.glob("*.py") if (found := re.match(r"(\d{4})_", path.name))]
    return max(numbers, default=0) + 1


def slug(words: Sequence[str], given: str = "") -> str:
    """Return what a file is called, behind its number."""
    text = given or "_".join(words[:2]) or "empty"
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:60] or "migration"


def render(name: str, version: str, lines: Sequence[str], before: Sequence[Migration], date: str) -> str:
    """Return the text of a migration's file; it depends on the last one before it."""
    calls = [f'.describe("{name[5:].replace("_", " ")}")', f'.on("{date}")']
    if before:
        calls.append(f'.depends_on("{before[-1].name}")')
    calls += lines
    listed = "\n".join(f"    {call}" for call in calls)
    imports = [line for word, line in _IMPORTS if any(re.search(word, call) for call in lines)]
    above = "".join(f"{line}\n" for line in (*imports, "") if imports)
    return (
        f'"""{name[5:].replace("_", " ").capitalize()}."""\n\n{above}from debros import migration\n\n'
        f'm{name[:4]} = (\n    migration("{name}", "{version}")\n{listed}\n)\n'
    )
