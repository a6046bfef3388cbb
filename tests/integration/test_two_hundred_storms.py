"""Two hundred storms on both cores; thousands: `make sim`."""

from __future__ import annotations

import subprocess
import sys

from tests.support.programs import ROOT

STORMS = 200


def test_two_hundred_storms_break_no_law() -> None:
    half = STORMS // 2
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "debros.testing.storm", str(first), str(first + half)],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for first in (0, half)
    ]  # fmt: skip
    for run in runs:
        told, _ = run.communicate(timeout=3000)
        assert run.returncode == 0, told
        assert told.rstrip().endswith("0 broke a law: []")
