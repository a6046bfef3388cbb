"""One row put to a question: does it belong to the result, and where does it sort?

A condition on the record alone is asked of a table of that one row, which a common table expression puts in the
place of the model's table: SQLite decides, as for any query, and nothing has to be in the file. A condition that looks at
other rows (`any`, `in_` of a query) is asked of the tables themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from debros.query import compile as sql
from debros.query.compile import Question, Sort
from debros.query.expressions import Expr, Leaf, Statement, top_level
from debros.query.items import HasItem
from debros.query.meta import OfUsers
from debros.query.ports import Source
from debros.query.window import Held, key_of
from debros.replica.effects import Place
from debros.replica.tables import Row, quoted

_MOST_VALUES: Final = 64  # of an `in_` that is looked up by value


class Judge:
    """A question about one model's rows, on one node."""

    def __init__(self, question: Question, source: Source) -> None:
        self._question = question
        self._source = source
        self.logs = source.logs(question.users)
        self.sorts: list[Sort] = sql.sorts(question, source)
        self._descending = [sort.descending for sort in self.sorts]
        self._width = len(question.columns.table.columns)
        self.is_alone = speaks_of_one_row(question.condition)
        self._is_fixed = all(type(leaf) is Leaf for leaf in _leaves(question.condition))
        self._asked = self._write() if self._is_fixed else None

    def depends(self) -> frozenset[str]:
        """Return the models whose rows decide too which rows belong to the result."""
        out = Statement(None, self._question.users)
        if self._question.condition is not None:
            self._question.condition.write(out)
        return frozenset(out.models)

    def equal(self) -> tuple[int, frozenset[Any]] | None:
        """Return a position in the row and the values there that the condition asks for, if it asks for some."""
        table = self._question.columns.table
        start = f"{self._question.columns.sql_name}."
        places = {start + quoted(name): at for at, name in enumerate(table.columns)}
        for part in top_level(self._question.condition):
            if type(part) is not Leaf or len(part.bindings) > _MOST_VALUES:
                continue
            column, _, rest = part.text.partition(" ")
            is_equality = rest == "= ?" or (rest.startswith("IN (?") and rest.strip("IN (?,)") == "")
            if column in places and is_equality and None not in part.bindings:
                return places[column], frozenset(part.bindings)
        return None

    async def snapshot(self, at_most: int | None) -> list[Held]:
        """Return the rows of the result, in order."""
        question = self._whole()._but("at_most", at_most)
        return await self._read(question)

    async def behind(self, edge: Held, at_most: int) -> list[Held]:
        """Return the rows of the result that sort behind a row."""
        from debros.query.paging import behind

        condition = behind(self.sorts, edge.values, self._question.columns.owners)
        whole = self._whole()
        joined = condition if whole.condition is None else whole.condition & condition
        return await self._read(whole._but("condition", joined)._but("at_most", at_most))

    async def held(self, place: Place, row: Row | None) -> Held | None:
        """Return how a row stands in the result, `None` if it does not belong there."""
        if row is None or row[self._question.columns.table.hidden_at]:
            return None
        if self.logs is not None and place[1] not in self.logs:
            return None
        if not self.is_alone:
            return await self._in_table(place)
        if self._question.condition is None and self._sorts_by_id():
            return self._made(row, (row[0],))
        text, bound = self._asked or self._write()
        found = self._source.read_alone(text, (*row, *bound))
        return self._made(row, found[0]) if found else None

    def takes(self, row: Row) -> bool:
        """Whether a row fulfils the condition, wherever it comes from; the condition is about the record alone."""
        text, bound = self._asked or self._write()
        return bool(self._source.read_alone(text, (*row, *bound)))

    def _sorts_by_id(self) -> bool:
        return len(self.sorts) == 1 and self.sorts[0].sql == self._question.columns.id.sql and not self._descending[0]

    def _made(self, row: Row, values: Sequence[Any]) -> Held:
        table = self._question.columns.table
        place = (table.schema.name, row[table.log_at], row[0])
        return Held(key_of(values, self._descending), tuple(values), place, row)

    def _whole(self) -> Any:
        """Return the question for whole records, from the first on."""
        question: Any = self._question
        return question._but("skipped", 0)._but("loads", ())

    async def _read(self, question: Any) -> list[Held]:
        rows = await self._source.fetch(*sql.rows(question, self._source, also=self.sorts, whole=True))
        return [self._made(row[: self._width], row[self._width :]) for row in rows]

    async def _in_table(self, place: Place) -> Held | None:
        columns = self._question.columns
        here = Leaf(
            f'{columns.sql_name}."id" = ? AND {columns.sql_name}."_log" = ?', (place[2], place[1]), columns.owners
        )
        whole = self._whole()
        found = await self._read(whole._but("condition", whole.condition & here)._but("at_most", 1))
        return found[0] if found else None

    def _write(self) -> tuple[str, list[object]]:
        """Return the statement that gives a row's sort values if it fulfils the condition, and its own bindings."""
        columns = self._question.columns
        names = ", ".join(map(quoted, columns.table.columns))
        marks = ", ".join("?" * self._width)
        out = Statement(self._source, self._question.users, self._question.is_partial)
        out.is_alone = True
        out.add(f"WITH {columns.sql_name} ({names}) AS (VALUES ({marks})) SELECT ")
        for n, term in enumerate(self.sorts):
            out.add((", " if n else "") + term.sql, term.bindings)
        out.add(f" FROM {columns.sql_name} WHERE ")
        if self._question.condition is None:
            out.add("1")
        else:
            self._question.condition.write(out)
        return out.text(), out.bound


def _leaves(condition: Expr | None) -> list[Expr]:
    return [] if condition is None else list(condition.leaves())


def speaks_of_one_row(condition: Expr | None) -> bool:
    """Whether a condition can be decided from the record alone."""
    return all(type(leaf) in (Leaf, OfUsers, HasItem) for leaf in _leaves(condition))
