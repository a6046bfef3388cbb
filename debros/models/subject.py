"""A model as the query engine sees it: its schema, where its rows come from, what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, cast

from debros.current import node_here
from debros.env import collector_paused
from debros.errors import QueryError
from debros.query.catalog import columns
from debros.query.columns import Column
from debros.query.ports import Source
from debros.query.query import Query
from debros.replica.tables import Row

MANY: Final = 500  # records that are made with the collector paused

if TYPE_CHECKING:
    from debros.models.ports import Collection
    from debros.query.relations import Relation
    from debros.schema import Schema


class _Columns(dict[str, Column[Any]]):
    """The columns of a model that were asked for, by name; a name that is none raises `QueryError`."""

    def __init__(self, subject: ModelSubject) -> None:
        super().__init__()
        self._subject = subject  # whose schema learns its relations later

    def __missing__(self, name: str) -> Column[Any]:
        found = self[name] = columns(self._subject.schema).named(name)
        return found


class ModelSubject:
    """The subject of one model class."""

    schema: Schema
    is_ready = True

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        self.schema = cls.__schema__
        self.columns = _Columns(self)
        self._relations: dict[str, Relation[Any]] = {}

    def __repr__(self) -> str:
        return f"<subject {self._cls.__name__}>"

    @property
    def model(self) -> Any:
        """The model class."""
        return self._cls

    @cached_property
    def every(self) -> Query[Any]:
        """The query for all records: one value, for queries do not change."""
        return Query(self)

    def source(self) -> Collection:
        """Return the model's records on the current node.

        Raises:
            NoNodeError: no node is open, or several are and none is current.
            ModelError: the node was opened without this model.
        """
        return node_here().collection(self.schema)

    def hydrate(self, rows: Sequence[Row], source: Source) -> list[Any]:
        """Make one new record of each row."""
        shape, count = self._cls.__shape__, len(rows)
        if count == 1:
            return [shape.hydrate_one(rows[0], source)]
        found: list[Any]
        if count < MANY:
            found = shape.hydrate(rows, source)
        else:  # the collector would go through them again and again while they are made, and all of them stay
            with collector_paused():
                found = shape.hydrate(rows, source)
        return found

    def related(self, relation: str) -> ModelSubject:
        """Return the subject of a relation's target.

        Raises:
            ModelError: the target is not known yet.
        """
        return cast(ModelSubject, self._cls.__shape__.relations[relation].target().__subject__)

    def junction(self, relation: str) -> ModelSubject:
        """Return the subject of a many_to_many's junction model.

        Raises:
            ModelError: it is not known yet.
        """
        return cast(ModelSubject, self._cls.__shape__.relations[relation].junction().__subject__)

    def keys_of(self, records: Sequence[Any], field: str) -> list[Any]:
        """Return the field's value on each record."""
        found: list[Any] = self._cls.__shape__.keys_of(records, field)
        return found

    def attach(self, records: Sequence[Any], relation: str, values: Sequence[Any]) -> None:
        """Remember on each record what was loaded for it: a record, `None`, or a list."""
        _attach(records, "_loaded", relation, values)

    def attach_counts(self, records: Sequence[Any], relation: str, counts: Sequence[int]) -> None:
        """Remember on each record how many related ones there are."""
        _attach(records, "_counts", relation, counts)

    async def change(self, rows: Sequence[Row], source: Source, values: Mapping[str, Any]) -> None:
        """Assign these values to the records of some rows and save them: all of them, or none."""
        from debros.models.bulk import change_all  # it needs what is built on this
        from debros.models.record import Model

        plainly = self._cls.__setattr__ is Model.__setattr__
        await change_all(self._cls, rows, cast("Collection", source), values, plainly=plainly)

    async def delete(self, rows: Sequence[Row], source: Source) -> None:
        """Delete the records of some rows: all of them, or none."""
        from debros.models.bulk import delete_all

        await delete_all(self._cls, rows, cast("Collection", source))

    def at(self, clock: int) -> PastSubject:
        """Return the model as it was at a clock."""
        return PastSubject(self._cls, clock)

    async def ready(self) -> None:
        """Make sure that `source` gives what is asked for."""

    def column(self, name: str) -> Column[Any]:
        """Return the query's column of a field, computed field, or fact of the log (`meta.created_by`)."""
        return self.columns[name]

    def relation(self, name: str) -> Relation[Any]:
        """Return the query's relation."""
        try:
            return self._relations[name]
        except KeyError:
            from debros.query.relations import Relation

            found = self._relations[name] = Relation(self, name)
            return found


class PastSubject(ModelSubject):
    """A model as it was at a clock, and what its relations lead to likewise."""

    is_ready = False

    def __init__(self, cls: Any, clock: int) -> None:
        super().__init__(cls)
        self.clock = clock

    async def ready(self) -> None:
        await node_here().past(self.clock)

    def source(self) -> Collection:
        return node_here().past_at(self.clock).collection(self.schema)

    def related(self, relation: str) -> ModelSubject:
        return super().related(relation).at(self.clock)

    def junction(self, relation: str) -> ModelSubject:
        return super().junction(relation).at(self.clock)

    async def change(self, rows: Sequence[Row], source: Source, values: Mapping[str, Any]) -> None:
        raise QueryError("the past cannot be changed: ask the present")

    async def delete(self, rows: Sequence[Row], source: Source) -> None:
        raise QueryError("the past cannot be changed: ask the present")


def _attach(records: Sequence[Any], under: str, relation: str, values: Sequence[Any]) -> None:
    for record, value in zip(records, values, strict=True):
        own = record.__dict__
        if under in own:
            own[under][relation] = value
        else:
            own[under] = {relation: value}
