"""What type checkers make of the public surface: `good.py` is clean, every marked line of `bad.py` is an error."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FILES = {"good.py", "bad.py"}
MARK = re.compile(r"  # (\d+) ")

Errors = set[tuple[str, int]]


def mypy() -> Errors:
    """Return the errors mypy --strict finds, as (file, line)."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary", *sorted(FILES)]
    environ = {**os.environ, "MYPYPATH": f"{ROOT}:{HERE}", "MYPY_CACHE_DIR": str(ROOT / ".mypy_cache")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE, env=environ, check=False)
    assert not done.stderr, done.stderr
    found = re.findall(r"^(\S+?):(\d+): error:", done.stdout, re.MULTILINE)
    return {(name, int(line)) for name, line in found if name in FILES}


def pyright() -> Errors:
    """Return the errors pyright finds, as (file, line)."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "-p", "pyrightconfig.json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=False)
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] >= len(FILES)
    return {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1)
        for each in report["generalDiagnostics"]
        if each["severity"] == "error"
    }


def test_the_marks_of_the_bad_program_count_up() -> None:
    marks = [int(number) for number in MARK.findall((HERE / "bad.py").read_text())]
    assert marks == list(range(1, len(marks) + 1))
    assert len(marks) >= 19


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_checker_accepts_the_good_program_and_reports_each_marked_line_of_the_bad_one(
    checker: Callable[[], Errors],
) -> None:
    lines = (HERE / "bad.py").read_text().splitlines()
    assert checker() == {("bad.py", n) for n, line in enumerate(lines, 1) if MARK.search(line)}
