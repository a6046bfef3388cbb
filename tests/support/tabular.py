"""Tables of plain rows in memory, behind the query engine's two ports: what `Source` and `Subject` mean, in short."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Literal

import apsw

from debros.errors import ModelError
from debros.identity.did import did_of, tag
from debros.query import functions
from debros.query.cache import Caches, ResultCache
from debros.query.catalog import columns
from debros.query.columns import Column
from debros.query.ports import Users
from debros.query.query import Query
from debros.query.relations import Relation
from debros.replica.tables import SYSTEM, Row, Table, to_column
from debros.schema import ComputedSpec, FieldSpec, IndexSpec, RelationSpec, Schema
from debros.shards.spans import Keys, Reach
from debros.values import describe

ANA_KEY, BO_KEY = b"a" * 32, b"b" * 32
ANA, BO, CY = did_of(ANA_KEY), did_of(BO_KEY), did_of(b"c" * 32)
ANA_TAG = tag(ANA_KEY)
START_MS = 1_700_000_000_000


def schema(
    name: str,
    fields: Mapping[str, Any],
    *,
    indexes: Iterable[str | tuple[str, ...]] = (),
    relations: Iterable[RelationSpec] = (),
    computed: Iterable[ComputedSpec] = (),
    scope: Literal["global", "user"] = "global",
    write: Literal["anyone", "owner", "admins"] = "anyone",
    wire: Mapping[str, str] | None = None,
) -> Schema:
    """Describe a model by annotations; an index is a name or a tuple of names, `-name` is descending."""
    specs = []
    for field, annotation in fields.items():
        info = describe(annotation)
        specs.append(FieldSpec(field, (wire or {}).get(field, field), info.codec, info.nullable))
    made = [
        IndexSpec(
            tuple((one.lstrip("-"), one.startswith("-")) for one in ((index,) if isinstance(index, str) else index))
        )
        for index in indexes
    ]
    return Schema(
        name, 1_000_000, scope, "documents", write, tuple(specs), tuple(computed), tuple(made), tuple(relations)
    )


class Node:
    """Some models' tables on one connection, and who is asking."""

    def __init__(self, *schemas: Schema, shards: Mapping[str, tuple[int, ...]] | None = None) -> None:
        self.connection = apsw.Connection(":memory:")
        functions.register(self.connection)
        self.schemas = {one.name: one for one in schemas}
        self.tables = {one.name: Table(one) for one in schemas}
        for table in self.tables.values():
            for statement in table.create():
                self.connection.execute(statement)
        self.shards = dict(shards or {})
        self.me = ANA
        self.users = {ANA: 1, BO: 2}
        self.logs_of = {ANA: 11, BO: 12}
        self.reads: list[str] = []
        self.revisions: dict[str, int] = {}
        self.draws = 0
        self.time = 0.0
        kept = {"entries": 100, "max_bytes": 1 << 20, "ttl_s": 60.0}
        self.cache = Caches(ResultCache(lambda: self.time, **kept), ResultCache(lambda: self.time, **kept))
        self._docs = 0

    def add(
        self, model: str, *rows: Mapping[str, Any], log: int = 1, by: str = ANA, ms: int = START_MS, hidden: int = 0
    ) -> None:
        """Put rows given by Python values; a missing one is null."""
        self.revisions[model] = self.revisions.get(model, 0) + 1
        for row in rows:
            self.connection.execute(self.tables[model].replace, self._row(model, row, log, by, ms, hidden))

    def _row(self, model: str, values: Mapping[str, Any], log: int, by: str, ms: int, hidden: int) -> Row:
        table, described = self.tables[model], self.schemas[model]
        wire: dict[str, Any] = {"id": values["id"]}
        for spec in described.fields:
            value = values.get(spec.name)
            wire[spec.name] = value if value is None or spec.codec.to_wire is None else spec.codec.to_wire(value)
        self._docs += 1
        clock = ms << 16
        kept = {"_doc": self._docs, "_log": log, "_hidden": hidden, "_flags": 0, "_state": None, "_v": 1}
        kept |= {"_e": 1, "_t": clock, "_ce": 1, "_ct": clock, "_by": self.users[by]}
        row: list[Any] = [values["id"], *(to_column(spec.codec, wire[spec.name]) for spec in described.fields)]
        row += (kept[name] for name in SYSTEM)
        computed = [(spec.codec, spec.function(wire)) for spec in described.computed if spec.index]
        row += [to_column(codec, value) for codec, value in computed]
        keyed = [(spec.codec, wire[spec.name]) for spec in described.fields]
        for codec, value in (*keyed, *computed):
            if codec.to_key is not None:
                row.append(None if value is None else codec.to_key(value))
        assert len(row) == len(table.columns)
        return tuple(row)

    def subject(self, model: str) -> TabularSubject:
        return TabularSubject(self, self.schemas[model])

    def query(self, model: str) -> Query[Any]:
        return Query(self.subject(model))

    def column(self, dotted: str) -> Column[Any]:
        """Return `Post.likes` of the text "Post.likes"."""
        model, _, name = dotted.partition(".")
        return columns(self.schemas[model]).named(name)

    def relation(self, dotted: str) -> Relation[Any]:
        model, _, name = dotted.partition(".")
        return Relation(self.subject(model), name)


class TabularSource:
    """One model's rows."""

    def __init__(self, node: Node, model: str) -> None:
        self.node = node
        self.model = model
        self.table = node.tables[model]

    def read(self, sql: str, bindings: Sequence[object]) -> list[tuple[Any, ...]]:
        self.node.reads.append(sql)
        return self.node.connection.execute(sql, tuple(bindings)).fetchall()

    is_spread = False

    @property
    def is_whole(self) -> bool:
        return self.table.schema.scope == "global" and self.model not in self.node.shards

    async def fetch(
        self, sql: str, bindings: Sequence[object], apart: Any = None, *, by_id: bool = False
    ) -> list[tuple[Any, ...]]:
        rows = self.read(sql, bindings)
        return sorted(rows, key=lambda row: row[0]) if by_id else rows

    def is_inside(self) -> bool:
        return False

    def whole(self, row: Row) -> Row:
        log_at, width = self.table.log_at, self.table.brief_width
        place = (row[0], row[log_at])
        return self.node.connection.execute(self.table.by_id, place).fetchall()[0] if len(row) == width else row

    def revision(self, models: Sequence[str]) -> tuple[int, ...]:
        return tuple(self.node.revisions.get(name, 0) for name in models)

    def version(self) -> int | None:
        return sum(self.node.revisions.values())

    @property
    def cache(self) -> Caches:
        return self.node.cache

    def logs_up_to(self, number: int) -> bytes:
        return number.to_bytes(8, "big") if 0 <= number < 1 << 63 else b""

    def lifted(self, users: Users, fields: Collection[str]) -> Sequence[str]:
        return ()

    def random_bytes(self, n: int) -> bytes:
        self.node.draws += 1
        return self.node.draws.to_bytes(n, "big")

    def acting_did(self) -> str:
        return self.node.me

    def has_index(self, name: str) -> bool:
        return True

    def logs(self, users: tuple[str, ...] | Literal["all"] | None) -> tuple[int, ...] | None:
        if self.table.schema.scope == "global":
            assert users is None, "a global model has no users to choose"
            return self.node.shards.get(self.model)
        if users == "all":
            return tuple(self.node.logs_of.values())
        wanted = (self.node.me,) if users is None else users
        return tuple(self.node.logs_of[did] for did in wanted if did in self.node.logs_of)

    def user_number(self, did: str) -> int:
        return self.node.users.get(did, -1)

    def user_did(self, number: int) -> str:
        return next(did for did, known in self.node.users.items() if known == number)

    @property
    def is_partial(self) -> bool:
        return False

    def reach(self, keys: Keys) -> Reach:
        return Reach((0,), None)

    def heads(self, users: Users, reach: Reach) -> dict[str, tuple[str, ...]]:
        return {"/debros/bafylog": ("bafyhead",)}


class Record(SimpleNamespace):
    """A row's values by name; `loaded` holds relations."""

    id: str
    loaded: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class TabularSubject:
    """One model as the query engine sees it."""

    is_ready = True

    def __init__(self, node: Node, described: Schema) -> None:
        self.node = node
        self.schema = described

    async def ready(self) -> None:
        """The rows are there."""

    def source(self) -> TabularSource:
        return TabularSource(self.node, self.schema.name)

    def hydrate(self, rows: Sequence[Row], source: Any) -> list[Any]:
        return [Record(**self._values(row), loaded={}) for row in rows]

    def _values(self, row: Row) -> dict[str, Any]:
        values = {"id": row[0]}
        for at, spec in enumerate(self.schema.fields, 1):
            decode: Callable[[Any], Any] | None = spec.codec.from_column
            values[spec.name] = row[at] if row[at] is None or decode is None else decode(row[at])
        return values

    def related(self, relation: str) -> TabularSubject:
        return self._other(next(spec.target for spec in self.schema.relations if spec.name == relation))

    def junction(self, relation: str) -> TabularSubject:
        return self._other(next(spec.through for spec in self.schema.relations if spec.name == relation))

    def _other(self, model: str) -> TabularSubject:
        if model not in self.node.schemas:
            raise ModelError(f"{model} is not open")
        return self.node.subject(model)

    def keys_of(self, records: Sequence[Any], field: str) -> list[Any]:
        return [getattr(record, field) for record in records]

    def attach(self, records: Sequence[Any], relation: str, values: Sequence[Any]) -> None:
        for record, value in zip(records, values, strict=True):
            record.loaded[relation] = value

    def attach_counts(self, records: Sequence[Any], relation: str, counts: Sequence[int]) -> None:
        for record, count in zip(records, counts, strict=True):
            record.loaded[f"count of {relation}"] = count

    async def change(self, records: Sequence[Any], values: Mapping[str, Any]) -> None:
        raise NotImplementedError("rows of tests are not written")

    async def delete(self, records: Sequence[Any]) -> None:
        raise NotImplementedError("rows of tests are not written")


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
