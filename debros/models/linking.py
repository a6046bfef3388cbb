"""What only the models together can tell: targets that exist, keys they have, names that differ. Done at `open`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from debros.errors import ModelError, did_you_mean
from debros.models.relating import BoundRelation


def check_models(models: Iterable[Any]) -> None:
    """Check models that are to be opened together, and let their relations name targets as they are stored.

    Afterwards `schema_of(model)` is final.

    Raises:
        ModelError: two models have one name, a class is no `@model`, or a relation does not fit its target.
    """
    given = tuple(dict.fromkeys(models))
    by_name: dict[str, Any] = {}
    for model in given:
        if getattr(model, "__schema__", None) is None:
            raise ModelError(f"{model!r} is not a model: put `@model(...)` above a subclass of Model")
        other = by_name.setdefault(model.__schema__.name.lower(), model)
        if other is not model:
            raise ModelError(
                f"{_place(model)} and {_place(other)} are both stored as {model.__schema__.name!r} (case does not"
                " count); open one of them, or give one another `@model(name=...)`"
            )
    for model in given:
        relations = tuple(_linked(relation, given) for relation in model.__shape__.relations.values())
        if relations != model.__schema__.relations:
            model.__schema__ = model.__subject__.schema = replace(model.__schema__, relations=relations)


def _place(model: Any) -> str:
    return f"{model.__module__}.{model.__qualname__}"


def _linked(relation: BoundRelation, models: tuple[Any, ...]) -> Any:
    where = f"{relation.owner.__name__}.{relation.spec.name}"
    target = _opened(where, relation.target(), models)
    if relation.spec.on_delete in ("cascade", "set_null") and (
        relation.owner.__schema__.scope == "global" and target.__schema__.scope == "user"
    ):
        raise ModelError(
            f"{where}: on_delete={relation.spec.on_delete!r} cannot lead from a global model to a user-scoped one, "
            "for each user may have a record with this id; leave it out"
        )
    spec = replace(relation.spec, target=target.__schema__.name)
    if spec.kind in ("has_one", "has_many"):
        _check_id_field(where, target, spec.key)
    if spec.kind == "many_to_many" and not spec.ids:
        junction = _opened(where, relation.junction(), models)
        _check_id_field(where, junction, spec.local)
        _check_id_field(where, junction, spec.remote)
        spec = replace(spec, through=junction.__schema__.name)
    if spec.order_by is not None:
        schema = target.__schema__
        known = {"id", *schema.by_name, *(computed.name for computed in schema.computed if computed.index)}
        if spec.order_by[0] not in known:
            hint = did_you_mean(spec.order_by[0], known)
            raise ModelError(f"{where}: order_by names {spec.order_by[0]!r}, no field of {target.__name__}{hint}")
    relation.spec = spec
    return spec


def _opened(where: str, model: Any, models: tuple[Any, ...]) -> Any:
    if model not in models:
        raise ModelError(f"{where} leads to {model.__name__}, which is not opened; add it to `models=[...]`")
    return model


def _check_id_field(where: str, model: Any, name: str) -> None:
    spec = model.__schema__.by_name.get(name)
    if spec is None:
        hint = did_you_mean(name, model.__schema__.by_name)
        raise ModelError(f"{where}: {model.__name__} has no field {name!r}{hint}")
    if spec.codec.kind != "text":
        raise ModelError(f"{where}: {model.__name__}.{name} holds ids, so it is `Field[str]` or `Field[str | None]`")
