"""Projects in a temporary folder, and the command run in them, in this process."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from debros.cli import main
from debros.models import registry

MODELS = """
from __future__ import annotations
from datetime import datetime
from decimal import Decimal
import debros
from debros import Field, One, belongs_to, field, model

@model(version="{version}", name="Note")
class Note(debros.Model):
    text: Field[str] = field(default="")
    price: Field[Decimal | None] = field(default=None)
    at: Field[datetime | None] = field(default=None)
    tags: Field[set[str]] = field(default_factory=set)
    data: Field[bytes] = field(default=b"", expose=False)
{more}

@model(scope="user", name="Diary")
class Diary(debros.Model):
    line: Field[str] = field(default="")
"""
_numbers = itertools.count()


class Project:
    """A project, and what the command says in it."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.package = f"project_{next(_numbers)}"
        self._capsys = capsys
        self.write_models()
        (root / "pyproject.toml").write_text(
            f'[tool.debros]\napp = "test-abc"\nmodels = "{self.package}.models"\n', encoding="utf-8"
        )

    def write_models(self, version: str = "1.0.0", more: str = "") -> None:
        """Write the models; what was imported of them before is forgotten."""
        folder = self.root / self.package
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").write_text("")
        (folder / "models.py").write_text(MODELS.format(version=version, more=more), encoding="utf-8")
        for name in [name for name in sys.modules if name.partition(".")[0] == self.package]:
            del sys.modules[name]
        sys.path_importer_cache.clear()
        for key in [key for key in registry._defined if key[0].startswith(self.package)]:
            del registry._defined[key]
        for cached in folder.glob("__pycache__/*"):
            cached.unlink()

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Run the command; it must end with this code. Return what it printed, and what it said of errors."""
        found = main(list(arguments))
        told = self._capsys.readouterr()
        assert found == code, told.out + told.err
        return told.out, told.err

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Run the command with `--json`, and return the one object it prints."""
        out, err = self.run(*arguments, "--json", code=code)
        assert err == ""
        [line] = out.splitlines()
        return json.loads(line)

    def fill(self) -> None:
        """Write three notes and a line of a diary."""
        source = (
            "from datetime import UTC, datetime\nfrom decimal import Decimal\n"
            "await Note.create(id='a', text='Ana', price=Decimal('1.50'), at=datetime(2025, 1, 2, tzinfo=UTC), tags={'x', 'y'}, data=b'\\xff')\n"
            "await Note.create(id='b', text='Bo')\nawait Note.create(id='c', text='gone')\n"
            "await (await Note.get('c')).delete()\nawait (await Note.get('b')).update(text='Bob')\n"
            "await Diary.create(id='d', line='dear')\n"
        )
        self.run("shell", "--command", source)


def project_in(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Project]:
    """Make a project, and be in its folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    project = Project(folder, capsys)
    yield project
    for key in [key for key in registry._defined if key[0].startswith(project.package)]:
        del registry._defined[key]
