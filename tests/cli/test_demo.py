"""What the demo does and tells, on a history whose answers are known."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from debros.cli import main
from debros.cli.demo.generated import generate
from tests.support.histories import write_history

Captured = pytest.CaptureFixture[str]
COMMITS = generate(120).commits


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return write_history(tmp_path / "story.jsonl", COMMITS)


def facts_of(history: Path, home: Path, capsys: Captured) -> dict[str, Any]:
    assert main(["demo", str(history), "--home", str(home), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"facts", "timings_s"}
    facts: dict[str, Any] = told["facts"]
    return facts


def test_its_facts_are_those_of_the_history(history: Path, tmp_path: Path, capsys: Captured) -> None:
    facts = facts_of(history, tmp_path / "home", capsys)
    assert facts["ok"] is True
    assert facts["history"] == {"name": "story", "source": "jsonl", "note": ""}
    counts = {
        "authors": len({commit.author for commit in COMMITS}),
        "commits": len(COMMITS),
        "file_changes": sum(len(commit.files) for commit in COMMITS),
    }
    assert facts["imported"] == facts["counts"] == counts
    assert facts["same_after_reopen"] is True


def test_its_answers_are_those_one_counts_by_hand(history: Path, tmp_path: Path, capsys: Captured) -> None:
    answers = facts_of(history, tmp_path / "home", capsys)["answers"]

    added: Counter[str] = Counter()
    for commit in COMMITS:
        added[commit.author] += sum(file.added for file in commit.files)
    assert [(row["author"], row["added"]) for row in answers["top_authors"]] == added.most_common(5)

    touched = Counter(file.path for commit in COMMITS for file in commit.files)
    path = min(touched, key=lambda name: (-touched[name], name))
    touching = [commit.sha for commit in reversed(COMMITS) if path in {file.path for file in commit.files}]
    assert answers["touching"] == {"path": path, "shas": touching[:5], "index": answers["touching"]["index"]}
    assert answers["touching"]["index"] is not None  # it does not read every commit

    years = Counter(commit.authored_at.year for commit in COMMITS)
    authors = {year: len({c.author for c in COMMITS if c.authored_at.year == year}) for year in years}
    assert answers["years"] == [
        {"year": year, "commits": years[year], "authors": authors[year]} for year in sorted(years, reverse=True)
    ]

    folders = ({file.area for file in commit.files} - {"."} for commit in reversed(COMMITS))
    area = min(next(filter(None, folders)))
    inside = [commit.sha for commit in reversed(COMMITS) if area in {file.area for file in commit.files}]
    assert answers["page"] == {"area": area, "shas": inside[8:16]}


def test_its_edits_are_remembered(history: Path, tmp_path: Path, capsys: Captured) -> None:
    edits = facts_of(history, tmp_path / "home", capsys)["edits"]
    assert edits == {
        "sha": COMMITS[-1].sha,
        "gone_while_deleted": True,
        "history": ["create", "update", "update", "delete", "restore"],
        "by": ["you", "somebody else", "you", "you", "you"],
        "blame": {
            **dict.fromkeys(("added", "areas", "author_id", "authored_at", "deleted", "sha"), "you"),
            "subject": "somebody else",
        },
        "subject": "Rewritten, and the log knows by whom",
    }


def test_it_tells_people_the_same_story(
    history: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "240")  # wide enough for any temporary path
    assert main(["demo", str(history), "--home", str(tmp_path / "home")]) == 0
    told = capsys.readouterr().out
    for expected in ("story: 120 commits", str(tmp_path / "home"), "Ana Duarte", "Rewritten, and the log", "In short"):
        assert expected in told


def test_the_home_it_keeps_can_be_verified(history: Path, tmp_path: Path, capsys: Captured) -> None:
    verified = facts_of(history, tmp_path / "home", capsys)["verified"]
    assert main(["verify", str(tmp_path / "home"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["home"], told["whole"], told["findings"]) == (str(tmp_path / "home"), True, [])
    assert told["entries"] == verified["entries"] + 2  # those of the two nodes that met after that


def test_a_changed_byte_is_found(history: Path, tmp_path: Path, capsys: Captured) -> None:
    facts_of(history, tmp_path / "home", capsys)
    segment = tmp_path / "home" / "log" / "000001.car"
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    assert main(["verify", str(tmp_path / "home"), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["whole"] is False
    assert told["findings"]

    assert main(["verify", str(tmp_path / "home")]) == 1
    assert "damaged" in capsys.readouterr().out


def test_only_the_newest_commits_are_imported_when_fewer_are_asked_for(
    history: Path, tmp_path: Path, capsys: Captured
) -> None:
    assert main(["demo", str(history), "--home", str(tmp_path / "home"), "--commits", "7", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["facts"]
    assert facts["counts"]["commits"] == 7
    assert facts["edits"]["sha"] == COMMITS[-1].sha


def test_its_shards_hold_every_file_change_and_a_query_says_which_it_read(
    history: Path, tmp_path: Path, capsys: Captured
) -> None:
    facts = facts_of(history, tmp_path / "home", capsys)
    told, changes = facts["shards"], facts["imported"]["file_changes"]
    assert len(told["records"]) == 4
    assert sum(told["records"]) == changes
    assert told["coverage"]["complete"] is True
    assert len(told["coverage"]["shards"]) == 1
    assert told["coverage"]["records"] == len(next(c for c in reversed(COMMITS) if c.files).files)
    assert told["after_resize"] == {"shards": 12, "records": changes}
