"""A simulated world is closed: nothing of the machine it runs on reaches its nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from debros.testing import deterministic
from debros.testing.world import World


def test_settings_of_the_project_it_runs_in_do_not_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.debros]\nrow_cache = 7\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEBROS_FLUSH_ROWS", "7")

    async def main() -> tuple[int, int]:
        async with World(1, models=[], nodes=1) as world:
            config = world["n0"].db.config
            return config.row_cache, config.flush_rows

    assert deterministic.run(main, 1) == (10_000, 500)
