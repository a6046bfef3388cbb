"""Models as pydantic classes, for the bodies of requests and responses."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from debros.errors import UnknownFieldError
from debros.models.declare import schema_of
from debros.models.fields import MISSING

if TYPE_CHECKING:
    from debros.models.record import Model


def pydantic_model(model: type[Model], *, omit: Collection[str] = (), name: str | None = None) -> type[BaseModel]:
    """Return a pydantic class with a model's `id` and stored fields, their types, bounds and defaults.

    It reads JSON (ISO times, base64), records (`Body.model_validate(post)`), and what it holds makes a record:
    `Post(**body.model_dump())`. Fields with `expose=False` are left out.

    Args:
        model: the model.
        omit: names to leave out, such as `("id",)` in what creates a record.
        name: of the class; the model's with `Body` behind it if not given.

    Raises:
        ModelError: this is no `@model` class.
        UnknownFieldError: `omit` names no field of it.
    """
    schema = schema_of(model)
    shape = model.__shape__
    known = {"id": str} | {spec.name: shape.validator.annotation(spec.name) for spec in schema.fields if spec.expose}
    for left_out in omit:
        if left_out != "id" and left_out not in schema.by_name:
            raise UnknownFieldError(model.__name__, left_out, ["id", *schema.by_name])
    fields: dict[str, Any] = {}
    for field, annotation in known.items():
        if field not in omit:
            fields[field] = (annotation, _default(model, field))
    config = ConfigDict(from_attributes=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")
    made: type[BaseModel] = create_model(name or f"{model.__name__}Body", __config__=config, **fields)
    return made


def _default(model: type[Model], name: str) -> Any:
    declared = model.__declared__.get(name)
    declaration: Any = None if declared is None or name == "id" else declared.declaration
    if declaration is not None and declaration.default_factory is not None:
        return Field(default_factory=declaration.default_factory)
    return ... if declaration is None or declaration.default is MISSING else declaration.default
