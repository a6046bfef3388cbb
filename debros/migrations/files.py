"""Where migrations come from: a list of them, a package, or a folder of files.

A file is a Python module; every `Migration` that its namespace holds by a name without `_` counts.
"""

from __future__ import annotations

import importlib.util
import os
import pkgutil
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

from debros.errors import MigrationError
from debros.migrations.builder import Migration
from debros.migrations.graph import ordered

Source: TypeAlias = "Iterable[Migration] | ModuleType | str | os.PathLike[str]"


def load(source: Source) -> tuple[Migration, ...]:
    """Return the migrations of a list, a package, a package's name, or a folder, in their order.

    Raises:
        MigrationError: a file cannot be read, or they contradict each other.
    """
    if isinstance(source, ModuleType):
        return ordered(_in_package(source))
    if isinstance(source, str | os.PathLike):
        folder = Path(source)
        if folder.is_dir():
            return ordered(_in_folder(folder))
        if isinstance(source, str) and all(part.isidentifier() for part in source.split(".")):
            return ordered(_in_package(_imported(source)))
        raise MigrationError(f"{source} is no folder and no package of migrations; next: debros makemigrations")
    return ordered(source)


def _in_folder(folder: Path) -> list[Migration]:
    found: dict[int, Migration] = {}
    for path in sorted(folder.glob("*.py")):
        if not path.name.startswith("_"):
            found |= {id(each): each for each in _in_module(_module(path))}
    return list(found.values())


def _in_package(package: ModuleType) -> list[Migration]:
    found = {id(each): each for each in _in_module(package)}
    for each in pkgutil.iter_modules(getattr(package, "__path__", [])):
        if not each.name.startswith("_"):
            found |= {id(one): one for one in _in_module(_imported(f"{package.__name__}.{each.name}"))}
    return list(found.values())


def _in_module(module: ModuleType) -> list[Migration]:
    named = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return [value for value in named.values() if isinstance(value, Migration)]


def _imported(name: str) -> ModuleType:
    try:
        return import_module(name)
    except Exception as error:  # whatever a broken module raises
        raise MigrationError(f"{name} cannot be imported: {type(error).__name__}: {error}; correct it") from error


def _module(path: Path) -> ModuleType:
    name = f"debros_migrations_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise MigrationError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a broken file raises, a wrong migration's own error included
        raise MigrationError(f"{path} cannot be used: {type(error).__name__}: {error}; correct the file") from error
    finally:
        sys.modules.pop(name, None)
    return module
