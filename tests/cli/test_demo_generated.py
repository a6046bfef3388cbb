"""The history that stands in where there is no git."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from debros.cli.demo.generated import generate

ROOT = Path(__file__).parents[2]


def test_it_is_the_same_in_every_process() -> None:
    code = "from debros.cli.demo.generated import generate; print(repr(generate(200)))"
    told = {
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, env={"PYTHONHASHSEED": seed}, cwd=ROOT
        ).stdout
        for seed in ("1", "2")
    }
    assert told == {f"{generate(200)!r}\n".encode()}


def test_a_shorter_one_is_the_beginning_of_a_longer_one() -> None:
    assert generate(300).commits[:50] == generate(50).commits


def test_it_could_be_a_real_one() -> None:
    commits = generate(1_000).commits
    assert len({commit.sha for commit in commits}) == 1_000
    assert all(earlier.authored_at < later.authored_at for earlier, later in pairwise(commits))
    assert all(commit.files and commit.subject for commit in commits)
    assert all(len({file.path for file in commit.files}) == len(commit.files) for commit in commits)
    authors = [commit.author for commit in commits]
    assert len(set(authors)) == 12
    assert max(map(authors.count, set(authors))) > 200  # few people write most of it
    assert {file.area for commit in commits for file in commit.files} == {".", "src", "tests", "docs", "tools"}


@pytest.mark.parametrize("commits", [0, 1])
def test_it_may_be_as_short_as_one_likes(commits: int) -> None:
    assert len(generate(commits).commits) == commits
