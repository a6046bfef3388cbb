"""The Makefile sets itself up, once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
WITNESS = "tests/integration/ipfs"
TARGETS = ("demo", "test", "test-integration", "check", "bench", "format")


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=folder, env=inherited, capture_output=True, text=True, check=False)


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """What the environment is made from, and nothing else."""
    for name in ("Makefile", "pyproject.toml", "requirements-dev.lock", "requirements-bench.lock"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / WITNESS, tmp_path / WITNESS)
    return tmp_path


def test_help_lists_every_target(fresh: Path) -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    listed = re.findall(r"^  make ([a-z-]+)", make(fresh, "help").stdout, re.MULTILINE)
    assert sorted(listed) == sorted(phony.split())


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_sets_itself_up(fresh: Path, target: str) -> None:
    told = make(fresh, "--dry-run", target).stdout
    made = told.index("-m venv .venv") if "-m venv" in told else told.index("venv --quiet")
    assert made < told.index("requirements-dev.lock") < told.index("--editable") < told.index("touch .venv/.installed")
    assert told.splitlines()[-1].startswith(".venv/bin/")


@pytest.mark.parametrize("target", TARGETS)
def test_it_is_set_up_again_only_when_a_source_of_it_changed(fresh: Path, target: str) -> None:
    (fresh / ".venv").mkdir()
    (fresh / "build" / "ipfs").mkdir(parents=True)
    for stamp in (".venv/.installed", ".venv/.installed-bench", "build/ipfs/.installed"):
        (fresh / stamp).touch()
    assert "install" not in make(fresh, "--dry-run", target).stdout.replace("python -m pytest -q tests/integration", "")
    for name in ("pyproject.toml", "requirements-dev.lock"):
        os.utime(fresh / ".venv" / ".installed", (1, 1))
        os.utime(fresh / name, (2, 2))
        assert "--editable" in make(fresh, "--dry-run", target).stdout


def test_an_older_python_is_refused_with_what_to_type(fresh: Path) -> None:
    old = fresh / "python3.10"
    code = "import sys; sys.version_info = (3, 10, 0); exec(sys.argv[2])"
    old.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{code}' \"$@\"\n", encoding="utf-8")
    old.chmod(0o755)
    done = make(fresh, f"PYTHON={old}", "test")
    assert done.returncode != 0
    assert "debros needs Python 3.11 or newer: make PYTHON=python3.12 ..." in done.stderr
    assert not (fresh / ".venv").exists()


def test_the_locks_hold_everything_the_project_asks_for() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wanted = {name.lower() for name in re.findall(r'"([A-Za-z-]+)>=', pyproject)} - {"hatchling"}
    pinned = re.findall(r"^([A-Za-z0-9_-]+)==", (ROOT / "requirements-bench.lock").read_text(), re.MULTILINE)
    assert wanted <= {name.lower().replace("_", "-") for name in pinned}
    development = set((ROOT / "requirements-dev.lock").read_text().splitlines())
    assert development <= set((ROOT / "requirements-bench.lock").read_text().splitlines())


def test_ci_runs_every_part_and_tells_of_a_failure(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    (tmp_path / "Makefile").write_text(
        "test:\n\t@echo '3 passed'\ncheck:\n\t@echo 'no'; exit 7\ntest-integration:\n\t@echo '2 passed'\n",
        encoding="utf-8",
    )
    done = subprocess.run([tmp_path / ".ci" / "run"], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.findall(r"^(?:\d passed|no|== failed: .*)$", done.stdout, re.MULTILINE) == [
        *("3 passed", "no", "2 passed", "== failed: check")
    ]
    (tmp_path / "Makefile").write_text("test check test-integration:\n\t@true\n", encoding="utf-8")
    assert subprocess.run([tmp_path / ".ci" / "run"], capture_output=True, check=False).returncode == 0
