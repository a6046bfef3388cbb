"""Names that fields and relations may not have, and the form of those they may have."""

from __future__ import annotations

import re
from typing import Final

from debros.errors import ModelError
from debros.schema import NAME

RESERVED_NAMES: Final = frozenset({
    "id", "meta",
    "create", "create_many", "get", "get_or_none", "get_many", "find_one", "all", "count", "query", "where", "as_of",
    "upsert", "get_or_create", "increment", "from_dict",
    "save", "update", "delete", "restore", "refresh", "is_new", "is_changed", "changes", "validate", "copy",
    "to_dict", "to_json", "history", "blame", "conflicts", "settled",
})  # fmt: skip
"""Every public attribute of `Model`. The list only grows with a major version."""

_form = re.compile(NAME)


def check_model_name(name: str) -> None:
    """Raise `ModelError` unless a model may be stored under this name."""
    if not isinstance(name, str) or not _form.fullmatch(name) or name.startswith("_"):
        raise ModelError(
            f"the model name {name!r} is not of the form [A-Za-z][A-Za-z0-9_]*, at most 63 characters;"
            " give another by `@model(name=...)`"
        )


def check_attribute(model: str, name: str) -> None:
    """Raise `ModelError` if a field or relation of this name would hide an attribute of `Model`."""
    if name in RESERVED_NAMES:
        raise ModelError(
            f"{model}.{name} hides a public attribute of Model (debros.RESERVED_NAMES);"
            f' spell it `{name}_`, with `field(name="{name}")` to keep the stored name'
        )


def check_wire_name(model: str, attribute: str, wire: str) -> None:
    """Raise `ModelError` unless a field may be stored under this name."""
    if not isinstance(wire, str) or not _form.fullmatch(wire) or wire.startswith("_"):
        raise ModelError(
            f"{model}.{attribute}: the stored name {wire!r} is not of the form [A-Za-z][A-Za-z0-9_]*, at most 63"
            " characters; give another by `field(name=...)`"
        )
