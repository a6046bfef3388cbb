"""What users of other libraries write out of habit, of a model and of its records, and what to write instead."""

from __future__ import annotations

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
