"""Manifest: what a log is, and who may write to it.

`{"v": 1, "app": text, "open": bool, "part": [], "scope": text, "admins": [keys]}`, in this order. The log's id
is the digest of these bytes, its address `/debros/<cid>`. It is unsigned, for it claims nothing: anybody may
compute it, so peers that mean the same log find the same address without asking. Writers are not listed in it;
certificates name them, and admins are fixed for the life of the log.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Literal

from debros.blocks import cid, dagcbor
from debros.errors import NewerFormatError
from debros.identity.signing import PUBLIC_SIZE
from debros.schema import NAME

VERSION: Final = 1
MAX_ADMINS: Final = 16

_KEYS: Final = {"v", "app", "open", "part", "scope", "admins"}
_APP: Final = re.compile(r"[a-z0-9-]{1,64}")
_MODEL: Final = re.compile(NAME)
_SHARD: Final = re.compile(r"[\x20-\x7e]{1,128}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A valid manifest. Equal ones mean the same log.

    Attributes:
        app: the application, 1..64 of `[a-z0-9-]`; logs are shared only under the same name.
        scope: `global`, or `user` for the log of one user, the only admin.
        open: may anybody write?
        admins: root keys, ascending; they may write, grant and revoke.
        part: empty, or (model, shard) for one shard of a sharded model, e.g. `("Post", "2/4")`.
        block: the bytes.
        log_id: their sha2-256, 32 bytes.
        address: `/debros/` + the CID in text.
    """

    app: str
    scope: Literal["global", "user"]
    open: bool
    admins: tuple[bytes, ...] = ()
    part: tuple[str, str] | None = None
    block: bytes = field(init=False, repr=False, compare=False)
    log_id: bytes = field(init=False, repr=False, compare=False)
    address: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        value = {
            "v": VERSION,
            "app": self.app,
            "open": self.open,
            "part": list(self.part or ()),
            "scope": self.scope,
            "admins": list(self.admins),
        }
        _check(value)
        object.__setattr__(self, "block", dagcbor.encode(value))
        object.__setattr__(self, "log_id", cid.digest_of(self.block))
        object.__setattr__(self, "address", "/debros/" + cid.to_text(self.log_id))

    def is_admin(self, user: bytes) -> bool:
        """Is this root key one of the admins?"""
        return user in self.admins


def manifest_of_user(app: str, user: bytes, part: tuple[str, str] | None = None) -> Manifest:
    """Return the manifest of a user's own log."""
    return Manifest(app, "user", False, (user,), part)


def manifest_of_all(app: str, open: bool, admins: Iterable[bytes], part: tuple[str, str] | None = None) -> Manifest:
    """Return the manifest of a global log; the admins in any order, each once.

    Raises:
        ValueError: neither open nor with an admin, or a value outside its limits.
    """
    return Manifest(app, "global", open, tuple(sorted(admins)), part)


def parse(block: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        NewerFormatError: its version is above 1, or it has a key that version 1 does not know.
        ValueError: it is invalid.
    """
    value = dagcbor.decode(block)
    if type(value) is not dict:
        raise ValueError("a manifest is a map")
    version = value.get("v")
    if (type(version) is int and version > VERSION) or not value.keys() <= _KEYS:
        raise NewerFormatError("this log was made by a newer version of debros; upgrade to open it")
    if value.keys() != _KEYS:
        raise ValueError(f"a manifest lacks {', '.join(sorted(_KEYS - value.keys()))}")
    if type(version) is not int or version != VERSION:
        raise ValueError("`v` of a manifest is not 1")
    _check(value)
    part: tuple[str, str] | None = (value["part"][0], value["part"][1]) if value["part"] else None
    return Manifest(value["app"], value["scope"], value["open"], tuple(value["admins"]), part)


def _check(value: dict[str, Any]) -> None:
    app, part, scope, admins = value["app"], value["part"], value["scope"], value["admins"]
    if type(app) is not str or not _APP.fullmatch(app):
        raise ValueError(f"`app` of a manifest is 1 to 64 of [a-z0-9-], not {repr(app)[:80]}")
    if type(value["open"]) is not bool:
        raise ValueError("`open` of a manifest is true or false")
    if type(part) is not list or (part and not _is_part(part)):
        raise ValueError(f"`part` of a manifest is empty or a model name and a shard, not {repr(part)[:80]}")
    if type(admins) is not list or not all(type(key) is bytes and len(key) == PUBLIC_SIZE for key in admins):
        raise ValueError("`admins` of a manifest is a list of keys")
    if len(admins) > MAX_ADMINS or any(first >= second for first, second in pairwise(admins)):
        raise ValueError(f"`admins` of a manifest are at most {MAX_ADMINS}, ascending, each once")
    if scope == "user":
        if value["open"] or len(admins) != 1:
            raise ValueError("a user's log is not open and has one admin, its owner")
    elif scope != "global":
        raise ValueError(f"`scope` of a manifest is global or user, not {repr(scope)[:80]}")
    elif not value["open"] and not admins:
        raise ValueError("nobody could write to a log that is not open and has no admin")


def _is_part(part: list[Any]) -> bool:
    if len(part) != 2 or not all(type(item) is str for item in part):
        return False
    return _MODEL.fullmatch(part[0]) is not None and _SHARD.fullmatch(part[1]) is not None
