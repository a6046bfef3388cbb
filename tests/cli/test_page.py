"""The page about the command names every verb, and every exit code."""

from __future__ import annotations

import re

from debros.cli.app import VERBS
from debros.cli.exits import Exit
from tests.support.programs import ROOT

PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_every_verb_is_on_the_page() -> None:
    table = PAGE[PAGE.index("## Verbs") : PAGE.index("## What they print")]
    named = set(re.findall(r"`([a-z]+)[ \]`]", table))
    assert set(VERBS) <= named


def test_every_exit_code_is_on_the_page() -> None:
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)} == set(Exit)
