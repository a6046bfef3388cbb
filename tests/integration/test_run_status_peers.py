"""`debros run`, `status` and `peers` as a user starts them: two nodes over libp2p on loopback, in pipes and at a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import ROOT, run_python

PATIENCE_S = 60.0
MODELS = """
import debros
from debros import Field, model

@model(scope="global")
class Note(debros.Model):
    text: Field[str]
"""
ENVIRONMENT = {n: t for n, t in os.environ.items() if not n.startswith(("DEBROS_", "GIT_", "PYTHON", "NO_COLOR"))} | {
    "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1", "TERM": "xterm",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project whose database holds two notes, and an empty folder beside it, which has no models."""
    for name in ("mine", "relay"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text('[tool.debros]\napp = "notes-abc"\n')
    mine = tmp_path / "mine"
    (mine / "notes.py").write_text(MODELS)
    (mine / "pyproject.toml").write_text('[tool.debros]\napp = "notes-abc"\nmodels = "notes"\n')
    told(mine, "shell", "--command", "await Note.create(text='a')\nawait Note.create(text='b')")
    return tmp_path


def told(cwd: Path, *arguments: str, code: int = 0) -> str:
    done = run_python("-m", "debros.cli", *arguments, cwd=cwd, PYTHONDONTWRITEBYTECODE="1")
    assert done.returncode == code, done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    return done.stdout + done.stderr


@contextmanager
def running(cwd: Path, *arguments: str, to: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "debros.cli", "run", *arguments]
    process = subprocess.Popen(command, cwd=cwd, env=ENVIRONMENT, stdout=to, stderr=to, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(cwd: Path, verb: str, holds: Any) -> dict[str, Any]:
    """Ask until what a verb says in JSON is as wanted; it is another process, which takes its time."""
    deadline = time.monotonic() + PATIENCE_S
    facts: dict[str, Any] = {}
    while time.monotonic() < deadline:
        done = run_python("-m", "debros.cli", verb, "--json", cwd=cwd)
        facts = json.loads(done.stdout)
        if done.returncode == 0 and holds(facts):
            return facts
    raise AssertionError(facts)


def test_a_relay_without_models_fetches_all_and_both_tell_of_each_other(folder: Path) -> None:
    mine, relay = folder / "mine", folder / "relay"
    with running(mine) as first:
        [address] = until(mine, "peers", lambda facts: facts["addresses"])["addresses"]
        with running(relay, "--peer", address) as second:
            there = until(relay, "status", lambda facts: facts["running"] and facts["entries"] == 2)
            assert there["addresses"] == []
            [known] = until(relay, "peers", lambda facts: facts["peers"][0]["connected"])["peers"]
            assert address.endswith(known["id"])
            [other] = until(mine, "peers", lambda facts: facts["peers"])["peers"]
            assert other["connected"]
            assert not other["banned"]
            here = until(mine, "status", lambda facts: all(log["synced"] for log in facts["logs"] if log["peers"]))
            assert here["running"]
            assert "connected" in told(mine, "peers")
            shown = told(mine, "status")
            assert "running" in shown
            assert "2 entries" in shown
            second.send_signal(signal.SIGINT)
            second.wait(PATIENCE_S)
        first.send_signal(signal.SIGINT)
        out, err = first.communicate(timeout=PATIENCE_S)
        assert "Traceback" not in out + err
        assert address in out
    after = json.loads(told(mine, "status", "--json"))
    assert (after["running"], after["entries"]) == (False, 2)
    assert json.loads(told(relay, "status", "--json"))["entries"] == 2


def test_in_json_a_run_prints_one_object_at_its_end(folder: Path) -> None:
    facts = json.loads(told(folder / "mine", "run", "--for-s", "0.2", "--json"))
    assert facts["entries"] == 2
    assert facts["app"] == "notes-abc"
    assert facts["addresses"][0].startswith("/ip4/127.0.0.1/tcp/")


def test_peers_of_a_node_that_does_not_run_and_of_no_node_say_what_to_type(folder: Path) -> None:
    assert "next: debros run" in told(folder / "mine", "peers", code=1)
    assert "there is no debros database" in told(folder / "relay", "peers", code=2)
    assert "there is no debros database" in told(folder / "relay", "status", code=2)


def test_a_node_that_was_killed_is_not_taken_for_one_that_runs(folder: Path) -> None:
    mine = folder / "mine"
    with running(mine) as process:
        until(mine, "peers", lambda facts: facts["addresses"])
        process.kill()
        process.wait()
    assert (mine / "data" / "run.json").exists()
    assert "no node runs" in told(mine, "peers", code=1)
    assert json.loads(told(mine, "status", "--json"))["running"] is False


def test_at_a_terminal_a_table_lives_until_ctrl_c(folder: Path) -> None:
    ours, theirs = pty.openpty()
    with running(folder / "mine", to=theirs) as process:
        os.close(theirs)
        shown = b""
        deadline = time.monotonic() + PATIENCE_S
        while b"ctrl-c ends it" not in shown and time.monotonic() < deadline:
            if select.select([ours], [], [], 1)[0]:
                shown += os.read(ours, 65536)
        assert b"/ip4/127.0.0.1/tcp/" in shown
        assert b"\x1b[" in shown
        assert b"ctrl-c ends it" in shown
        process.send_signal(signal.SIGINT)
        while select.select([ours], [], [], PATIENCE_S)[0]:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux says so when the other side is closed
                break
            shown += part
        assert process.wait(PATIENCE_S) in (0, 130)
        assert b"Traceback" not in shown
    os.close(ours)
