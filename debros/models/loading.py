"""Following relations from a record: load, query, relate and unrelate. All on the node the record came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from debros.current import choosing
from debros.errors import RelationError
from debros.models import saving
from debros.models.relating import BoundRelation
from debros.query import loading
from debros.query.catalog import columns
from debros.query.ports import Users
from debros.query.query import Query
from debros.query.relations import Relation, users_for


@contextmanager
def _at_home(record: Any) -> Iterator[None]:
    """Mean the record's node in the block; the current one for a record that is not saved."""
    if record._home is None:
        yield
    else:
        with choosing(node=record._home.node):
            yield


def _users(record: Any) -> Users:
    """Whose records a relation of this one means: in user scope, its owner's."""
    owner = saving.owner_of(record) if type(record).__schema__.scope == "user" else None
    return None if owner is None else (str(owner),)


async def load(record: Any, name: str) -> None:
    """Load a relation of one record and remember what was found."""
    subject = type(record).__subject__
    with _at_home(record):
        await loading.load(subject, [record], [Relation(subject, name)], _users(record))


def related_query(record: Any, name: str) -> Query[Any]:
    """Return a query for the records that a relation to many leads to, without the order and limit it declares."""
    cls = type(record)
    relation: BoundRelation = cls.__shape__.relations[name]
    spec, target = relation.spec, relation.target()
    its = columns(target.__schema__)
    query = _among_users(Query(_subject(target, record)), record)
    if spec.ids:
        return query.where(its.id.in_(getattr(record, spec.ids) or ()))
    if spec.kind == "many_to_many":
        junction = relation.junction()
        pairs = columns(junction.__schema__)
        links = _among_users(Query(_subject(junction, record)), record).where(pairs.named(spec.local) == record.id)
        return query.where(its.id.in_(links.select(pairs.named(spec.remote))))
    if spec.through:
        between = related_query(record, spec.through)
        key_of_between = columns(cls.__shape__.relations[spec.through].target().__schema__).id
        return query.where(its.named(spec.key).in_(between.select(key_of_between)))
    return query.where(its.named(spec.key) == record.id)


def _subject(model: Any, record: Any) -> Any:
    """Return what a query from a record is about: records of the same time as it."""
    clock = None if record._home is None else record._home.node.as_of
    return model.__subject__ if clock is None else model.__subject__.at(clock)


def _among_users(query: Query[Any], record: Any) -> Query[Any]:
    users = users_for(query.subject, type(record).__subject__, _users(record))
    return query.where_user(*users) if isinstance(users, tuple) else query


def _relation_to_change(record: Any, name: str, records: Sequence[Any]) -> BoundRelation:
    cls = type(record)
    relation: BoundRelation = cls.__shape__.relations[name]
    where = f"{cls.__name__}.{name}"
    if relation.spec.kind != "many_to_many":
        raise RelationError(
            f"{where} is a {relation.spec.kind}: set {relation.spec.key!r} on the other record and save it;"
            " `add` and `remove` are for many_to_many"
        )
    if record.is_new:
        raise RelationError(f"{where}: save this {cls.__name__} first, so that its id is known to others")
    target = relation.target()
    for other in records:
        if not isinstance(other, target):
            raise RelationError(f"{where} leads to {target.__name__}, not to {type(other).__name__}")
        if other.is_new:
            raise RelationError(f"{where}: save the {target.__name__} {other.id!r} first")
    return relation


def _forget(record: Any, name: str) -> None:
    record.__dict__.get("_loaded", {}).pop(name, None)
    record.__dict__.get("_counts", {}).pop(name, None)


async def add(record: Any, name: str, records: Sequence[Any]) -> None:
    """Relate saved records by a many_to_many; those that are related already stay so."""
    relation = _relation_to_change(record, name, records)
    spec = relation.spec
    wanted = list(dict.fromkeys(other.id for other in records))
    with _at_home(record):
        if spec.ids:
            have = getattr(record, spec.ids) or ()
            new = [id for id in wanted if id not in have]
            await _save_ids(record, spec.ids, [*have, *new])
        else:
            junction = relation.junction()
            links = await _links(record, relation, wanted)
            have = {getattr(link, spec.remote) for link in links}
            new = [id for id in wanted if id not in have]
            await junction.create_many([{spec.local: record.id, spec.remote: id} for id in new])
    _forget(record, name)


async def remove(record: Any, name: str, records: Sequence[Any]) -> None:
    """Unrelate records of a many_to_many; those that are not related are passed over."""
    relation = _relation_to_change(record, name, records)
    spec = relation.spec
    unwanted = {other.id for other in records}
    with _at_home(record):
        if spec.ids:
            await _save_ids(record, spec.ids, [id for id in getattr(record, spec.ids) or () if id not in unwanted])
        else:
            links = await _links(record, relation, list(unwanted))
            async with record._home.node.transaction():
                for link in links:
                    await link.delete()
    _forget(record, name)


async def _links(record: Any, relation: BoundRelation, ids: list[str]) -> list[Any]:
    """Return the junction's records between this record and those with the ids."""
    spec, junction = relation.spec, relation.junction()
    pairs = columns(junction.__schema__)
    query = _among_users(Query(junction.__subject__), record)
    return await query.where(pairs.named(spec.local) == record.id, pairs.named(spec.remote).in_(ids)).all()


async def _save_ids(record: Any, field: str, ids: list[str]) -> None:
    """Set the field that holds ids, and save."""
    is_set = type(record).__schema__.by_name[field].codec.kind == "set"
    before = getattr(record, field)
    setattr(record, field, set(ids) if is_set else ids)
    try:
        await record.save()
    except BaseException:  # cancelled, too
        setattr(record, field, before)
        raise
