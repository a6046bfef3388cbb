"""`debros events`: the log as lines, for people and for pipes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from debros.cli.app import run
from tests.support.cli_projects import a_project_with_tasks


def test_events_are_lines_for_people_and_objects_for_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a_project_with_tasks(tmp_path, monkeypatch)
    assert run(["events"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines] == ["create", "create", "update"]
    assert "title: 'a' -> 'b'" in lines[2]

    assert run(["events", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["kind"] for one in told] == ["create", "create", "update"]
    assert told[2]["changes"] == {"title": ["a", "b"]}

    assert run(["events", "--json", "--model", "Task", "--since", told[1]["cursor"]]) == 0
    assert [json.loads(line)["kind"] for line in capsys.readouterr().out.splitlines()] == ["update"]
    assert run(["events", "--on", "update"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert run(["events", "--new"]) == 0
    assert capsys.readouterr().out == ""


def test_wrong_wishes_end_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a_project_with_tasks(tmp_path, monkeypatch)
    for wrong in (["--model", "Nothing"], ["--on", "created"], ["--since", "damaged"]):
        assert run(["events", *wrong]) != 0
        assert capsys.readouterr().err
