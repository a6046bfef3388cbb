"""Projects for tests of the command."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

import debros

MODELS = """
from debros import Field, Model, model

@model(name="Task")
class Task(Model):
    title: Field[str]
"""


def a_project_with_tasks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a project and stand in it; its database has two tasks, and one update."""
    name = f"tasks_{abs(hash(str(folder)))}"
    (folder / f"{name}.py").write_text(MODELS)
    (folder / "pyproject.toml").write_text(f'[tool.debros]\napp = "tasks"\nmodels = "{name}"\n')
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    __import__(name)
    task = sys.modules[name].Task

    async def write() -> None:
        async with debros.open(folder / "data", app="tasks", models=[task]):
            first = await task.create(title="a")
            await task.create(title="c")
            await first.update(title="b")

    trio.run(write)


__all__ = ["a_project_with_tasks"]
