"""What users of other libraries write out of habit, of models, fields, records and nodes, and what to write instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from debros.errors import ArgumentError, did_you_mean

_OF_MODELS: Final = {
    "add": "`await {}.create(...)`",
    "bulk_create": "`await {}.create_many([...])`",
    "bulk_update": "`await {0}.where(...).update(field=value)`",
    "delete_all": "`await {}.query().delete()`",
    "filter": "`{0}.where({0}.field == value)`",
    "filter_by": "`{0}.where({0}.field == value)`",
    "find": "`await {0}.get(id)`, or `{0}.where({0}.field == value)`",
    "find_all": "`await {}.all()`",
    "from_json": "`{}.from_dict(json.loads(text))`",
    "insert": "`await {}.create(...)`",
    "insert_many": "`await {}.create_many([...])`",
    "model_validate": "`{}.from_dict({{...}})`",
    "objects": "`{}.query()`",
    "parse_obj": "`{}.from_dict({{...}})`",
    "select": "`{0}.query().select({0}.field)`",
    "update_or_create": "`await {}.upsert(id, field=value)`",
}
_OF_RECORDS: Final = {
    "as_dict": "`to_dict()`",
    "commit": "`await record.save()`",
    "dict": "`to_dict()`",
    "dump": "`to_dict()`",
    "json": "`to_json()`",
    "model_copy": "`copy()`",
    "model_dump": "`to_dict()`",
    "model_dump_json": "`to_json()`",
    "pk": "`id`",
    "refresh_from_db": "`await record.refresh()`",
    "reload": "`await record.refresh()`",
    "remove": "`await record.delete()`",
    "set": "`await record.update(...)`",
}

_NULL: Final = "`Field[str | None] = field(default=None)` may be null, and without a default a value is required"
_OF_FIELDS: Final = {  # options that other libraries have
    "alias": "name=",
    "auto_now": "a `@before_save` hook, or `record.meta.updated_at`, which every record has",
    "auto_now_add": "default_factory=debros.now",
    "blank": "min_length=1 refuses the empty text",
    "choices": "`Field[Literal['a', 'b']]`, or an Enum",
    "column_name": "name=",
    "db_column": "name=",
    "db_index": "index=True",
    "exclude": "expose=False",
    "factory": "default_factory=",
    "foreign_key": "`author_id: Field[str]`, and `author: One[Author] = belongs_to('author_id')`",
    "max": "le=, or max_length=",
    "min": "ge=, or min_length=",
    "null": _NULL,
    "nullable": _NULL,
    "primary_key": "every record has an `id`; unique='derived' makes a value of it the id",
    "regex": "pattern=",
    "required": _NULL,
    "validator": "validate=",
}
_NO_SESSION: Final = (
    "there is no session: `await record.save()` writes, `async with db.transaction():` writes all or nothing"
)
_OF_NODES: Final = {  # names that other libraries have, or that others of ours do
    "add": _NO_SESSION,
    "backup": "the command `debros backup FOLDER` makes one, also while the node is open",
    "commit": _NO_SESSION,
    "connect": "`debros.open(home, peers=[...])` connects",
    "execute": "`Post.query()` asks, and `where_raw` takes SQL expressions",
    "files": "`File.add(...)` gives one to keep in a record, and `db.pins` says what is kept",
    "iterate": "that is for callers without trio: here `async for` does it",
    "listen": "`debros.open(home, listen=...)` listens, and `db.addresses` says where",
    "models": "`db.status().models` are their names, `db.model(name)` gives one",
    "on": "`db.events.on(...)`",
    "publish": "`db.events.publish(...)`",
    "query": "a model asks: `Post.query()`",
    "rollback": _NO_SESSION,
    "run": "that is for callers without trio: here `await` does it",
    "session": _NO_SESSION,
    "subscribe": "`db.events.subscribe(...)`",
    "sync": "peers are met as long as the node is open, and `await db.synced()` waits for them",
    "using": "that is for callers without trio: here `async with` does it",
}


def instead_of_model(cls: type, name: str) -> str:
    """Return what to write instead of an attribute that a model class does not have."""
    from debros.query.query import Query  # declarations do not need the query room

    if name in _OF_MODELS:
        return f"; write {_OF_MODELS[name].format(cls.__name__)}"
    if hasattr(Query, name):
        return f"; a query does: `{cls.__name__}.query().{name}(...)`"
    return did_you_mean(name, _public(cls))


def instead_of(cls: type, name: str) -> str:
    """Return what to write instead of an attribute that a record of this model does not have."""
    return f"; write {_OF_RECORDS[name]}" if name in _OF_RECORDS else did_you_mean(name, _public(cls))


def instead_of_option(name: str, known: Sequence[str]) -> str:
    """Return what to write instead of an option that `field` does not have; `known` are those that it has."""
    if name in _OF_FIELDS:
        return f"; {_OF_FIELDS[name]}"
    return did_you_mean(name, known) or f"; there are {', '.join(known)}"


def instead_of_node(cls: type, name: str) -> str:
    """Return what to write instead of an attribute that a node does not have."""
    return f"; {_OF_NODES[name]}" if name in _OF_NODES else did_you_mean(name, _public(cls))


def check_record(given: object, what: str) -> None:
    """Refuse a method of records that was called on their class, with an id or a condition.

    Raises:
        ArgumentError: it is no record.
    """
    if not hasattr(given, "__shape__"):
        of_query = "delete()" if what == "delete" else f"{what}(field=value)"
        raise ArgumentError(
            f"{what} is a method of records: `record = await Post.get(id)`, then `await record.{what}(...)`; for all that a query "
            f"finds, `await Post.where(Post.field == value).{of_query}`"
        )


def _public(cls: type) -> list[str]:
    return [known for known in dir(cls) if not known.startswith("_")]
