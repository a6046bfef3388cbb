"""Every verb as a user starts it: at a pseudo-terminal, where it may ask and show colour, and in a pipe, where it may not."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from debros.cli.app import VERBS
from tests.support.programs import ROOT, run_python

MODELS = """
import debros
from debros import Field, field, model

@model(version="{version}")
class Note(debros.Model):
    text: Field[str] = field(default="")
{more}
"""
ESCAPE = "\x1b"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with two notes, the second version of its model, and a migration that is not applied."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "__init__.py").write_text("")
    (tmp_path / "pyproject.toml").write_text('[tool.debros]\napp = "notes-abc"\nmodels = "notes.models"\n')
    models = tmp_path / "notes" / "models.py"
    models.write_text(MODELS.format(version="1.0.0", more=""))
    piped(tmp_path, "makemigrations")
    piped(tmp_path, "shell", "--command", "await Note.create(id='a', text='Ana')\nawait Note.create(id='b', text='Bo')")
    models.write_text(MODELS.format(version="1.1.0", more="    lang: Field[str] = field()\n"))
    return tmp_path


def piped(folder: Path, *arguments: str, code: int = 0, **more: str) -> str:
    """Run a verb in a pipe; nothing but text comes out."""
    done = run_python("-m", "debros.cli", *arguments, cwd=folder, PYTHONDONTWRITEBYTECODE="1", **more)
    assert done.returncode == code, done.stdout + done.stderr
    assert ESCAPE not in done.stdout + done.stderr
    return done.stdout


def at_a_terminal(folder: Path, *arguments: str, typed: str = "", code: int = 0, **more: str) -> str:
    """Run a verb at a pseudo-terminal, type this, and return everything it showed."""
    kept = {n: t for n, t in os.environ.items() if not n.startswith(("DEBROS_", "GIT_", "PYTHON", "NO_COLOR"))}
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "debros.cli", *arguments], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs,
        env=kept | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "TERM": "xterm", "PYTHONDONTWRITEBYTECODE": "1"} | more,
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, typed.encode())
    shown = b""
    try:
        while select.select([ours], [], [], 60)[0]:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux says so when the other side is closed
                break
            if not part:
                break
            shown += part
        assert process.wait(timeout=60) == code, shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return shown.decode()


def migrated(folder: Path) -> None:
    """Make the migration that the model needs, and apply it."""
    piped(folder, "makemigrations", "--default", 'Note.lang="en"')
    piped(folder, "migrate")


STEPS = [  # verb, arguments, what is shown
    ("makemigrations", ("--default", 'Note.lang="en"'), "0001_add_lang"),
    ("check", ("--laws",), "fit each other"),
    ("migrate", ("--dry-run",), "lang: None -> 'en'"),
    ("migrate", (), "applied"),
    ("showmigrations", (), "applied"),
    ("rollback", ("--yes",), "rolled back"),
    ("migrate", (), "applied"),
    ("history", ("a",), "create by did:key:"),
    ("export", ("all.ndjson",), "2 records"),
    ("import", ("all.ndjson", "--skip-existing"), "2 passed over"),
    ("backup", ("saved",), "verified"),
    ("restore", ("saved", "--home", "again"), "restored"),
    ("verify", (), "whole"),
    ("key", (), "did:key:"),
    ("doctor", (), "good"),
    ("shell", ("--command", "await Note.count()"), "2"),
    ("completion", ("bash",), "makemigrations"),
    ("events", ("--model", "Note"), "create Note a"),
    ("pins", (), "pinned"),
    ("shards", (), "no model of this project is sharded"),
    ("status", (), "not running"),
    ("run", ("--for-s", "0.1"), "listening"),
    ("demo", ("--commits", "20"), "replicate"),
    ("new", ("blog",), "made"),
]


def test_every_verb_is_tried_here() -> None:
    assert {verb for verb, _, _ in STEPS} | {"init", "peers"} == set(VERBS)


def test_every_verb_in_a_pipe(folder: Path) -> None:
    for verb, arguments, shown in STEPS:
        assert shown in piped(folder, verb, *arguments), verb
    (folder / "fresh").mkdir()
    assert "wrote" in piped(folder / "fresh", "init")


def test_every_verb_at_a_terminal(folder: Path) -> None:
    for verb, arguments, shown in STEPS:
        assert shown in at_a_terminal(folder, verb, *arguments), verb
    (folder / "fresh").mkdir()
    assert "wrote" in at_a_terminal(folder / "fresh", "init")


def test_peers_of_a_node_that_runs_in_a_pipe_and_at_a_terminal(folder: Path) -> None:
    piped(folder, "peers", code=1)
    at_a_terminal(folder, "peers", code=1)
    node = subprocess.Popen(
        [sys.executable, "-m", "debros.cli", "run", "--for-s", "120"], cwd=folder, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert node.stdout is not None
        address = node.stdout.readline().split()[1]
        assert address in piped(folder, "peers")
        assert address in "".join(at_a_terminal(folder, "peers").split())
        assert json.loads(piped(folder, "peers", "--json")) == {"addresses": [address], "peers": []}
        assert "running" in piped(folder, "status")
    finally:
        node.terminate()
        node.communicate(timeout=60)


def test_every_verb_in_json_prints_one_object(folder: Path) -> None:
    for verb, arguments, _ in STEPS:
        lines = piped(folder, verb, *arguments, "--json").splitlines()
        assert all(isinstance(json.loads(line), dict) for line in lines), verb
        assert len(lines) == 1 or verb == "events", verb  # of which each is an object


def test_every_verb_has_help_and_says_what_it_takes(folder: Path) -> None:
    listed = piped(folder, "--help")
    for verb in VERBS:
        assert f"{verb} " in listed
        assert "Usage: debros" in piped(folder, verb, "--help")


def test_questions_are_asked_at_a_terminal(folder: Path) -> None:
    shown = at_a_terminal(folder, "makemigrations", typed="'en'\n")
    assert "What do old records get (str, as Python)?" in shown
    assert "default='en'" in (folder / "migrations" / "0001_add_lang.py").read_text()
    at_a_terminal(folder, "migrate")
    assert "Go on? [y/N]" in at_a_terminal(folder, "rollback", typed="n\n", code=2)
    assert "applied" in piped(folder, "showmigrations")
    assert "rolled back" in at_a_terminal(folder, "rollback", typed="y\n")


def test_a_terminal_has_colour_unless_no_color_says_otherwise(folder: Path) -> None:
    assert ESCAPE in at_a_terminal(folder, "verify")
    plain = at_a_terminal(folder, "verify", NO_COLOR="1")
    assert "\x1b[1;32m" not in plain
    assert "whole" in plain


def test_the_shell_at_a_terminal_awaits_and_survives_errors(folder: Path) -> None:
    migrated(folder)
    typed = "n = await Note.count()\nn + 40\n1 / 0\nfor i in range(2):\n    print(i)\n\nprint('still here')\nexit()\n"
    shown = at_a_terminal(folder, "shell", typed=typed)
    assert "42" in shown
    assert "ZeroDivisionError" in shown
    assert "still here" in shown


def test_a_program_typed_into_the_shell_runs(folder: Path) -> None:
    migrated(folder)
    done = subprocess.run(
        [sys.executable, "-m", "debros.cli", "shell"], input="for note in await Note.all():\n    print(note.text)\n",
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["Ana", "Bo"]


def test_a_migration_that_is_killed_goes_on_when_it_is_typed_again(folder: Path) -> None:
    piped(folder, "makemigrations", "--default", 'Note.lang="en"')
    path = folder / "migrations" / "0001_add_lang.py"
    slow = "\nimport os\n\n\ndef die(row):\n    if row['id'] == 'b' and not os.path.exists('seen'):\n        open('seen', 'w').close()\n        os.kill(os.getpid(), 9)\n    return row\n\n\nm0001 = m0001.transform('Note', up=die, down=lambda row: row)\n"
    path.write_text(path.read_text() + slow)
    done = run_python("-m", "debros.cli", "migrate", cwd=folder)
    assert done.returncode == -9
    assert "pending" in piped(folder, "showmigrations")
    assert "applied" in piped(folder, "migrate")
    assert "'en'" in piped(folder, "shell", "--command", "(await Note.get('b')).lang")
