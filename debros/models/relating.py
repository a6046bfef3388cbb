"""From a relation's declaration to its `RelationSpec`: what one model alone can tell is checked here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from debros.errors import ModelError, did_you_mean
from debros.models import registry
from debros.models.annotations import Place, Target
from debros.models.body import Declared
from debros.models.relations import RelationDeclaration
from debros.schema import FieldSpec, OnDelete, RelationSpec


@dataclass(slots=True, eq=False)
class BoundRelation:
    """A relation of one model class, and where to look for the models it names."""

    owner: Any
    spec: RelationSpec  # names models as written until linked, then as stored
    target_as_written: Target
    through_as_written: Any
    place: Place

    def target(self) -> Any:
        """Return the model class it leads to.

        Raises:
            ModelError: no model has that name yet, or several have.
        """
        return registry.find(self.target_as_written, self.owner, self.place)

    def junction(self) -> Any:
        """Return the junction model of a many_to_many.

        Raises:
            ModelError: as `target`.
        """
        through = self.through_as_written
        if isinstance(through, str):
            return registry.find(Target(None, through, False), self.owner, self.place)
        return registry.find(Target(through, through.__name__, False), self.owner, self.place)


def relation_of(
    cls: Any, name: str, declared: Declared, fields: Mapping[str, FieldSpec], all_declared: Mapping[str, Declared]
) -> BoundRelation:
    """Return a relation's specification.

    Raises:
        ModelError: a field it needs is missing or of the wrong type, or its options contradict.
    """
    made, target, place = declared.declaration, declared.target, declared.place
    assert isinstance(made, RelationDeclaration)
    assert target is not None
    assert place is not None
    where = f"{cls.__name__}.{name}"
    if target.nullable and made.kind in ("has_many", "many_to_many"):
        raise ModelError(f"{where}: write `Many[{target.name}]`; the list may be empty, but not None")
    _check_key(where, made, fields)
    if made.limit is not None and (not isinstance(made.limit, int) or made.limit < 1):
        raise ModelError(f"{where}: limit={made.limit!r} is not a whole number above 0")
    if made.order_by is not None and not made.order_by.removeprefix("-"):
        raise ModelError(f"{where}: order_by names a field of the target, '-name' for descending")
    if made.kind == "has_many" and made.through is not None:
        through = all_declared.get(made.through) if isinstance(made.through, str) else None
        if through is None or not isinstance(through.declaration, RelationDeclaration) or made.through == name:
            raise ModelError(f"{where}: through={made.through!r} is not the name of another relation of {cls.__name__}")
    if made.kind == "many_to_many":
        _check_many_to_many(where, made, fields)
    order = made.order_by
    return BoundRelation(
        owner=cls,
        spec=RelationSpec(
            name=name,
            kind=made.kind,
            target=target.name.rpartition(".")[2],
            nullable=target.nullable,
            key=made.key,
            on_delete=made.on_delete,
            order_by=None if order is None else (order.removeprefix("-"), order.startswith("-")),
            limit=made.limit,
            through=made.through if isinstance(made.through, str) else getattr(made.through, "__name__", ""),
            local=made.local,
            remote=made.remote,
            ids=made.ids,
        ),
        target_as_written=target,
        through_as_written=made.through,
        place=place,
    )


def _check_key(where: str, made: RelationDeclaration, fields: Mapping[str, FieldSpec]) -> None:
    if made.kind == "many_to_many":
        return
    if not isinstance(made.key, str) or not made.key:
        raise ModelError(f"{where}: {made.kind} takes the name of the field that holds the id, not {made.key!r}")
    if made.kind != "belongs_to":
        return
    if made.on_delete not in get_args(OnDelete):
        raise ModelError(f"{where}: on_delete={made.on_delete!r} is not 'keep', 'cascade', 'set_null' or 'restrict'")
    key = _own_field(where, made.key, fields)
    if key.codec.kind != "text":
        raise ModelError(f"{where}: its key {made.key!r} holds ids, so it is `Field[str]` or `Field[str | None]`")
    if made.on_delete == "set_null" and not key.nullable:
        raise ModelError(f"{where}: on_delete='set_null' needs `{made.key}: Field[str | None]`")


def _check_many_to_many(where: str, made: RelationDeclaration, fields: Mapping[str, FieldSpec]) -> None:
    if bool(made.ids) == (made.through is not None):
        raise ModelError(f"{where}: give many_to_many either through=<junction model> or ids=<field>")
    if made.ids:
        spec = _own_field(where, made.ids, fields)
        item = spec.codec.item
        if spec.codec.kind not in ("list", "set") or item is None or item.kind != "text":
            raise ModelError(f"{where}: ids={made.ids!r} names a `Field[list[str]]` or `Field[set[str]]`")
    elif not (made.local and made.remote and made.local != made.remote):
        raise ModelError(f"{where}: name the junction's two fields by local= (this record's id) and remote=")


def _own_field(where: str, name: str, fields: Mapping[str, FieldSpec]) -> FieldSpec:
    spec = fields.get(name)
    if spec is None:
        raise ModelError(f"{where}: {where.split('.')[0]} has no field {name!r}{did_you_mean(name, fields)}")
    return spec
