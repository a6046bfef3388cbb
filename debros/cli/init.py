"""`debros init`: makes a folder a debros project."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

from debros.cli.exits import CommandError, Exit
from debros.cli.options import Json
from debros.cli.screen import Screen
from debros.env import SYSTEM
from debros.home import replace_file

LETTERS: Final = "abcdefghijkmnpqrstuvwxyz23456789"


def command(name: str = "", /, *, models: str = "", json: Json = False) -> Exit:
    """Write `[tool.debros]` into pyproject.toml, with a name that no other application has, and make `migrations/`.

    Nodes share logs only under the same name: keep it, and give it to all installations of this application.

    Args:
        name: Of the application; by default the folder's.
        models: The module that defines its models; by default the one `models.py` that is here, else `app.models`.
        json: Print one JSON object.
    """
    screen, root = Screen(json), Path.cwd()
    path = root / "pyproject.toml"
    text = path.read_text(encoding="utf-8-sig") if path.is_file() else ""
    if "debros" in tomllib.loads(text).get("tool", {}):
        raise CommandError(f"{path} has a [tool.debros] already; what it says is changed there", next="debros check")
    models = models or _models_in(root)
    app = unique_name(name or root.name)
    section = settings(app, models)
    replace_file(path, f"{text.rstrip()}\n\n{section}".lstrip().encode(), mode=0o666)
    (root / "migrations").mkdir(exist_ok=True)
    screen.say("wrote", f"{path.name}: app = {app!r}, models = {models!r}", style="bold green")
    screen.say("next", f"define models in {models}, then: debros makemigrations")
    screen.result({"path": str(path), "app": app, "models": models})
    return Exit.DONE


def _models_in(root: Path) -> str:
    """Return the module called `models` that stands in a folder or in a package there, if it is one."""
    found = [*root.glob("models.py"), *(path for path in root.glob("*/models.py") if path.parent.name.isidentifier())]
    return ".".join(found[0].relative_to(root).with_suffix("").parts) if len(found) == 1 else "app.models"


def settings(app: str, models: str) -> str:
    """Return the settings of a project as TOML."""
    return f'[tool.debros]\napp = "{app}"\nmodels = "{models}"\nmigrations = "migrations"\nhome = "data"\n'


def unique_name(name: str) -> str:
    """Return a name for an application: `blog-k3x9q7`; two of one name would share their logs.

    Raises:
        CommandError: nothing of the name can be used.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:50]
    if not plain:
        raise CommandError(f"{name!r} has no letters and digits for a name", next="debros init NAME")
    suffix = "".join(LETTERS[byte % len(LETTERS)] for byte in SYSTEM.random_bytes(6))
    return f"{plain}-{suffix}"
