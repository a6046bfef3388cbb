"""What a query does: `await query.explain()`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import apsw

from debros.query import compile as sql
from debros.query.compile import Question
from debros.query.ports import Source

_STEP: Final = re.compile(r"(SCAN|SEARCH) (\S+)(?: USING (?:COVERING )?INDEX (\S+))?(.*)")


@dataclass(frozen=True, slots=True)
class Plan:
    """How a query is answered. Printed, it is its text."""

    shards: tuple[int, ...]  # positions among the model's logs that are read; (0,) where there is one
    index: tuple[str | None, ...]  # the index used in each shard; `None`: its rows are read in order of writing
    rows_examined: int  # rows of the model that were looked at in all shards: counted by running the query
    text: str  # the SQL, SQLite's steps, and warnings

    def __str__(self) -> str:
        return self.text


def explain(question: Question, source: Source) -> Plan:
    """Run a query and say how it went. Rows of models asked by the way, in `any` or `in_`, are not counted."""
    text, bound = sql.rows(question, source)
    steps = [str(row[-1]) for row in source.read(f"EXPLAIN QUERY PLAN {text}", bound)]
    table = question.columns.table.name
    step = next((found for found in map(_STEP.match, steps) if found is not None and found.group(2) == table), None)
    index = step.group(3) if step is not None else None
    examined = _examined(question, source, text, bound)
    logs = source.logs(question.users)
    shards = (0,) if logs is None else tuple(range(len(logs)))
    lines = [text, *(f"  {line}" for line in steps), f"rows examined: {examined}"]
    if step is not None and step.group(1) == "SCAN" and (index is None or question.condition is not None):
        lines.append(f"warning: reads every row of {question.columns.name}; an index on what it filters by would help")
    if any("TEMP B-TREE" in line and "ORDER BY" in line and "LAST" not in line for line in steps):
        lines.append("warning: sorts what it finds; an index that ends in the order would help")
    return Plan(shards, (index,) * len(shards), examined, "\n".join(lines))


def _examined(question: Question, source: Source, text: str, bound: tuple[object, ...]) -> int:
    """Count the rows that the statement looks at, by a function in front of its condition."""
    tally = [0]
    visible = question.columns.visible
    before, _, after = text.partition(visible)
    marks = before.count("?")
    counted = f'{before}{visible} AND debros_examined(?, {question.columns.sql_name}."_doc"){after}'
    source.read(counted, (*bound[:marks], apsw.pyobject(tally), *bound[marks:]))
    return tally[0]
