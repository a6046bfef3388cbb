"""Reading a history from a file with one JSON object per commit."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from debros.cli.demo.jsonl import read_jsonl
from debros.cli.demo.past import CommitPast, FilePast
from debros.cli.exits import CommandError

GOOD: dict[str, Any] = {
    "sha": "a1",
    "author": "Ana",
    "authored_at": "2024-01-01T12:00:00-08:00",
    "subject": "Begin",
    "files": [{"path": "src/a", "added": 3, "deleted": 1}, {"path": "b", "added": None, "deleted": None}],
}


def file_with(path: Path, *commits: object) -> Path:
    path.write_text("".join(json.dumps(commit) + "\n" for commit in commits), encoding="utf-8")
    return path


def test_each_line_is_a_commit(tmp_path: Path) -> None:
    past = read_jsonl(file_with(tmp_path / "told.jsonl", GOOD), 10)
    assert (past.name, past.source) == ("told", "jsonl")
    assert past.commits == (
        CommitPast(
            *("a1", "Ana", datetime(2024, 1, 1, 20, tzinfo=UTC), "Begin"),
            files=(FilePast("src/a", 3, 1), FilePast("b", 0, 0)),
        ),
    )


def test_what_unicode_calls_a_line_break_may_stand_in_a_subject(tmp_path: Path) -> None:
    path = tmp_path / "told.jsonl"
    line = json.dumps(GOOD | {"subject": "one\u2028two\x85three"}, ensure_ascii=False)
    path.write_text(f"{line}\n", encoding="utf-8")
    assert [commit.subject for commit in read_jsonl(path, 10).commits] == ["one\u2028two\x85three"]


def test_a_file_without_lines_has_no_commits(tmp_path: Path) -> None:
    assert read_jsonl(file_with(tmp_path / "told.jsonl"), 10).commits == ()


def test_only_the_last_lines_are_read(tmp_path: Path) -> None:
    path = file_with(tmp_path / "told.jsonl", {}, GOOD, GOOD | {"sha": "a2"})
    assert [commit.sha for commit in read_jsonl(path, 2).commits] == ["a1", "a2"]


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {},
        GOOD | {"authored_at": "yesterday"},
        GOOD | {"authored_at": "2024-01-01T12:00:00"},
        GOOD | {"files": None},
        GOOD | {"files": [{"path": "a", "added": "x", "deleted": 0}]},
    ],
)
def test_a_line_that_is_no_commit_is_named(tmp_path: Path, wrong: object) -> None:
    path = file_with(tmp_path / "told.jsonl", GOOD, wrong)
    with pytest.raises(CommandError, match=r"told\.jsonl, line 2, is not a commit"):
        read_jsonl(path, 10)


def test_a_line_that_is_not_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "told.jsonl"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(CommandError, match="line 1, is not a commit"):
        read_jsonl(path, 10)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"absent\.jsonl cannot be read"):
        read_jsonl(tmp_path / "absent.jsonl", 10)
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff")
    with pytest.raises(CommandError, match=r"bytes\.jsonl cannot be read"):
        read_jsonl(tmp_path / "bytes.jsonl", 10)
