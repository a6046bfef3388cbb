"""What a query does: `await query.explain()`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

import apsw

from debros.query import compile as sql
from debros.query.compile import Question
from debros.query.ports import Source
from debros.query.routing import keys_of
from debros.query.steps import Steps

LARGE: Final = 1_000  # rows read in vain that are worth a warning
_STEP: Final = re.compile(r"(SCAN|SEARCH) (\S+)(?: USING (?:COVERING )?INDEX (\S+))?(.*)")
_SIDE: Final = re.compile(r"SEARCH (x_\w+_\d+) ")


@dataclass(frozen=True, slots=True)
class Plan:
    """How a query is answered. Printed, it is its text."""

    shards: tuple[int, ...]  # positions among the model's logs that are read; (0,) where there is one
    index: tuple[str | None, ...]  # the index used in each shard; `None`: its rows are read in order of writing
    rows_examined: int  # rows of the model that were looked at in all shards: counted by running the query
    text: str  # the SQL, SQLite's steps, and warnings
    rows: int = 0  # that came of it
    strategy: Literal["index", "scan"] = "index"
    operations: tuple[str, ...] = ()  # SQLite's steps
    warnings: tuple[str, ...] = ()  # what makes it slow
    advice: tuple[str, ...] = ()  # what would help

    def __str__(self) -> str:
        return self.text


async def explain(query: Steps[Any], source: Source) -> Plan:
    """Run a query and say how it went. Rows of models asked by the way, in `any` or `in_`, are not counted."""
    text, bound = sql.rows_as_they_lie(query, source) or sql.rows(query, source)
    steps = [str(row[-1]) for row in await source.fetch(f"EXPLAIN QUERY PLAN {text}", bound)]
    table = query.columns.table.name
    step = next((found for found in map(_STEP.match, steps) if found is not None and found.group(2) == table), None)
    index = step.group(3) if step is not None else None
    if index is None:
        side = next((found.group(1) for found in map(_SIDE.search, steps) if found is not None), None)
        index = side if side is not None and side.startswith(f"x_{query.columns.name}_") else None
    if index is None and any("MULTI-INDEX OR" in line for line in steps):
        index = next((f.group(3) for f in map(_STEP.match, steps) if f is not None and f.group(3)), None)
    examined, found = await _examined(query, source, text, bound)
    shards = _shards(query, source)
    is_scan = step is not None and step.group(1) == "SCAN"
    warnings, advice = _opinion(
        query, steps, is_scan and (index is None or query.condition is not None), examined, found
    )
    lines = [text, *(f"  {line}" for line in steps), f"rows examined: {examined}"]
    if query.note:
        lines.insert(0, query.note)
    lines += [f"warning: {one}" for one in warnings] + [f"advice: {one}" for one in advice]
    strategy: Literal["index", "scan"] = "scan" if is_scan and index is None else "index"
    return Plan(
        shards, (index,) * len(shards), examined, "\n".join(lines), found, strategy, tuple(steps), warnings, advice
    )


def _opinion(
    query: Steps[Any], steps: list[str], reads_all: bool, examined: int, found: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what makes the query slow, and what would help."""
    name, warnings, advice = query.columns.name, [], []
    if reads_all:
        warnings.append(f"reads every row of {name}; an index on what it filters by would help")
    if examined - found > LARGE:
        warnings.append(f"looked at {examined:,} rows to find {found:,}")
    if any("TEMP B-TREE" in line and "ORDER BY" in line and "LAST" not in line for line in steps):
        warnings.append("sorts what it finds; an index that ends in the order would help")
    if query.at_most is None and found > LARGE:
        advice.append("limit(n), page() or stream(): all rows are in memory at once")
    if reads_all and " OR " in sql_of(query.condition):
        advice.append(
            "an OR of different fields reads every row unless each side has an index; in_() if it is one field"
        )
    if reads_all and query.columns.schema.scope == "user" and query.users == "all":
        advice.append("where_user(did) reads one user's records instead of everybody's")
    return tuple(warnings), tuple(advice)


def _shards(question: Question, source: Source) -> tuple[int, ...]:
    if question.columns.schema.sharding is None:
        logs = source.logs(question.users)
        return (0,) if logs is None else tuple(range(len(logs)))
    return source.reach(keys_of(question.columns, question.condition)).shards


def sql_of(condition: Any) -> str:
    """Return a condition's SQL, for people."""
    if condition is None:
        return ""
    from debros.query.expressions import Statement

    out = Statement(None, None)
    condition.write(out)
    return out.text()


async def _examined(query: Steps[Any], source: Source, text: str, bound: tuple[object, ...]) -> tuple[int, int]:
    """Count the rows that the statement looks at, by a function in front of its condition, and those it gives."""
    seen: set[int] = set()
    visible = query.columns.visible
    before, _, after = text.partition(visible)
    marks = before.count("?")
    counted = f'{before}{visible} AND debros_examined(?, {query.columns.sql_name}."_doc"){after}'
    found = await source.fetch(counted, (*bound[:marks], apsw.pyobject(seen), *bound[marks:]))
    return len(seen), len(found)
