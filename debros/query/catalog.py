"""The columns of a model by name, and the SQL that its queries begin with. Made once per schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, NoReturn

from debros.errors import QueryError, UnknownFieldError
from debros.query.columns import Column
from debros.query.expressions import Expr, Leaf
from debros.query.items import ItemsColumn
from debros.query.meta import meta_columns
from debros.query.paths import NestedColumn
from debros.query.ports import Source
from debros.replica.projection import computed_value
from debros.replica.state import from_column
from debros.replica.tables import Table, quoted
from debros.schema import Codec, ComputedSpec, FieldSpec, Schema
from debros.values.scalars import TEXT

_SIGNS: Final = {
    "exact": "=",
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
    "ne": "!=",
    "isnull": "is null",
}  # of `likes__gt`


class ComputedColumn(Column[Any]):
    """A computed field that the view does not keep: it can be selected, and nothing else."""

    __slots__ = ("spec",)
    is_computed = True

    def __init__(self, model: str, spec: ComputedSpec) -> None:
        self.spec = spec
        self.model = model
        self.name = spec.name
        self.codec = spec.codec
        self.bindings = ()
        self.nullable = True
        self.owners = frozenset({model})

    @property
    def sql(self) -> NoReturn:  # type: ignore[override]  # every use of it is an error
        raise QueryError(
            f"{self!r} is computed and not kept in the view: declare it `@computed(index=True)` to filter or order by it"
        )

    value = sql


class Columns:
    """The columns of one model, and the SQL that its queries begin with."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.table = Table(schema)
        self.name = schema.name
        self.sql_name = quoted(self.table.name)
        self.owners = frozenset({schema.name})
        terms = [f"{self.sql_name}.{quoted(name)}" for name in self.table.columns]
        self.listed = ", ".join(terms)
        self.brief = ", ".join(self.table.brief(tuple(terms)))
        self.visible = f'{self.sql_name}."_hidden" = 0'  # literally so: the partial indexes need it
        self.from_visible = f" FROM {self.sql_name} WHERE {self.visible}"
        self.rows_in_brief = f"SELECT {self.brief}{self.from_visible}"
        self.of_logs = f' AND {self.sql_name}."_log" '
        self.one_log = f"{self.of_logs}= ?"
        self._indexes = self.table.indexes()
        self.by_name: dict[str, Column[Any]] = {"id": self._column("id", TEXT, nullable=False)}
        for spec in schema.fields:
            self.by_name[spec.name] = self._field(spec)
        for computed in schema.computed:
            if computed.index:
                value = f"{self.sql_name}.{quoted('c_' + computed.name)}"
                self.by_name[computed.name] = self._column(computed.name, computed.codec, value=value)
            else:
                self.by_name[computed.name] = ComputedColumn(schema.name, computed)
        self.id = self.by_name["id"]
        self.by_name |= {f"meta.{name}": column for name, column in meta_columns(schema, self.sql_name).items()}
        self.indexed = self._indexed()
        self._in_indexes = self._terms(field for index in self.schema.indexes for field, _ in index.fields)
        self._need = lru_cache(maxsize=512)(self._what_is_needed)
        self.count_where = lru_cache(maxsize=512)(self._count_where)
        self._leading = self._terms(index.fields[0][0] for index in self.schema.indexes)

    def _column(self, name: str, codec: Codec, value: str | None = None, nullable: bool = True) -> Column[Any]:
        sql = f"{self.sql_name}.{self.table.sort_column(name)}"
        return Column(self.name, name, codec, sql, value=value, nullable=nullable, owners=self.owners)

    def _field(self, spec: FieldSpec) -> Column[Any]:
        """Return a field's column, of the class that knows what an index of it can do."""
        value = f"{self.sql_name}.{self.table.column(spec)}"
        column = self._column(spec.name, spec.codec, value=value, nullable=spec.nullable)
        side = next((one for one in self._indexes if one.fields == (spec.name,) and one.name.startswith("x_")), None)
        if side is not None:
            return ItemsColumn(column, f'{self.sql_name}."_doc"', side.name)
        start = f"{spec.name}."
        named = (field.removeprefix("-") for one in self._indexes for field in one.fields)
        paths = frozenset(field.removeprefix(start) for field in named if field.startswith(start))
        return NestedColumn(column, paths) if paths else column

    def _indexed(self) -> frozenset[str]:
        """SQL of the columns that an index begins with (behind the log, in user scope)."""
        sides = {one.fields[0] for one in self._indexes if one.name.startswith("x_")}
        first = {index.fields[0][0] for index in self.schema.indexes} - sides
        first = {name for name in first if "." not in name}
        return frozenset({self.id.sql, *(f"{self.sql_name}.{self.table.sort_column(name)}" for name in first)})

    def _terms(self, names: Iterable[str]) -> tuple[str, ...]:
        """SQL that a condition mentions if it is about one of these fields, or about a path into one."""
        found = dict.fromkeys([self.id.sql])
        for name in names:
            field, _, path = name.partition(".")
            column = self.table.column(self.schema.by_name[field]) if path else self.table.sort_column(field)
            found[f"{self.sql_name}.{column}"] = None
        return tuple(found)

    def helps_no_index(self, condition: Expr | None) -> bool:
        """Whether no index finds the rows of a condition, and none holds all that it looks at."""
        if condition is None:
            return False
        if type(condition) is Leaf:
            return self._need(condition.text) == "table"
        needs = {self._need(leaf.text) if type(leaf) is Leaf else "index" for leaf in condition.leaves()}
        return "index" not in needs and "table" in needs

    def _count_where(self, text: str) -> str:
        """Return the SELECT of the number of rows that fulfil one condition, given by its SQL."""
        how = " NOT INDEXED" if self._need(text) == "table" else ""
        return f"SELECT count(*) FROM {self.sql_name}{how} WHERE {self.visible} AND {text}"

    def _what_is_needed(self, text: str) -> Literal["index", "any", "table"]:
        """Return what a condition is looked up in: an index that begins with what it mentions, one that has it, or the table."""
        if any(term in text for term in self._leading):
            return "index"
        return "any" if any(term in text for term in self._in_indexes) else "table"

    def index_named(self, fields: Sequence[str]) -> str:
        """Return the SQL name of an index, given that name or its fields.

        Raises:
            QueryError: there is no such index.
        """
        known = {f"id_{self.name}": "id"}
        known |= {one.name: ", ".join(one.fields) for one in self._indexes if one.name.startswith("i_")}
        wanted = ", ".join(map(str, fields))
        for name, listed in known.items():
            if wanted in (name, listed):
                return name
        told = "; ".join(f"{name} ({listed})" for name, listed in known.items())
        raise QueryError(f"{self.name} has no index {wanted!r}. Indexes: {told}")

    def named(self, name: object) -> Column[Any]:
        """Return the column of this name.

        Raises:
            UnknownFieldError: the model declares no such field.
        """
        if type(name) is not str or name not in self.by_name:
            self._refuse_habits(str(name))
            raise UnknownFieldError(self.name, str(name), self.by_name)
        return self.by_name[name]

    def _refuse_habits(self, name: str) -> None:
        """Say what stands here for the names that other libraries make of a field and something else."""
        field, _, operator = name.rpartition("__")
        if field in self.by_name:
            sign = _SIGNS.get(operator, operator)
            raise QueryError(f"{name!r}: a field and an operator stand apart: where({field!r}, {sign!r}, value)")
        head, _, rest = name.replace("__", ".").partition(".")
        relation = next((one for one in self.schema.relations if one.name == head), None)
        if relation is not None:
            key = f"{relation.key!r} is its key; " if relation.kind == "belongs_to" and not rest else ""
            inner = f", lambda q: q.where({rest!r}, value)" if rest else ""
            raise QueryError(f"{name!r} is about related records: {key}where_has({head!r}{inner}) asks about them")

    def with_computed(
        self, picked: Sequence[Column[Any]], rows: list[tuple[Any, ...]], source: Source
    ) -> list[tuple[Any, ...]]:
        """Return selected tuples, computing what the view does not keep from the row that stands before the rest."""
        others_from = -sum(not column.is_computed for column in picked)
        found = []
        for row in rows:
            values = self._wire_values(row)
            others = iter(row[others_from:])
            found.append(tuple(_selected(column, values, others, source) for column in picked))
        return found

    def _wire_values(self, row: tuple[Any, ...]) -> dict[str, Any]:
        values = {"id": row[0]}
        for at, spec in enumerate(self.schema.fields, 1):
            decode = from_column(spec.codec)
            values[spec.name] = row[at] if decode is None or row[at] is None else decode(row[at])
        return values


def _selected(column: Column[Any], values: dict[str, Any], others: Iterator[Any], source: Source) -> Any:
    if isinstance(column, ComputedColumn):
        found = computed_value(column.spec.function, values)
        decode = column.codec.from_wire
    else:
        found = next(others)
        decode = column.decoder(source)
    return found if found is None or decode is None else decode(found)


@lru_cache(maxsize=1024)
def columns(schema: Schema) -> Columns:
    """Return the columns of a model; the same ones each time."""
    return Columns(schema)
