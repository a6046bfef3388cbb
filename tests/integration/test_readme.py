"""What the README shows is what happens."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.programs import ROOT, run_python

README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """Return the README's only block in this language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_ten_lines_print_what_the_readme_says(tmp_path: Path) -> None:
    (tmp_path / "ten_lines.py").write_text(block("python"), encoding="utf-8")
    done = run_python("ten_lines.py", cwd=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (block("text"), "", 0)

    checked = run_python("-m", "debros.cli", "verify", "./data", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr


def test_every_command_of_the_readme_is_a_target_of_the_makefile() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = re.findall(r"^\$ make ([a-z-]+)", README, re.MULTILINE)
    assert named[:2] == ["demo", "test"]
    assert set(named) <= set(targets)


def test_every_file_the_readme_names_is_there() -> None:
    for name in re.findall(r"`((?:docs|examples)/[a-z./]*)`", README):
        assert (ROOT / name).exists(), name
