"""The typed SQLite table that shows one model: its columns, its statements, and where things stand in a row.

A row is a plain tuple in the order of `Table.columns`: the id, the fields in the order of the schema, what the
fold keeps about the row (names that begin with `_`), the indexed computed fields, then sort keys of decimals.
So `dict(zip(table.names, row))` is the record. Names come from the schema, which has checked them, and are
always quoted; values are only ever bound.

Records need little of what the fold keeps, so queries read rows *in brief*: without what stands behind `_v`. `Collection.whole`
tells the rest of a row that shows, as it was, whatever became of it: from `_state`, or from the one entry that made it.

`_doc` is the row's number. `_hidden` is 0 when the row shows, else a sum of the reasons below, and every index
holds visible rows only. `_e` and `_t` are the newest entry's number and clock, `_ce` and `_ct` those of the
creation, `_by` the number of the user who created it, `_v` the schema version of the change that `_e` wrote.
`_state` is null while a single change made the whole row; then every cell has that stamp.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from debros.schema import Codec, FieldSpec, IndexSpec, Schema

Row: TypeAlias = tuple[Any, ...]

# reasons why a row does not show: bits of `_hidden`
DELETED: Final = 1  # never created, or deleted
WRONG_ID: Final = 2  # the id has not the form that the model declares
UNREADABLE: Final = 4  # a required field is missing, or holds a value of another type
TARGET_GONE: Final = 8  # an `on_delete="cascade"` target is deleted
WRONG_SHARD: Final = 16  # the value of its key belongs into another shard, or into none
SHADOWED: Final = 32  # another shard holds a record with this id that was created earlier

# what is remarkable about a row: bits of `_flags`
OUT_OF_BOUNDS: Final = 1  # a merged or foreign value beyond the declared bounds
NOT_UNIQUE: Final = 2  # another record claimed a unique value earlier
REWRITTEN: Final = 4  # a record of an append-only store that more than one entry wrote
OVERFLOW: Final = 8  # a counter beyond 64 bits, shown as the nearest bound
UNLIFTED: Final = 16  # a migration's function failed on it, so it shows as it is stored
MISTYPED: Final = 32  # a value is not of its field's type, so the default shows

HIDDEN_BUT_LIVE: Final = f'("_hidden" & {DELETED}) = 0 AND "_hidden" != 0'  # what no other index holds

SYSTEM: Final = ("_log", "_e", "_state", "_flags", "_v", "_doc", "_hidden", "_t", "_ce", "_ct", "_by")
IN_BRIEF: Final = SYSTEM[:5]  # those that a row in brief has


MULTIPLE: Final = frozenset({"list", "set", "tuple"})  # kinds whose index holds each element
PATH_SORTS: Final = ("t", "n", "a")  # what an index on a nested path finds: texts, numbers; and the order of all


def quoted(name: str) -> str:
    """Quote a checked name for SQL."""
    return f'"{name}"'


class Table:
    """Names, positions and statements of one model's table."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.name = f"m_{schema.name}"
        self.names = ("id", *(spec.name for spec in schema.fields))
        computed = [spec for spec in schema.computed if spec.index]
        keyed = [spec for spec in schema.fields if spec.codec.to_key]
        keyed_computed = [spec for spec in computed if spec.codec.to_key]
        self.columns: tuple[str, ...] = (
            "id",
            *(f"f_{spec.wire}" for spec in schema.fields),
            *SYSTEM,
            *(f"c_{spec.name}" for spec in computed),
            *(f"k_{spec.wire}" for spec in keyed),
            *(f"kc_{spec.name}" for spec in keyed_computed),
        )
        position = {name: n for n, name in enumerate(self.columns)}
        self.system_at = position[SYSTEM[0]]  # the system columns stand together, in the order of SYSTEM
        self.log_at, self.e_at, self.state_at, self.flags_at, self.v_at = (position[n] for n in IN_BRIEF)
        self.brief_width = self.system_at + len(IN_BRIEF)
        self.doc_at, self.hidden_at = (position[n] for n in SYSTEM[5:7])
        self.t_at, self.ce_at, self.ct_at, self.by_at = (position[n] for n in SYSTEM[7:])
        listed = ", ".join(map(quoted, self.columns))
        self.select = f"SELECT {listed} FROM {quoted(self.name)}"
        self.listed = listed
        # short, without the columns, whose order is the table's: for each row apsw looks the statement up by its text
        self._values = f"{quoted(self.name)} VALUES ({','.join('?' * len(self.columns))})"
        self.insert = f"INSERT INTO main.{self._values}"
        self.replace = self.replace_in("main")
        self.by_id = f'{self.select} WHERE "id" = ? AND "_log" = ?'
        self.by_ids = f'{self.select} WHERE "id" IN (SELECT value FROM json_each(?)) AND "_log" = ?'

    def replace_in(self, schema: str) -> str:
        """Return the statement that writes a row into the table of one of the attached files."""
        return f"REPLACE INTO {schema}.{self._values}"

    def brief(self, row: Row) -> Row:
        """Return a row in brief: what queries read of it."""
        return row[: self.brief_width]

    def column(self, field: FieldSpec) -> str:
        """SQL name of the column that holds the field's value."""
        return quoted(f"f_{field.wire}")

    def sort_column(self, name: str) -> str:
        """SQL name of the column by which a field (or indexed computed field, or `id`) sorts and compares."""
        if name == "id":
            return quoted("id")
        if (spec := self.schema.by_name.get(name)) is not None:
            return quoted(f"k_{spec.wire}" if spec.codec.to_key else f"f_{spec.wire}")
        computed = next(spec for spec in self.schema.computed if spec.name == name and spec.index)
        return quoted(f"kc_{name}" if computed.codec.to_key else f"c_{name}")

    @property
    def id_index(self) -> str:
        """Name of the index of ids. No name that `indexes` gives, whatever models are called, for those end in a number."""
        return f"id_{self.schema.name}"

    def create(self) -> list[str]:
        """Return the statements that make the table and its indexes."""
        affinity: dict[str, str] = {f"f_{s.wire}": s.codec.affinity for s in self.schema.fields}
        affinity |= {f"c_{s.name}": s.codec.affinity for s in self.schema.computed}
        affinity |= {"id": "TEXT", "_state": "BLOB", "_doc": "INTEGER PRIMARY KEY"}
        made = [
            f"{quoted(name)} {affinity.get(name, 'BLOB' if name[0] == 'k' else 'INTEGER')}" for name in self.columns
        ]
        statements = [
            f"CREATE TABLE {quoted(self.name)} ({', '.join(made)})",
            f'CREATE UNIQUE INDEX {quoted(self.id_index)} ON {quoted(self.name)} ("id", "_log")',
        ]
        hidden = quoted(f"hidden_{self.schema.name}")
        statements.append(f'CREATE INDEX {hidden} ON {quoted(self.name)} ("id") WHERE "_hidden" != 0')
        statements += [statement for index in self.indexes() for statement in index.create]
        return statements + self._effect_indexes()

    def _effect_indexes(self) -> list[str]:
        """Return the indexes by which a target that turns finds the children that are hidden and not deleted."""
        return [
            f"CREATE INDEX {quoted(f'live_{self.schema.name}.{key}')} ON {quoted(self.name)}"
            f" ({self.column(self.schema.by_name[key])}) WHERE {HIDDEN_BUT_LIVE}"
            for key in self.schema.effect_keys()
        ]

    def indexes(self) -> list[TableIndex]:
        """Return the indexes that the model declares. In user scope they begin with the log, `index="global"` ones do not."""
        prefix = () if self.schema.scope == "global" else (quoted("_log"),)
        holding = {r.key for r in self.schema.relations if r.kind == "belongs_to" and r.on_delete != "keep"}
        unique = {index.fields for index in self.schema.indexes if index.unique}
        found: dict[tuple[object, ...], TableIndex] = {}
        for index in self.schema.indexes:
            listed = tuple(f"-{name}" if down else name for name, down in index.fields)
            first = self.schema.by_name.get(index.fields[0][0])
            if first is not None and len(listed) == 1 and first.codec.kind in MULTIPLE:
                found.setdefault(listed, self._of_items(f"x_{self.schema.name}_{len(found)}", first))
                continue
            start = () if len(listed) == 1 and first is not None and first.index == "global" else prefix
            name = f"i_{self.schema.name}_{len(found)}"
            if not any("." in field for field in listed):
                columns = self._columns(start, index, "")
                for_writes = index.fields[0][0] in holding or index.fields in unique
                found.setdefault(columns, TableIndex(name, listed, (self._index(name, columns),), "", for_writes))
                continue
            statements = tuple(self._index(f"{name}_{s}", self._columns(start, index, s)) for s in PATH_SORTS)
            found.setdefault(listed, TableIndex(name, listed, statements))
        return list(found.values())

    def _columns(self, start: tuple[str, ...], index: IndexSpec, sort: str) -> tuple[str, ...]:
        terms = (
            (
                path_term(quoted(self._path_column(name)), name.partition(".")[2], sort)
                if "." in name
                else self.sort_column(name)
            )
            + (" DESC" if down else "")
            for name, down in index.fields
        )
        return (*start, *terms, quoted("id"))

    def _path_column(self, name: str) -> str:
        return f"f_{self.schema.by_name[name.partition('.')[0]].wire}"

    def _index(self, name: str, columns: Sequence[str]) -> str:
        return f'CREATE INDEX {quoted(name)} ON {quoted(self.name)} ({", ".join(columns)}) WHERE "_hidden" = 0'

    def _of_items(self, name: str, field: FieldSpec) -> TableIndex:
        """Return the index of what a collection holds: a table of (element, row), kept by a trigger.

        `_doc` stays when a row is replaced, so what stood there goes first.
        """
        side, column = quoted(name), self.column(field)
        every = f'SELECT unhex("item".value), "row"."_doc" FROM {quoted(self.name)} AS "row",'
        return TableIndex(
            name,
            (field.name,),
            (
                f'CREATE TABLE {side} ("value" BLOB, "doc" INTEGER, PRIMARY KEY ("value", "doc")) WITHOUT ROWID',
                f'CREATE INDEX {quoted(name + "_doc")} ON {side} ("doc")',
                f"CREATE TRIGGER {quoted(name + '_put')} AFTER INSERT ON {quoted(self.name)} BEGIN"
                f' DELETE FROM {side} WHERE "doc" = NEW."_doc";'
                f' INSERT OR IGNORE INTO {side} SELECT unhex(value), NEW."_doc" FROM json_each(debros_items(NEW.{column}))'
                ' WHERE NEW."_hidden" = 0; END',
            ),
            f'INSERT OR IGNORE INTO {side} {every} json_each(debros_items("row".{column})) AS "item" WHERE "row"."_hidden" = 0',
        )


class TableIndex(NamedTuple):
    """An index of a model's table."""

    name: str
    fields: tuple[str, ...]  # as declared: "-likes", "place.city"
    create: tuple[str, ...]  # statements that make it
    fill: str = ""  # statement that takes up the rows that are there, if `create` does not
    for_writes: bool = (
        False  # whether writing rows needs it: to find who holds a unique value, or the children of a target
    )


def path_term(column: str, dotted: str, sort: str) -> str:
    """Return the SQL of a value inside a nested one, written out, as an index on it needs; see `debros.query.paths`."""
    text = dotted.replace("'", "''")
    return f"debros_path({column}, '{text}', '{sort}')"


def to_column(codec: Codec, wire: Any) -> Any:
    """Return the column value of a wire value; `None` stays."""
    return wire if wire is None or codec.to_column is None else codec.to_column(wire)
