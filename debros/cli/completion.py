"""`debros completion`: the completion script of a shell."""

from __future__ import annotations

from typing import Literal

from debros.cli.exits import Exit
from debros.cli.options import Json
from debros.cli.screen import Screen


def command(shell: Literal["bash", "zsh", "fish"] = "bash", /, *, json: Json = False) -> Exit:
    """Print a completion script; `debros completion bash > ~/.local/share/bash-completion/completions/debros` installs it.

    Args:
        shell: bash, zsh or fish.
        json: Print one JSON object.
    """
    from debros.cli.app import app

    script = app.generate_completion(shell=shell)
    if json:
        Screen(json).result({"shell": shell, "script": script})
    else:
        print(script)
    return Exit.DONE
