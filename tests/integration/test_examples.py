"""Every example runs, and prints exactly what its first lines promise."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.programs import ROOT, run_python

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def promised(example: Path) -> str:
    """Return the indented lines of the docstring, which are the output."""
    docstring = ast.get_docstring(ast.parse(example.read_text(encoding="utf-8")))
    assert docstring is not None
    return "".join(f"{line.strip()}\n" for line in docstring.splitlines() if line.startswith("    "))


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("home", [":memory:", "home"])
def test_it_prints_what_it_promises(example: Path, home: str, tmp_path: Path) -> None:
    done = run_python(str(example), home, cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout == promised(example)
    assert done.returncode == 0
