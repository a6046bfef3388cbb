"""The `debros` command as a program: its output, its exit codes, and what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.programs import ROOT, run_python
from tests.support.repositories import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path / "project")
    for number in range(12):
        repository.write(f"src/module_{number % 3}.py", f"x = {number}\n")
        repository.commit(f"Number {number}", "Ana" if number % 3 else "Bo")
    return repository


def test_the_demo_stands_in_a_repository_and_leaves_nothing_behind(repository: Repository, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = run_python("-m", "debros.cli", "demo", cwd=repository.root / "src", TMPDIR=str(temporary))
    assert (done.stderr, done.returncode) == ("", 0)
    assert "project: 12 commits" in done.stdout
    assert "\x1b" not in done.stdout  # no colour, for this is no terminal
    assert list(temporary.iterdir()) == []
    assert repository.git("status", "--porcelain") == b""


def test_where_there_is_no_repository_the_demo_says_that_it_generates_one(tmp_path: Path) -> None:
    done = run_python(
        "-m", "debros.cli", "demo", "--commits", "60", "--json", cwd=tmp_path, GIT_CEILING_DIRECTORIES="/"
    )
    assert (done.stderr, done.returncode) == ("", 0)
    history = json.loads(done.stdout)["facts"]["history"]
    assert history["source"] == "generated"
    assert history["note"] == "no history here (git cannot read .: not a git repository), so this one is made up"


@pytest.mark.parametrize("missing", ["cyclopts", "rich"])
def test_without_the_extra_it_says_what_to_install(missing: str, tmp_path: Path) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from debros.cli import main; sys.exit(main(['--help']))"
    done = run_python("-c", code, cwd=tmp_path)
    assert (done.stdout, done.returncode) == ("", 1)
    assert done.stderr == "the `debros` command needs two more packages; next: pip install 'debros[cli]'\n"


def test_the_command_has_the_version_of_the_project(tmp_path: Path) -> None:
    done = run_python("-m", "debros.cli", "--version", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f'version = "{done.stdout.strip()}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
