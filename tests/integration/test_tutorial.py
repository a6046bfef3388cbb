"""The tutorial, typed word for word: its commands print what it shows, its files are edited as it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.support.programs import ROOT

TEXT = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(console|python|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FAILING = "makemigrations --check"  # ends with 1, as the text says


def matches(shown: str, printed: str) -> bool:
    """Whether a program printed what is shown; `...` stands for anything, trailing blanks do not count."""
    wanted = [line.rstrip() for line in shown.splitlines()]
    found = [line.rstrip() for line in printed.splitlines()]
    if len(wanted) != len(found):
        return False
    return all(
        re.fullmatch(".*".join(map(re.escape, want.split("..."))), line)
        for want, line in zip(wanted, found, strict=True)
    )


class Typist:
    """A terminal in a folder, with this Python's `debros` and `python` on its path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        binaries = folder / "bin"
        binaries.mkdir()
        for name, code in (("python", '"$@"'), ("debros", '-m debros.cli "$@"')):
            (binaries / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -W error {code}\n')
            (binaries / name).chmod(0o755)
        kept = {n: t for n, t in os.environ.items() if not n.startswith(("DEBROS_", "GIT_", "PYTHON"))}
        self._environment = kept | {
            "PATH": f"{binaries}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "COLUMNS": "120",
            "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip

    def type(self, command: str) -> subprocess.CompletedProcess[str]:
        """Type one command."""
        words = shlex.split(command)
        if words[0] == "cd":
            self.folder = self.folder / words[1]
            return subprocess.CompletedProcess(words, 0, "", "")
        return subprocess.run(
            words, cwd=self.folder, env=self._environment, capture_output=True, text=True, check=False, timeout=120,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip


def edit(folder: Path, code: str) -> None:
    """Put a block of the tutorial where its text says."""
    if "class Post(Model)" in code:
        path = folder / "blog" / "models.py"
        text = path.read_text(encoding="utf-8")
        at = text.index('@model(version="1.0.0")\nclass Post(Model)')
        path.write_text(text[:at] + code, encoding="utf-8")
    else:
        path = folder / "migrations" / "0001_language.py"
        text = path.read_text(encoding="utf-8")
        path.write_text(text[: text.index("m0001 = (")] + "\n" + code, encoding="utf-8")


def test_the_tutorial_works_word_for_word(tmp_path: Path) -> None:
    typist = Typist(tmp_path)
    commands = 0
    for kind, content in BLOCK.findall(TEXT):
        if kind == "python":
            edit(typist.folder, content)
        elif kind == "toml":
            settings = (typist.folder / "pyproject.toml").read_text(encoding="utf-8")
            shown = [line.replace("...", "") for line in content.splitlines()]
            assert all(line.rstrip('"') in settings for line in shown)
        else:
            for part in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
                command, _, shown = part.partition("\n")
                done = typist.type(command)
                assert done.stderr == "", command
                assert done.returncode == (1 if FAILING in command else 0), command
                assert matches(shown, done.stdout), f"{command}\n{done.stdout}"
                commands += 1
    assert commands > 20
