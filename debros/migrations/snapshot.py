"""What models declare, as plain data: what `debros makemigrations` compares. It never looks at a database."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TypeAlias

from debros.errors import MigrationError
from debros.models.options import version_text
from debros.replica.layouts import key_codec
from debros.schema import Codec, FieldSpec, Schema, ShardSpec

FILE: Final = "snapshot.json"
FORMAT: Final = 1

Snapshot: TypeAlias = "dict[str, dict[str, Any]]"  # by stored name


def snapshot(schemas: Iterable[Schema]) -> Snapshot:
    """Return the snapshot of some declarations."""
    return {schema.name: _model(schema) for schema in sorted(schemas, key=lambda schema: schema.name)}


def _model(schema: Schema) -> dict[str, Any]:
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
    return found if schema.sharding is None else found | {"sharding": _sharding(schema.sharding, key_codec(schema))}


def _sharding(spec: ShardSpec, codec: Codec) -> dict[str, Any]:
    """Return how a model is sharded; `layout` as Python writes it."""
    decode = codec.from_wire or (lambda value: value)
    layout = repr([decode(bound) for bound in spec.bounds]) if spec.kind == "range" else str(spec.n)
    return {"by": f"{spec.name or spec.kind} {spec.key}".rstrip(), "layout": layout}


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
    """Write a snapshot into a folder of migrations."""
    text = json.dumps({"format": FORMAT, "models": models}, indent=2, ensure_ascii=False, sort_keys=True)
    path = folder / FILE
    new = path.with_suffix(".new")
    new.write_text(text + "\n", encoding="utf-8")
    new.replace(path)
