"""The typed SQLite table that shows one model: its columns, its statements, and where things stand in a row.

A row is a plain tuple in the order of `Table.columns`: the id, the fields in the order of the schema, what the
fold keeps about the row (names that begin with `_`), the indexed computed fields, then sort keys of decimals.
So `dict(zip(table.names, row))` is the record. Names come from the schema, which has checked them, and are
always quoted; values are only ever bound.

`_doc` is the row's number. `_hidden` is 0 when the row shows, else a sum of the reasons below, and every index
holds visible rows only. `_e` and `_t` are the newest entry's number and clock, `_ce` and `_ct` those of the
creation, `_by` the number of the user who created it, `_v` the schema version of the change that `_e` wrote.
`_state` is null while a single change made the whole row; then every cell has that stamp.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from debros.schema import Codec, FieldSpec, Schema

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

HIDDEN_BUT_LIVE: Final = f'("_hidden" & {DELETED}) = 0 AND "_hidden" != 0'  # what no other index holds

SYSTEM: Final = ("_doc", "_log", "_hidden", "_flags", "_e", "_t", "_ce", "_ct", "_by", "_v", "_state")


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
        self.system_at = position["_doc"]  # the system columns stand together, in the order of SYSTEM
        self.doc_at, self.log_at, self.hidden_at, self.flags_at = (position[n] for n in SYSTEM[:4])
        self.e_at, self.t_at, self.ce_at, self.ct_at = (position[n] for n in SYSTEM[4:8])
        self.by_at, self.v_at, self.state_at = (position[n] for n in SYSTEM[8:])
        listed = ", ".join(map(quoted, self.columns))
        self.select = f"SELECT {listed} FROM {quoted(self.name)}"
        marks = ", ".join("?" * len(self.columns))
        self.replace = f"REPLACE INTO {quoted(self.name)} ({listed}) VALUES ({marks})"
        self.by_id = f'{self.select} WHERE "id" = ? AND "_log" = ?'

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
            f'CREATE UNIQUE INDEX {quoted("i_" + self.schema.name)} ON {quoted(self.name)} ("id", "_log")',
        ]
        hidden = quoted(f"i_{self.schema.name}_hidden")
        statements.append(f'CREATE INDEX {hidden} ON {quoted(self.name)} ("id") WHERE "_hidden" != 0')
        statements += [self._index(n, columns) for n, columns in enumerate(self.indexed())]
        return statements + self._effect_indexes()

    def _effect_indexes(self) -> list[str]:
        """Return the indexes by which a target that turns finds the children that are hidden and not deleted."""
        return [
            f"CREATE INDEX {quoted(f'i_{self.schema.name}_live_{key}')} ON {quoted(self.name)}"
            f" ({self.column(self.schema.by_name[key])}) WHERE {HIDDEN_BUT_LIVE}"
            for key in self.schema.effect_keys()
        ]

    def index_fields(self) -> list[tuple[str, ...]]:
        """Return the fields of each index as a declaration names them, in the order of `indexed`."""
        listed = [tuple(f"-{name}" if down else name for name, down in index.fields) for index in self.schema.indexes]
        return list(dict.fromkeys(listed))

    def indexed(self) -> list[tuple[str, ...]]:
        """Columns of each index, as SQL terms. In user scope they begin with the log, `index="global"` ones do not."""
        prefix = () if self.schema.scope == "global" else (quoted("_log"),)
        found: list[tuple[str, ...]] = []
        for index in self.schema.indexes:
            spec = self.schema.by_name.get(index.fields[0][0])
            start = () if len(index.fields) == 1 and spec is not None and spec.index == "global" else prefix
            terms = (self.sort_column(name) + (" DESC" if down else "") for name, down in index.fields)
            columns = (*start, *terms, quoted("id"))
            if columns not in found:
                found.append(columns)
        return found

    def _index(self, number: int, columns: Sequence[str]) -> str:
        name = quoted(f"i_{self.schema.name}_{number}")
        return f'CREATE INDEX {name} ON {quoted(self.name)} ({", ".join(columns)}) WHERE "_hidden" = 0'


def to_column(codec: Codec, wire: Any) -> Any:
    """Return the column value of a wire value; `None` stays."""
    return wire if wire is None or codec.to_column is None else codec.to_column(wire)
