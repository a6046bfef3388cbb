"""The public surface: names, and what loading them costs."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import debros
from debros import Model


def test_every_public_attribute_of_model_is_reserved_and_nothing_else_is() -> None:
    public = {name for name in (*dir(Model), *vars(type(Model))) if not name.startswith("_") and name != "mro"}
    assert public == debros.RESERVED_NAMES


@pytest.mark.parametrize("name", sorted(debros.RESERVED_NAMES - {"id"}))
def test_every_public_attribute_of_model_is_documented(name: str) -> None:
    found = inspect.getattr_static(type(Model) if name == "create" else Model, name)
    documented = getattr(found, "__func__", found)
    assert inspect.getdoc(documented)


def test_every_listed_name_can_be_imported() -> None:
    for name in debros._LAZY:
        assert getattr(debros, name) is not None
        assert name in dir(debros)
    with pytest.raises(AttributeError, match="no attribute 'Modell'"):
        debros.Modell  # noqa: B018 - wrong on purpose


def test_import_debros_loads_neither_pydantic_nor_sqlite_nor_the_query_engine() -> None:
    code = (
        "import debros, sys; print([m for m in sys.modules if m.split('.')[0] in ('pydantic', 'apsw', 'nacl', 'trio')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
