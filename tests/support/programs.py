"""Programs started as a user would start them, with nothing in their environment that is ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_python(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run this Python, warnings as errors, and wait for its end; the repository's code is what it imports."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("DEBROS_", "GIT_", "PYTHON"))}
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=cwd,
        env=inherited | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"} | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
