"""What type checkers make of the public surface: `good.py` is clean, every marked line of `bad.py` is an error."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def mypy(file: Path) -> set[tuple[str, int]]:
    """Return the errors mypy --strict finds, as (file, line)."""
    options = ["--strict", "--no-error-summary", "--hide-error-context", "--disable-error-code=empty-body"]
    command = [sys.executable, "-m", "mypy", *options, "--config-file=", f"--cache-dir={ROOT / '.mypy_cache'}", str(file)]
    environ = {"MYPYPATH": f"{ROOT}:{HERE}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE, env=environ, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = re.findall(r"^([^:\n]+):(\d+): error:", done.stdout, re.MULTILINE)
    assert (done.returncode == 0) == (not found), done.stdout
    return {(Path(name).name, int(line)) for name, line in found}


def pyright(file: Path) -> set[tuple[str, int]]:
    """Return the errors pyright finds, as (file, line)."""
    settings = {"include": [str(file)], "extraPaths": [str(ROOT), str(HERE)], "pythonVersion": "3.11"}
    config = HERE / "pyrightconfig.json"
    assert json.loads(config.read_text()) == {**settings, "include": ["."], "extraPaths": ["../..", "."]}
    command = [sys.executable, "-m", "pyright", "--outputjson", "-p", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1) for each in found if each["severity"] == "error"
    }


def marked(file: Path) -> set[tuple[str, int]]:
    return {(file.name, n) for n, line in enumerate(file.read_text().splitlines(), 1) if re.search(r"  # \d+ ", line)}


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_checkers_accept_the_good_program_and_report_each_marked_line_of_the_bad_one(checker) -> None:  # type: ignore[no-untyped-def]  # one of the two above
    assert checker(HERE / "bad.py") == marked(HERE / "bad.py")
