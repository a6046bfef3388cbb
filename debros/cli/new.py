"""`debros new`: makes a project that runs."""

from __future__ import annotations

import keyword
import re
import shlex
import sys
from pathlib import Path
from typing import Final

from debros.cli.exits import CommandError, Exit
from debros.cli.init import settings, unique_name
from debros.cli.options import Json
from debros.cli.screen import Screen
from debros.cli.starter import FILES

_TAKEN: Final = sys.stdlib_module_names | {"debros", "pytest", "tests", "trio"}  # what a project imports by these names


def command(name: str, /, *, json: Json = False) -> Exit:
    """Make a new folder with models, a program that uses them, a test, and settings; all of it runs.

    Args:
        name: Of the folder, and of the application.
        json: Print one JSON object.
    """
    screen, root = Screen(json), Path(name)
    module = re.sub(r"[^a-z0-9]+", "_", root.name.lower()).strip("_")
    if not module.isidentifier() or keyword.iskeyword(module):
        raise CommandError(f"{name!r} is no name for a Python package", next="debros new blog")
    if module in _TAKEN:
        raise CommandError(
            f"a package called {module!r} would stand before the one that Python has", next=f"debros new my-{module}"
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise CommandError(f"{root} is there already and not empty", next="debros new NAME, with a new name")
    app = unique_name(root.name)
    written = []
    for path, text in FILES.items():
        target = root / path.replace("APP", module)
        target.parent.mkdir(parents=True, exist_ok=True)
        made = text.replace("APP", module).replace("SETTINGS\n", settings(app, f"{module}.models"))
        target.write_text(made, encoding="utf-8")
        written.append(str(target))
    (root / "migrations").mkdir()
    screen.say("made", f"{root}: {module}/models.py, {module}/__main__.py, tests, pyproject.toml", style="bold green")
    screen.say("next", f"cd {shlex.quote(str(root))}, then: python -m {module}")
    screen.result({"folder": str(root), "package": module, "app": app, "files": written})
    return Exit.DONE
