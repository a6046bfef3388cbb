"""How the command answers: exit codes, messages, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from debros.cli import main
from debros.cli.app import VERBS
from debros.cli.exits import CommandError, Exit, exit_of
from debros.cli.project import Project
from debros.cli.screen import Screen
from debros.errors import ConfigError, DebrosError, StorageError, StoreLockedError

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["demo", "--help"], ["verify", "--help"]])
def test_help_is_printed_and_is_no_failure(arguments: list[str], capsys: Captured) -> None:
    assert main(arguments) == 0
    assert "Usage: debros" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["verfy"],
        ["demo", "--comits", "3"],
        ["demo", "--commits", "0"],
        ["demo", "--commits", "many"],
        ["verify", "a", "b"],
    ],
)
def test_wrong_usage_is_told_with_the_command_to_type_next(arguments: list[str], capsys: Captured) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    verb = f"{arguments[0]} " if arguments[0] in VERBS else ""
    assert f"next: debros {verb}--help" in told.err


def test_wrong_usage_with_json_is_told_in_json(capsys: Captured) -> None:
    assert main(["demo", "--commits", "0", "--json"]) == 2
    told = capsys.readouterr()
    error = json.loads(told.out)["error"]
    assert (error["code"], error["next"], told.err) == ("command", "debros demo --help", "")
    assert "commits" in error["message"]


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_verify_where_there_is_no_database_is_wrong_usage(name: str, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["verify", str(tmp_path / name)]) == 2
    told = capsys.readouterr().err
    assert f"there is no debros database in {tmp_path / name}" in told
    assert "next: debros verify PATH" in told


def test_a_project_whose_file_begins_with_a_byte_order_mark_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text('\ufeff[project]\nname = "x"\n', encoding="utf-8")
    assert main(["init", "--models", "app.models"]) == Exit.DONE
    made = tmp_path / "pyproject.toml"
    made.write_text("\ufeff" + made.read_text(encoding="utf-8"), encoding="utf-8")
    assert main(["init"]) == Exit.USAGE
    assert "has a [tool.debros] already" in capsys.readouterr().err
    assert Project.here().is_one


def test_the_demo_refuses_a_folder_that_holds_something(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "mine").write_text("mine", encoding="utf-8")
    history = tmp_path / "a.jsonl"
    history.write_text('{"sha":"1","author":"A","authored_at":"2024-01-01T00:00:00Z","subject":"s","files":[]}\n')
    assert main(["demo", str(history), "--home", str(tmp_path)]) == 2
    assert "is not an empty folder" in capsys.readouterr().err
    assert (tmp_path / "mine").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", ["absent", "absent.jsonl", "empty.jsonl"])
def test_the_demo_refuses_a_history_it_cannot_read(name: str, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    assert main(["demo", str(tmp_path / name)]) == 2
    assert str(tmp_path / name) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreLockedError("in use"), Exit.LOCKED),
        (ConfigError("wrong"), Exit.USAGE),
        (StorageError("disk full"), Exit.FAILED),
        (CommandError("no", exit=Exit.FAILED), Exit.FAILED),
        (CommandError("no"), Exit.USAGE),
    ],
)
def test_every_error_has_its_exit_code(error: DebrosError, code: Exit) -> None:
    assert exit_of(error) == code


def test_an_interrupt_is_told_and_has_the_shells_code(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("debros.cli.app.app", interrupted)
    assert main(["demo"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_message_cannot_move_the_cursor_nor_set_a_style(capsys: Captured) -> None:
    Screen(as_json=False).error(DebrosError("[bold]\x1b[2J\x07 all gone"))
    assert capsys.readouterr().err == "error: [bold]\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER} all gone\n"
