"""Longer storms with more nodes than those of the test run, on both cores; thousands: `make sim`."""

from __future__ import annotations

import subprocess
import sys

from tests.support.programs import ROOT

STORMS = range(1000, 1020)
NODES, DURATION_S = 7, 90


def test_long_storms_break_no_law() -> None:
    middle = STORMS[len(STORMS) // 2]
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "debros.testing.storm", *map(str, (first, behind, NODES, DURATION_S))],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for first, behind in ((STORMS.start, middle), (middle, STORMS.stop))
    ]  # fmt: skip
    for run in runs:
        told, _ = run.communicate(timeout=1500)
        assert run.returncode == 0, told
        assert told.rstrip().endswith("0 broke a law: []")
