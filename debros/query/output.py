"""Rows for other tools: dicts, JSON, Arrow, pandas, and a table for notebooks.

Columns are the fields of the model in their order, `id` first, or what the query selects. pyarrow and pandas are imported
when they are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

from debros.query.columns import Column
from debros.values.json import json_form

if TYPE_CHECKING:
    import pandas
    import pyarrow  # type: ignore[import-untyped]  # it has no types

    from debros.query.compile import Question

MOST_SHOWN: Final = 60  # rows of a table in a notebook
MOST_TEXT: Final = 120  # characters of a value there


def column_names(question: Question | None, rows: Sequence[Any]) -> list[str]:
    """Return the names of the columns; those of tuples that no query made are numbers."""
    if question is not None and question.picked is not None:
        return [column.name for column in question.picked]
    if question is not None and not (rows and isinstance(rows[0], tuple)):
        schema = question.columns.schema
        shown = [spec.name for spec in schema.fields if spec.expose]
        shown += [spec.name for spec in schema.computed if spec.expose]
        return ["id", *(name for name in shown if not name.startswith("_"))]
    return [str(n) for n in range(len(rows[0]))] if rows else []


def values_of(row: Any, names: Sequence[str]) -> Sequence[Any]:
    """Return a row's values in the order of the columns."""
    return row if isinstance(row, tuple) else [getattr(row, name) for name in names]


def dicts(question: Question | None, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Return rows as dicts: records by their own `to_dict`, tuples by the names of the columns."""
    names = column_names(question, rows)
    return [dict(zip(names, row, strict=True)) if isinstance(row, tuple) else row.to_dict() for row in rows]


def json_text(question: Question | None, rows: Sequence[Any]) -> str:
    """Return rows as a JSON array: records by their own `to_json`, tuples by the names of the columns."""
    names = column_names(question, rows)
    parts = [
        json.dumps(json_form(dict(zip(names, row, strict=True))), ensure_ascii=False)
        if isinstance(row, tuple)
        else row.to_json()
        for row in rows
    ]
    return f"[{', '.join(parts)}]"


def html(question: Question | None, rows: Sequence[Any]) -> str:
    """Return rows as an HTML table; long texts and long results are cut, and say so."""
    names = column_names(question, rows)
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = []
    for row in rows[:MOST_SHOWN]:
        cells = "".join(f"<td>{escape(_short(value))}</td>" for value in values_of(row, names))
        body.append(f"<tr>{cells}</tr>")
    more = (
        f"<p>{len(rows):,} rows, the first {MOST_SHOWN} shown</p>"
        if len(rows) > MOST_SHOWN
        else f"<p>{len(rows)} rows</p>"
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>{more}"


def to_arrow(question: Question, rows: Sequence[Any]) -> pyarrow.Table:
    """Return rows as an Arrow table: typed by the columns, so that an empty result has its types too."""
    import pyarrow as pa

    names = column_names(question, rows)
    columns = [_column(question, name, n) for n, name in enumerate(names)]
    values = [values_of(row, names) for row in rows]
    arrays = []
    for n, column in enumerate(columns):
        type_, convert = _arrow(column)
        arrays.append(pa.array([None if row[n] is None else convert(row[n]) for row in values], type=type_))
    return pa.table(arrays, names=names)


def to_pandas(question: Question, rows: Sequence[Any]) -> pandas.DataFrame:
    """Return rows as a data frame of the Python values, typed where pandas has the type."""
    import pandas as pd

    names = column_names(question, rows)
    values = [values_of(row, names) for row in rows]
    made = {}
    for n, name in enumerate(names):
        kind = _DTYPES.get(_column(question, name, n).codec.kind)
        made[name] = pd.Series([row[n] for row in values], dtype=kind or "object")
    return pd.DataFrame(made)


_DTYPES: Final = {
    "int": "Int64",
    "float": "Float64",
    "bool": "boolean",
    "text": "string",
    "instant": "datetime64[us, UTC]",
}


def _column(question: Question, name: str, n: int) -> Column[Any]:
    return question.picked[n] if question.picked is not None else question.columns.named(name)


def _arrow(column: Column[Any]) -> tuple[Any, Callable[[Any], Any]]:
    """Return the Arrow type of a column's values, and what makes them of Python's."""
    import pyarrow as pa

    same: Callable[[Any], Any] = lambda value: value  # noqa: E731 - three words
    types: dict[str, tuple[Any, Callable[[Any], Any]]] = {
        "int": (pa.int64(), same), "float": (pa.float64(), same), "bool": (pa.bool_(), same), "text": (pa.string(), same),
        "bytes": (pa.binary(), same), "instant": (pa.timestamp("us", tz="UTC"), same), "date": (pa.date32(), same),
        "time": (pa.time64("us"), same), "duration": (pa.duration("us"), same), "uuid": (pa.string(), str),
        "decimal": (pa.string(), str),  # up to 38 digits at any scale: no fixed-point type holds them all
    }  # fmt: skip
    kind, item = column.codec.kind, column.codec.item
    if kind in ("list", "set", "tuple") and item is not None and item.kind in types:
        inner, convert = types[item.kind]
        return pa.list_(inner), lambda values: [convert(value) for value in _in_order(values)]
    return types.get(kind, (pa.string(), lambda value: json.dumps(json_form(value), ensure_ascii=False)))


def _in_order(values: Any) -> Any:
    return sorted(values) if isinstance(values, set | frozenset) else values


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"
