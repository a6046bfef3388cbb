"""`import debros` stays light."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.programs import run_python


@pytest.mark.parametrize("module", ["rich", "cyclopts", "debros.cli", "asyncio", "sqlite3"])
def test_importing_debros_does_not_load(module: str, tmp_path: Path) -> None:
    done = run_python("-c", f"import sys, debros; sys.exit({module!r} in sys.modules)", cwd=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)


def test_importing_debros_opens_nothing_and_starts_no_thread(tmp_path: Path) -> None:
    code = "import sys, threading, debros; sys.exit(threading.active_count() - 1)"
    assert run_python("-c", code, cwd=tmp_path).returncode == 0
    assert list(tmp_path.iterdir()) == []
