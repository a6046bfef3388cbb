"""`debros key`: the key that a home writes with."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Literal

from debros.cli.exits import CommandError, Exit
from debros.cli.options import Flag, HomePath, Json
from debros.cli.project import Project
from debros.cli.screen import Screen
from debros.identity.keys import Identity


def command(
    action: Literal["show", "new", "export"] = "show", path: Path | None = None, /, *, home: HomePath = None,
    passphrase: Flag = False, json: Json = False,
) -> Exit:  # fmt: skip
    """Show who a home writes as, make a new key, or export the home's key. Keys themselves are never printed.

    Args:
        action: `show`, `new PATH`, or `export PATH`.
        path: The file to write, which must not be there; for `show`, another key file than the home's.
        home: The database; by default the project's.
        passphrase: Encrypt the file that is written, or read one that is encrypted; it is asked for.
        json: Print one JSON object.
    """
    screen, own = Screen(json), Project.here().home(home) / "identity"
    if action == "show":
        file = path or own
        if not file.is_file():
            raise CommandError(f"there is no key in {file}", next="debros key new PATH, or open the home once")
        identity = Identity.load(file, _asked() if passphrase else None)
    else:
        if path is None:
            raise CommandError(f"debros key {action} needs a file to write", next=f"debros key {action} PATH")
        if path.exists():
            raise CommandError(f"{path} is there already", next=f"debros key {action} PATH, with a new name")
        if action == "export" and not own.is_file():
            raise CommandError(f"there is no key in {own}", next="debros key new PATH")
        identity = Identity.generate() if action == "new" else Identity.load(own)
        identity.save(path, _asked(twice=True) if passphrase else None)
        file = path
        screen.say("wrote", f"{file}{', encrypted' if passphrase else ', not encrypted'}", style="bold green")
    screen.say("did", identity.did)
    screen.say("tag", identity.tag)
    screen.result({"did": identity.did, "tag": identity.tag, "file": str(file)})
    return Exit.DONE


def _asked(*, twice: bool = False) -> str:
    if not sys.stdin.isatty():
        text = sys.stdin.readline().rstrip("\n")
        if not text:
            raise CommandError("no passphrase on the standard input", next="debros key ... --passphrase, at a terminal")
        return text
    text = getpass.getpass("passphrase: ")
    if twice and getpass.getpass("again: ") != text:
        raise CommandError("the two passphrases differ; nothing was written")
    return text
