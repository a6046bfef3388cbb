"""What models declare, as plain data: what `debros makemigrations` compares. It never looks at a database."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TypeAlias

from debros.errors import MigrationError
from debros.home import replace_file
from debros.models.options import version_text
from debros.models.sharding import Sharding, Strategy, layout_of
from debros.schema import FieldSpec, Schema

FILE: Final = "snapshot.json"
FORMAT: Final = 1

Snapshot: TypeAlias = "dict[str, dict[str, Any]]"  # by stored name


def snapshot(classes: Iterable[Any]) -> Snapshot:
    """Return the snapshot of some models, given by their classes."""
    return {cls.__schema__.name: _model(cls) for cls in sorted(classes, key=lambda cls: str(cls.__schema__.name))}


def _model(cls: Any) -> dict[str, Any]:
    schema: Schema = cls.__schema__
    found = {
        "version": version_text(schema.version),
        "scope": schema.scope,
        "store": schema.store,
        "write": schema.write,
        "fields": {spec.name: _field(spec) for spec in schema.fields},
        "indexes": sorted(
            ",".join(("-" if down else "") + name for name, down in index.fields) + ("!" if index.unique else "")
            for index in schema.indexes
        ),
    }
    sharding = cls.__options__.sharding  # as declared: the schema has the first layout
    return found if sharding is None else found | {"sharding": _sharding(sharding)}


def _sharding(strategy: Sharding | Strategy) -> dict[str, str]:
    """Return how a model is sharded; `layout` as Python writes it."""
    layout = layout_of(strategy)
    told = repr(list(layout)) if isinstance(layout, tuple) else str(layout)
    return {"by": f"{strategy.name} {strategy.key}".rstrip(), "layout": told}


def _field(spec: FieldSpec) -> dict[str, Any]:
    bounds = "" if spec.bounds is None else repr(spec.bounds)
    return {
        "stored": spec.wire,
        "type": spec.codec.name + (" | None" if spec.nullable else ""),
        "merge": spec.merge,
        "default": repr(spec.default) if spec.has_default else None,
        "bounds": bounds,
    }


def read(folder: Path) -> Snapshot | None:
    """Return the snapshot that lies in a folder of migrations, `None` if there is none.

    Raises:
        MigrationError: it is broken, or of a newer format.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        number, models = told["format"], told["models"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MigrationError(f"{path} cannot be read: {error}; restore it from version control") from error
    if number != FORMAT or not isinstance(models, dict):
        raise MigrationError(f"{path} was written by a newer debros; upgrade: pip install --upgrade debros")
    return models


def write(folder: Path, models: Snapshot) -> None:
    """Write a snapshot into a folder of migrations.

    Raises:
        StorageError: the disk refused.
    """
    text = json.dumps({"format": FORMAT, "models": models}, indent=2, ensure_ascii=False, sort_keys=True)
    replace_file(folder / FILE, f"{text}\n".encode(), mode=0o666)
